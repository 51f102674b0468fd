"""Folders on the worker for a release while the plugin reads it: they hold secrets, so none outlives its worker long.

Whoever has one holds a lock on it, which goes with the process, however that ends. Who makes the next one, or only
connects, removes those that nobody holds.
"""

import asyncio
import fcntl
import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

PREFIX = "fraisier-compose-"


@asynccontextmanager
async def own_folder() -> AsyncIterator[Path]:
    """A folder that only this user may read; it is gone after the block."""
    making = asyncio.ensure_future(asyncio.to_thread(_made))
    try:
        folder, held = await asyncio.shield(making)
    except asyncio.CancelledError:
        making.add_done_callback(_unwanted)  # the thread goes on, and nobody else hears of its folder
        raise
    try:
        yield folder
    finally:
        await asyncio.shield(asyncio.to_thread(_remove, folder, held))


def remove_left() -> None:
    """Remove what workers of this user left when they were killed. This blocks."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        held = _hold(folder)
        if held is not None:
            _remove(folder, held)


def _made() -> tuple[Path, int]:
    remove_left()
    while True:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX)).resolve()
        held = _hold(folder)
        if held is not None:
            return folder, held


def _unwanted(making: "asyncio.Future[tuple[Path, int]]") -> None:
    if not making.cancelled() and making.exception() is None:
        _remove(*making.result())


def _remove(folder: Path, held: int) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    os.close(held)


def _hold(folder: Path) -> int | None:
    """A lock on a folder of this user's; None when somebody holds it, or has just removed it."""
    try:
        opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        found = os.fstat(opened)
        if found.st_uid == os.geteuid() and os.path.samestat(found, folder.lstat()):
            return opened
    except OSError:
        pass
    os.close(opened)
    return None
