"""A project's containers: how each stands, and what they are told together."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fraisier.providers.compose.engine import PROJECT_SERVICE, ProjectEngine
from fraisier.providers.compose.options import ComposeOptions
from fraisier.providers.docker.containers import Container
from fraisier.providers.docker.probes import own_health
from fraisier.providers.errors import LAST_LINES, CommandFailed
from fraisier.providers.health import Sighting

LOOK_EVERY_S = 0.2
ENDS = ("", "no", "on-failure")
"""Restart policies of a container that may be there for one job, and end."""


@dataclass(frozen=True)
class Member:
    """A container of a project, as the engine sees it now."""

    service: str
    inspected: dict[str, Any]

    @property
    def id(self) -> str:
        """Its ID."""
        return str(self.inspected["Id"])

    @property
    def restarts(self) -> int:
        """How often the engine has started it again."""
        return int(self.inspected["RestartCount"])

    @property
    def did_its_job(self) -> bool:
        """Whether it ended well and was to end."""
        state, policy = self.inspected["State"], self.inspected["HostConfig"]["RestartPolicy"]["Name"]
        return state["Status"] == "exited" and state["ExitCode"] == 0 and policy in ENDS

    @property
    def has_check(self) -> bool:
        """Whether it has a health check of its own."""
        return bool(self.inspected["State"].get("Health"))

    def seen(self, *, restarts: int | None = None) -> Sighting:
        """How it stands.

        Args:
            restarts: how often it had been started again before; more of them is death.
        """
        state = self.inspected["State"]
        if self.did_its_job:
            return Sighting(passed=True, detail=f"{self.service} has done its job")
        if state["Restarting"] or (restarts is not None and self.restarts > restarts):
            return Sighting(passed=False, detail=f"{self.service} died, and the engine started it again")
        if state["Status"] == "created":
            return Sighting(passed=False, answered=False, detail=f"{self.service} was not started yet")
        if state["Running"] and not self.has_check:
            return Sighting(passed=True, detail=f"{self.service} runs")
        seen = own_health(state)
        return Sighting(passed=seen.passed, answered=seen.answered, detail=f"{self.service}: {seen.detail}")


@dataclass(frozen=True)
class Project:
    """A project on an engine.

    Args:
        engine: the engine.
        options: how long things may take there.
        name: the project's name.
        target: the target's name, for errors.
    """

    engine: ProjectEngine
    options: ComposeOptions
    name: str
    target: str

    async def containers(self) -> list[Container]:
        """All its containers."""
        return await self.engine.project(self.name)

    async def members(self) -> list[Member]:
        """All its containers, looked at; one that goes meanwhile is not there."""
        found = []
        for one in await self.containers():
            try:
                inspected = await self.engine.inspect(one.id)
            except CommandFailed as error:
                if error.retryable:
                    raise
                continue
            found.append(Member(one.labels[PROJECT_SERVICE], inspected))
        return sorted(found, key=lambda member: member.service)

    async def is_whole(self, names: frozenset[str]) -> bool:
        """Whether containers of these names are all there and none is amiss."""
        members = await self.members()
        there = {member.inspected["Name"].lstrip("/") for member in members}
        return names <= there and all(member.seen().passed for member in members)

    async def drifted(self, names: frozenset[str]) -> tuple[str, ...]:
        """What was changed by hand since containers of these names were brought up."""
        members = {member.inspected["Name"].lstrip("/"): member for member in await self.members()}
        stopped = {
            name: member.inspected["State"]["Status"]
            for name, member in members.items()
            if not member.inspected["State"]["Running"] and not member.did_its_job
        }
        gone = [f"its container {name} was removed" for name in sorted(names - members.keys())]
        return (*gone, *(f"its container {name} is {status}" for name, status in sorted(stopped.items())))

    async def comes_up(self, step: str, *, before: Mapping[str, int], hidden: tuple[str, ...]) -> None:
        """Wait until every service is healthy by its own check or, where it has none, has stayed up for a while.

        Args:
            step: the step under way, for errors.
            before: how often containers that were there already had been started again.
            hidden: secrets that a service may write.

        Raises:
            CommandFailed: one broke down, or took too long.
        """
        loop = asyncio.get_running_loop()
        started = loop.time()
        while True:
            members = await self.members()
            seen = [(member, member.seen(restarts=before.get(member.id, 0))) for member in members]
            broken = [(member, one) for member, one in seen if not one.passed and one.answered]
            waiting = [(member, one) for member, one in seen if not one.passed]
            passed = loop.time() - started
            if broken or (waiting and passed > self.options.step_timeout.total_seconds()):
                raise await self._broken(step, *(broken or waiting)[0], hidden)
            settled = passed >= self.options.settle.total_seconds() or all(member.has_check for member in members)
            if not waiting and settled:
                return
            await asyncio.sleep(LOOK_EVERY_S)

    async def tail(self, main: str) -> str:
        """The last lines of the service that is amiss, else of the main one."""
        try:
            members = await self.members()
            amiss = [member for member in members if not member.seen().passed]
            asked = amiss or [member for member in members if member.service == main]
            return await self.engine.tail(asked[0].id) if asked else ""
        except CommandFailed:
            return ""  # the verdict stands without them, and must not be lost for their sake

    async def remove(self, containers: list[Container]) -> None:
        """Stop and remove containers, by their IDs; their volumes stay."""
        await asyncio.gather(*(self.engine.stop(one.id) for one in containers if one.status == "running"))
        for one in containers:
            await self.engine.remove(one.id, volumes=False)

    async def _broken(self, step: str, member: Member, seen: Sighting, hidden: tuple[str, ...]) -> CommandFailed:
        state = member.inspected["State"]
        tail = await self.engine.tail(member.id, hidden=hidden)
        return CommandFailed(
            f"{self.target}: service {seen.detail}{LAST_LINES}{tail}",
            target=self.target,
            step=step,
            command="docker compose up",
            exit_status=None if state["Running"] else int(state["ExitCode"]),
            tail=tail,
        )
