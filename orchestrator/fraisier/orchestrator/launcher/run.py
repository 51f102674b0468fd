"""Runs one command to its end, and ends it with all its children when the caller is cancelled."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

from fraisier.orchestrator.launcher.errors import WayFailed

TAIL = 2000
"""How many characters of a failed command's output an error shows."""


async def run(argv: Sequence[str], *, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> str:
    """Run a command and return all that it printed.

    Raises:
        WayFailed: it could not be started, or ended with a status other than 0.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            env=env,
            cwd=cwd,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        raise WayFailed(f"{argv[0]} could not be started: {error.strerror}") from error
    try:
        out, _ = await process.communicate()
    finally:
        if process.returncode is None:
            await _end_group(process)
    said = out.decode(errors="replace")
    if process.returncode != 0:
        raise WayFailed(f"{' '.join(argv[:3])} … ended with status {process.returncode}: {said[-TAIL:].strip()}")
    return said


async def _end_group(process: asyncio.subprocess.Process) -> None:
    """Kill the command and what it started: a compiler's children would go on building for minutes."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()
