"""A command on the worker itself: bounded in time and output, and leaving no process behind."""

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import suppress

Heard = Callable[[str], object]
"""Hears the end of what a command has written so far, again and again."""

TAIL_BYTES = 4096
CHUNK = 64 * 1024
LAST_WORDS_S = 1.0
"""How long output is still read when a command has ended but a child of it holds its output open, in seconds."""


async def run_here(argv: tuple[str, ...], *, timeout_s: float, heard: Heard | None = None) -> tuple[int, str]:
    """Run a command to its end; its exit status and the end of its output.

    When the time is over, or when this is cancelled, the command and its children are killed.

    Raises:
        OSError: it cannot be started.
        TimeoutError: it did not end in time.
    """
    # A pipe of our own: the library's counts a process as ended only when all its children have let go of it.
    reading_end, writing_end = os.pipe()
    output = asyncio.StreamReader()
    pipe, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(output), os.fdopen(reading_end, "rb")
    )
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=writing_end,
            stderr=writing_end,
            start_new_session=True,
        )
    except OSError:
        pipe.close()
        raise
    finally:
        os.close(writing_end)
    tail = bytearray()
    reading = asyncio.create_task(_read(output, tail, heard))
    try:
        status = await asyncio.wait_for(process.wait(), timeout_s)
        await asyncio.wait({reading}, timeout=LAST_WORDS_S)
    except asyncio.TimeoutError as error:
        raise TimeoutError(f"{argv[0]} did not end within {timeout_s:g} s") from error
    finally:
        reading.cancel()
        pipe.close()
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
    return status, _text(tail)


async def _read(output: asyncio.StreamReader, tail: bytearray, heard: Heard | None) -> None:
    while part := await output.read(CHUNK):
        tail += part
        del tail[:-TAIL_BYTES]
        if heard is not None:
            heard(_text(tail))


def _text(tail: bytearray) -> str:
    return tail.decode(errors="replace").strip()
