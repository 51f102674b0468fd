"""A command on the worker itself: bounded in time, output and environment, and leaving no process behind."""

import asyncio
import os
import signal
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass

from fraisier.providers.masking import Masking

Heard = Callable[[str], object]
"""Hears the end of what a command has written so far, again and again."""

KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ")
"""What a command gets of the worker's environment: the rest holds the worker's own passwords."""

START_BYTES = 64 * 1024
TAIL_BYTES = 4096
CHUNK = 64 * 1024
LAST_WORDS_S = 1.0
"""How long output is still read when a command has ended but a child of it holds its output open, in seconds."""


@dataclass(frozen=True)
class Ended:
    """A command that ran to its end.

    Attributes:
        status: its exit status; a signal that ended it is negative.
        stdout: the start of what it wrote there, at most 64 KB.
        stderr: the start of what it wrote there, at most 64 KB.
        tail: the end of what it wrote to both, without secrets, at most 4 KB.
    """

    status: int
    stdout: str
    stderr: str
    tail: str


async def run_here(
    argv: tuple[str, ...],
    *,
    timeout_s: float | None,
    environment: Mapping[str, str] | None = None,
    heard: Heard | None = None,
    kept: tuple[str, ...] = KEPT,
    hidden: tuple[str, ...] = (),
    stdin: int = asyncio.subprocess.DEVNULL,
    grace_s: Callable[[], float] = lambda: 0.0,
) -> Ended:
    """Run a command to its end.

    When the time is over, or when this is cancelled, the command and its children are killed.

    Args:
        argv: the argument list.
        timeout_s: how long it may take, in seconds; None leaves that to whoever cancels.
        environment: more variables beside those that are kept.
        heard: hears its output while it runs, without secrets.
        kept: the variables of the worker's own environment that it gets.
        hidden: secrets that it may write.
        stdin: what it reads.
        grace_s: asked when it must end before its time: how long it may take to do so by itself after SIGTERM, in
            seconds.

    Raises:
        OSError: it cannot be started.
        ValueError: an argument holds a NUL.
        TimeoutError: it did not end in time.
    """
    said = _Said(heard, hidden)
    async with AsyncExitStack() as pipes:
        out, error = await said.pipe(pipes, said.stdout), await said.pipe(pipes, said.stderr)
        try:
            process = await asyncio.create_subprocess_exec(
                *argv,
                env={**{name: os.environ[name] for name in kept if name in os.environ}, **(environment or {})},
                stdin=stdin,
                stdout=out,
                stderr=error,
                start_new_session=True,
            )
        finally:
            os.close(out)
            os.close(error)
        try:
            status = await asyncio.wait_for(process.wait(), timeout_s)
            await asyncio.wait(said.readings, timeout=LAST_WORDS_S)
        except asyncio.TimeoutError as timeout:
            raise TimeoutError(f"{argv[0]} did not end within {timeout_s:g} s") from timeout
        finally:
            await _end(process, grace_s)
    return Ended(status, _text(said.stdout), _text(said.stderr), _text(said.tail))


async def _end(process: asyncio.subprocess.Process, grace_s: Callable[[], float]) -> None:
    """End a command, if it has not ended, and whatever it left behind."""
    try:
        if process.returncode is None and (seconds := grace_s()):
            with suppress(ProcessLookupError, asyncio.TimeoutError):
                os.killpg(process.pid, signal.SIGTERM)
                await asyncio.wait_for(process.wait(), seconds)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


class _Said:
    """What a command has said so far."""

    def __init__(self, heard: Heard | None, hidden: tuple[str, ...]) -> None:
        self.stdout, self.stderr, self.tail = bytearray(), bytearray(), bytearray()
        self.readings: list[asyncio.Task[None]] = []
        self._heard = heard
        self._hidden = hidden

    async def pipe(self, pipes: AsyncExitStack, start: bytearray) -> int:
        """The writing end of a pipe that is read to its end, or until the block's.

        A pipe of our own: the library's counts a process as ended only when all its children have let go of it.
        """
        reading_end, writing_end = os.pipe()
        stream = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(stream), os.fdopen(reading_end, "rb")
        )
        pipes.callback(transport.close)
        reading = asyncio.create_task(self._read(stream, start))
        pipes.callback(reading.cancel)
        self.readings.append(reading)
        return writing_end

    async def _read(self, stream: asyncio.StreamReader, start: bytearray) -> None:
        masking = Masking(self._hidden)
        while part := await stream.read(CHUNK):
            start += part[: START_BYTES - len(start)]
            self._keep(masking.part(part))
        self._keep(masking.rest())

    def _keep(self, said: bytes) -> None:
        self.tail += said
        del self.tail[:-TAIL_BYTES]
        if said and self._heard is not None:
            self._heard(_text(self.tail))


def _text(said: bytearray) -> str:
    return said.decode(errors="replace").strip()
