"""A heartbeat beside the work, so that a lost worker is noticed and a cancellation arrives."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from temporalio import activity

from fraisier.workflows.policy import HEARTBEAT_EVERY


@asynccontextmanager
async def heartbeating() -> AsyncIterator[None]:
    """Heartbeat every two seconds while the block runs."""

    async def beat() -> None:
        while True:
            activity.heartbeat()
            await asyncio.sleep(HEARTBEAT_EVERY.total_seconds())

    task = asyncio.create_task(beat())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
