"""The activities of the freeze of all services."""

import asyncio

from temporalio import activity

from fraisier.workflows.activities.heartbeat import heartbeating
from fraisier.workflows.failures import WorkerStops, mapped_failures
from fraisier.workflows.ports import EventLog
from fraisier.workflows.steps import Opening

REREAD_S = 1.0
"""How long a region that is frozen goes on waiting without another look."""


class FreezeActivities:
    """Whether any region may start.

    Args:
        log: where the freeze is kept.
    """

    def __init__(self, log: EventLog) -> None:
        self._log = log

    @activity.defn
    async def frozen(self) -> Opening:
        """Whether a freeze of all services keeps regions from starting."""
        async with heartbeating():
            with mapped_failures():
                return await self._look()

    @activity.defn
    async def thawed(self) -> None:
        """Wait until no freeze of all services holds. Stateless: a lost worker loses nothing."""
        async with heartbeating():
            with mapped_failures():
                while (await self._look()).why:
                    if activity.is_cancelled():
                        # It may have been swallowed below us (see `CANCEL_AGAIN_S`).
                        raise asyncio.CancelledError
                    if activity.is_worker_shutdown():
                        raise WorkerStops("waiting for the end of the freeze goes on at another worker")
                    await asyncio.sleep(REREAD_S)

    async def _look(self) -> Opening:
        return Opening(why=await self._log.frozen())
