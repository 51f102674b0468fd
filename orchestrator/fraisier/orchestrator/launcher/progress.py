"""How the launcher tells a waiting person what it does."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable

Progress = Callable[[str], None]
"""Takes one line in plain words; called again and again during a long wait."""

EVERY_S = 15.0
"""Seconds between two lines about the same wait."""


def silent(_line: str) -> None:
    """A progress that tells nobody."""


@contextlib.asynccontextmanager
async def elapsed(progress: Progress, what: str) -> AsyncIterator[None]:
    """Say `what` at once, and again with the time gone by for as long as the block runs."""
    ticking = asyncio.create_task(_tick(progress, what))
    try:
        yield
    finally:
        ticking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await ticking


async def _tick(progress: Progress, what: str) -> None:
    began = time.monotonic()
    progress(what)
    while True:
        await asyncio.sleep(EVERY_S)
        minutes, seconds = divmod(int(time.monotonic() - began), 60)
        progress(f"{what} ({minutes}:{seconds:02} so far)")
