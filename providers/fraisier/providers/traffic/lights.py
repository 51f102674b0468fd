"""Caddy by files that it looks for at each request: a server is in traffic while its file is there.

Nothing of Caddy's configuration changes. Each change of it closes all connections that clients keep, and a request
that arrives at such a moment is lost.
"""

import asyncio

from fraisier.providers.models import StepResult
from fraisier.providers.traffic.way import CALL_S, Way

SHOWN = 300


class Lights:
    """The files of all servers, on the proxy's host.

    Args:
        folder: holds them.
        way: how the proxy's host is reached.
    """

    def __init__(self, folder: str, way: Way) -> None:
        self._folder = folder
        self._way = way

    async def drain(self, server: str, seconds: float) -> StepResult:
        """Remove the server's file, and give its requests their time: Caddy does not tell when they have ended."""
        changed = await self._is_lit(server)
        await self._do("rm", "-f", self._file(server))
        await asyncio.sleep(seconds)
        return StepResult(changed=changed, detail="drained")

    async def undrain(self, server: str, seconds: float) -> StepResult:  # noqa: ARG002 (Caddy uses it at once)
        """Make the server's file."""
        changed = not await self._is_lit(server)
        await self._do("touch", self._file(server))
        return StepResult(changed=changed, detail="in traffic")

    async def _is_lit(self, server: str) -> bool:
        """Whether its file is there; a folder that is not there would be taken for a server that is out."""
        status, _ = await self._way.run(("test", "-d", self._folder), CALL_S)
        if status != 0:
            raise self._way.refused(
                f"there is no folder {self._folder} on the proxy's host: make it, with a file for each server"
            )
        status, _ = await self._way.run(("test", "-e", self._file(server)), CALL_S)
        return status == 0

    async def _do(self, *argv: str) -> None:
        status, said = await self._way.run(argv, CALL_S)
        if status != 0:
            raise self._way.refused(f"{argv[0]} ended with {status} on the proxy's host: {said.strip()[:SHOWN]}")

    def _file(self, server: str) -> str:
        return f"{self._folder}/{server}"
