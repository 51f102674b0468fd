"""The way to a proxy: straight from the worker, or by way of a host that is entered over SSH."""

import asyncio
from typing import Any

import httpcore

from fraisier.providers.bare_metal.channel import HostNetwork
from fraisier.providers.bare_metal.connection import HostConnection
from fraisier.providers.bare_metal.limits import LATE
from fraisier.providers.errors import ConnectFailed, TrafficRefused
from fraisier.providers.local_command import run_here
from fraisier.providers.models import Step
from fraisier.providers.ssh_options import SshOptions
from fraisier.providers.traffic.models import UNIX

ANSWER_LIMIT = 4 * 1024 * 1024
"""How much of an answer is read, in bytes."""

CALL_S = 10.0
"""How long one question to a proxy may take, in seconds."""


class Way:
    """How the proxies of one step are reached.

    Args:
        ssh: the host in between; None goes straight.
        step: whose target it is about, for errors.
    """

    def __init__(self, ssh: SshOptions | None, step: Step) -> None:
        self._step = step
        self._host = HostConnection(ssh, target=ssh.host) if ssh is not None else None

    @property
    def network(self) -> httpcore.AsyncNetworkBackend | None:
        """For HTTP; None is the worker's own."""
        return HostNetwork(self._host) if self._host is not None else None

    async def ask(self, socket: str, question: str) -> str:
        """Send a line to a socket and read all that it answers.

        Raises:
            ConnectFailed: it cannot be reached, or does not answer in time.
        """
        try:
            return await asyncio.wait_for(self._ask(socket, question), CALL_S)
        except (OSError, httpcore.NetworkError, asyncio.TimeoutError, TimeoutError) as error:
            raise self.unreachable(socket, str(error) or f"no answer within {CALL_S:g} s") from error

    async def run(self, argv: tuple[str, ...], seconds: float) -> tuple[int, str]:
        """Run a command on the host in between, or on the worker: its exit status and the end of its output.

        Raises:
            CommandUnknown: the host in between did not tell how it ended.
            TrafficRefused: it is not there, or did not end in time; then it was killed.
        """
        if self._host is not None:
            done = await self._host.run_limited(argv, seconds=seconds)
            if done.exit_status == LATE:
                raise self.refused(f"{argv[0]} did not end within {seconds:g} s on the proxy's host")
            return done.exit_status, done.tail or done.output
        try:
            ended = await run_here(argv, timeout_s=seconds)
        except TimeoutError as error:
            raise self.refused(str(error)) from error
        except OSError as error:
            raise self.refused(f"{argv[0]} cannot be run on the worker: {error.strerror}") from error
        return ended.status, ended.tail

    def unreachable(self, proxy: str, why: str) -> ConnectFailed:
        """The error of a proxy that cannot be reached."""
        return ConnectFailed(f"{self._step.target}: the proxy at {proxy} cannot be reached: {why}", **self._fields())

    def refused(self, why: str) -> TrafficRefused:
        """The error of a proxy that does not do what it is asked."""
        return TrafficRefused(f"{self._step.target}: {why}", **self._fields())

    async def close(self) -> None:
        """Leave the host in between."""
        if self._host is not None:
            await self._host.close()

    async def _ask(self, socket: str, question: str) -> str:
        reader, writer = await self._open(socket)
        try:
            writer.write(f"{question}\n".encode())
            answer = bytearray()
            while len(answer) < ANSWER_LIMIT and (part := await reader.read(ANSWER_LIMIT)):
                answer += part
            return answer.decode(errors="replace").strip()
        finally:
            writer.close()

    async def _open(self, socket: str) -> tuple[Any, Any]:
        """A reader and a writer, of one library or the other: they are alike."""
        path = socket.removeprefix(UNIX)
        if path != socket:
            return await (self._host.dial_socket(path) if self._host else asyncio.open_unix_connection(path))
        host, _, port = socket.rpartition(":")
        where = (host.strip("[]"), int(port))
        return await (self._host.dial(*where) if self._host else asyncio.open_connection(*where))

    def _fields(self) -> dict[str, str]:
        return {"target": self._step.target, "step": self._step.name}
