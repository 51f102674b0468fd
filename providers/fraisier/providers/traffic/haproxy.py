"""HAProxy by its runtime API: one line in, the answer out."""

import asyncio
import csv
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from fraisier.providers.models import StepResult
from fraisier.providers.traffic.models import HaproxyTraffic
from fraisier.providers.traffic.way import Way

R = TypeVar("R")

LOOK_EVERY_S = 0.1
QUIET_LOOKS = 5
"""Looks in a row without a session: a thread that had chosen the server just before may connect a moment later."""

IN_TRAFFIC = ("UP", "no check")
"""How the status of a server begins that gets requests; ``UP 1/3`` is about to go down, but does."""

DRAINED = "DRAIN"
KEPT_OUT = "MAINT"
"""The status of a server that somebody took out by hand: it stays out."""

ALL, SERVERS = -1, 4


class Haproxy:
    """All HAProxies in front of a region.

    Args:
        options: which, and which of their backends.
        way: how they are reached.
    """

    def __init__(self, options: HaproxyTraffic, way: Way) -> None:
        self._options = options
        self._way = way

    async def drain(self, server: str, seconds: float) -> StepResult:
        """Set the server to ``drain`` everywhere, and wait until it has no sessions."""
        before = await self._everywhere(self._set, server, "drain", DRAINED)
        deadline = _now() + seconds
        left = await self._everywhere(self._sessions, server, deadline)
        cut = sum(left)
        detail = f"{cut} sessions were left after {seconds:g} s" if cut else "drained"
        return StepResult(changed=any(before), detail=detail)

    async def undrain(self, server: str, seconds: float) -> StepResult:
        """Set the server to ``ready`` everywhere, and wait until it is up."""
        changed = await self._everywhere(self._set, server, "ready", *IN_TRAFFIC)
        await self._everywhere(self._until_up, server, _now() + seconds)
        return StepResult(changed=any(changed), detail="in traffic")

    async def _everywhere(self, act: Callable[..., Awaitable[R]], *arguments: Any) -> list[R]:
        return await asyncio.gather(*(act(socket, *arguments) for socket in self._options.sockets))

    async def _set(self, socket: str, server: str, state: str, *already: str) -> bool:
        status = (await self._look(socket, server))["status"]
        if status.startswith((KEPT_OUT, *already)):
            return False
        answer = await self._way.ask(socket, f"set server {self._options.backend}/{server} state {state}")
        if answer:
            raise self._way.refused(f"HAProxy at {socket} does not set {server} to {state}: {answer}")
        return True

    async def _sessions(self, socket: str, server: str, deadline: float) -> int:
        quiet = 0
        while True:
            found = await self._look(socket, server)
            left = int(found["scur"]) + int(found["qcur"])
            quiet = 0 if left else quiet + 1
            if quiet == QUIET_LOOKS or _now() > deadline:
                return left
            await asyncio.sleep(LOOK_EVERY_S)

    async def _until_up(self, socket: str, server: str, deadline: float) -> None:
        while True:
            found = await self._look(socket, server)
            if found["status"].startswith((KEPT_OUT, *IN_TRAFFIC)):
                return
            if _now() > deadline:
                why = f"{found['status']} {found.get('last_chk', '')}".strip()
                raise self._way.refused(f"HAProxy at {socket} does not see {server} healthy: {why}")
            await asyncio.sleep(LOOK_EVERY_S)

    async def _look(self, socket: str, server: str) -> dict[str, str]:
        backend = self._options.backend
        answer = await self._way.ask(socket, f"show stat {backend} {SERVERS} {ALL}")
        if not answer.startswith("# "):
            raise self._way.refused(f"HAProxy at {socket} does not show backend {backend}: {answer[:200]}")
        for row in csv.DictReader(answer.removeprefix("# ").splitlines()):
            if row["svname"] == server:
                return row
        raise self._way.refused(
            f"HAProxy at {socket} has no server {server} in backend {backend}: name it in traffic.servers"
        )


def _now() -> float:
    return asyncio.get_running_loop().time()
