"""A heartbeat beside the work, so that a lost worker is noticed and a cancellation arrives."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from temporalio import activity

from fraisier.workflows.policy import HEARTBEAT_EVERY

CANCEL_AGAIN_S = 30.0
"""How long cancelled work may take to end before it is cancelled again.

A cancellation can be lost on its way: before Python 3.12 `asyncio.wait_for`, which libraries use, swallows one that
meets its result (https://github.com/python/cpython/issues/86296).
"""


SAID_SHOWN = 1000
"""How much of a command's output a heartbeat shows, in characters: its end."""


@asynccontextmanager
async def heartbeating(tell: Callable[[], str] | None = None) -> AsyncIterator[None]:
    """Heartbeat every two seconds while the block runs, and cancel it again when it goes on after a cancellation.

    Args:
        tell: what the heartbeat says, for people who look at the activity.
    """
    work = asyncio.current_task()

    async def beat() -> None:
        cancelled_at: float | None = None
        while True:
            activity.heartbeat(*([tell()] if tell else []))
            await asyncio.sleep(HEARTBEAT_EVERY.total_seconds())
            if not activity.is_cancelled() or work is None:
                continue
            now = time.monotonic()
            cancelled_at = cancelled_at or now
            if now - cancelled_at >= CANCEL_AGAIN_S:
                activity.logger.warning("the work goes on after its cancellation: it is cancelled again")
                work.cancel()
                cancelled_at = now

    task = asyncio.create_task(beat())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
