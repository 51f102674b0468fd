"""A lock between processes, which the system frees with the process that holds it."""

import asyncio
import contextlib
import fcntl
from collections.abc import AsyncIterator
from pathlib import Path

from fraisier.orchestrator.launcher.progress import Progress

RETRY_S = 0.2


@contextlib.asynccontextmanager
async def locked(path: Path, *, waiting: str, progress: Progress) -> AsyncIterator[None]:
    """Hold the lock file for the block; when another process holds it, say `waiting` once and wait."""
    with path.open("w") as file:
        told = False
        while not _try_lock(file.fileno()):
            if not told:
                progress(waiting)
                told = True
            await asyncio.sleep(RETRY_S)
        yield


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
