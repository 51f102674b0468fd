"""Puts one container in the place of another: the new one proves itself first, and the old one stays for a rollback."""

import asyncio
from dataclasses import dataclass
from typing import Any

from fraisier.providers.docker.containers import (
    CANDIDATE_KIND,
    KEPT,
    RELEASE_KIND,
    Container,
    as_candidate,
    more_networks,
    on_host,
    runs_alone,
)
from fraisier.providers.docker.engine import Engine
from fraisier.providers.docker.options import DockerOptions
from fraisier.providers.errors import LAST_LINES, CommandFailed
from fraisier.providers.models import Step
from fraisier.providers.secrets import SecretRef

LOOK_EVERY_S = 0.2


@dataclass(frozen=True)
class Place:
    """A service's place on an engine.

    Args:
        engine: the engine.
        options: how long things may take there.
        target: the target's name, for errors.
    """

    engine: Engine
    options: DockerOptions
    target: str

    async def containers(self, service: str) -> list[Container]:
        """The containers of releases that have been started, the newest generation first."""
        found = await self.engine.containers(service, RELEASE_KIND)
        started = [one for one in found if one.status != "created"]
        return sorted(started, key=lambda one: (one.generation, one.name), reverse=True)

    async def current(self, service: str) -> Container | None:
        """The container in place, running or broken down; None when the place is empty."""
        return next((one for one in await self.containers(service) if not one.had_its_turn), None)

    async def switch(self, step: Step, new: str, *, prove: bool) -> None:
        """Put a container in place.

        Two that want the same port of the host cannot run side by side: then a candidate without ports proves the
        release first, unless it is one that has been proven (`prove` is False), and only then the old one goes. On the
        host's own network a candidate would want the same ports, so there is none.

        Raises:
            CommandFailed: the new one broke down; what ran before runs on, or runs again.
        """
        old = [one for one in await self.containers(step.service) if not one.had_its_turn and one.id != new]
        inspected = await self.engine.inspect(new)
        if runs_alone(inspected) and old:
            if prove and not inspected["State"]["Running"] and not on_host(inspected):
                await self._try_candidate(step, inspected)
            await self._go_first(step, old, new)
        else:
            await self._go_beside(step, old, new)

    async def empty(self, service: str) -> bool:
        """Stop what is in place and keep it; whether there was anything."""
        there = [one for one in await self.containers(service) if not one.had_its_turn]
        await self._retire(there)
        return bool(there)

    async def tail(self, inspected: dict[str, Any]) -> str:
        """The last lines that a container wrote, without the secrets that it was given."""
        given = dict(one.split("=", 1) for one in inspected["Config"]["Env"] or () if "=" in one)
        secret = [name for name, value in self.options.env.items() if isinstance(value, SecretRef)]
        return await self.engine.tail(inspected["Id"], hidden=tuple(given[name] for name in secret if name in given))

    async def _go_beside(self, step: Step, old: list[Container], new: str) -> None:
        await self.engine.start(new)
        await self._proven(step, new)
        await self._retire(old)

    async def _go_first(self, step: Step, old: list[Container], new: str) -> None:
        for one in old:
            await self.engine.stop(one.id)
        try:
            await self.engine.start(new)
            await self._proven(step, new)
        except CommandFailed:
            await self.engine.stop(new)
            await self.engine.start(old[0].id)
            raise
        await self._retire(old)

    async def _try_candidate(self, step: Step, inspected: dict[str, Any]) -> None:
        for left in await self.engine.containers(step.service, CANDIDATE_KIND):
            await self.engine.remove(left.id)
        name = inspected["Name"].lstrip("/") + ".candidate"
        candidate = await self.engine.create(name, as_candidate(inspected), more_networks(inspected))
        try:
            await self.engine.start(candidate)
            await self._proven(step, candidate)
        finally:
            await self.engine.remove(candidate)

    async def _proven(self, step: Step, container: str) -> None:
        """Wait until its health check passes or, where it has none, until it has stayed up for a while."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        deadline = started + self.options.step_timeout.total_seconds()
        while True:
            inspected = await self.engine.inspect(container)
            state = inspected["State"]
            health = (state.get("Health") or {}).get("Status")
            died = not state["Running"] or state.get("Restarting") or inspected["RestartCount"] > 0
            if died or health == "unhealthy" or loop.time() > deadline:
                raise await self._broken(step, inspected)
            up = loop.time() - started >= self.options.settle.total_seconds()
            if health == "healthy" or (health in (None, "none") and up):
                return
            await asyncio.sleep(LOOK_EVERY_S)

    async def _broken(self, step: Step, inspected: dict[str, Any]) -> CommandFailed:
        state, tail = inspected["State"], await self.tail(inspected)
        await self.engine.stop(inspected["Id"])
        ended = None if state["Running"] else int(state["ExitCode"])
        return CommandFailed(
            f"{self.target}: the new container {_what_broke(state)}{LAST_LINES}{tail}",
            target=self.target,
            step=step.name,
            command="start",
            exit_status=ended,
            tail=tail,
        )

    async def _retire(self, old: list[Container]) -> None:
        for one in old:
            await self.engine.stop(one.id)
            await self.engine.rename(one.id, one.name + KEPT)


def _what_broke(state: dict[str, Any]) -> str:
    health = (state.get("Health") or {}).get("Status")
    if not state["Running"]:
        return f"ended with status {state['ExitCode']}"
    return f"is {health}" if health in ("unhealthy", "starting") else "died, and the engine started it again"
