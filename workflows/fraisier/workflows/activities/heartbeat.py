"""A heartbeat beside the work, so that a lost worker is noticed and a cancellation arrives."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

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

    Raises:
        ApplicationError: its workflow, or this attempt, is over, so that nobody wants to know how it ends.
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
    except asyncio.CancelledError:
        details = activity.cancellation_details()
        if details is None or not details.not_found:
            raise
        # A cancellation that nobody asked for would be logged with its traceback, as a defect.
        raise ApplicationError(
            "its workflow, or this attempt, is over", category=ApplicationErrorCategory.BENIGN
        ) from None
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
