"""A freeze of all services, heeded between the batches of a region. Lives in the region workflow."""

import asyncio
from collections.abc import Callable

from temporalio import workflow
from temporalio.exceptions import FailureError

from fraisier.workflows.activities.freezes import FreezeActivities
from fraisier.workflows.contracts import REGION_WAITS, RegionInput, RegionWaits
from fraisier.workflows.policy import EVENT, LISTEN


class BatchFreeze:
    """Keeps a region's next batch from starting while all services are frozen, and tells the rollout of it.

    Args:
        order: the region's input.
        say: shows what the region does.

    Attributes:
        heeded: whether it keeps anything; an override ends that, for all of the region.
    """

    def __init__(self, order: RegionInput, *, say: Callable[[str], None]) -> None:
        self._region = order.region.name
        self._say = say
        self.heeded = order.heeds_freeze

    async def wait(self, given_up: Callable[[], bool]) -> None:
        """Wait until the next batch may start, or until the region is `given_up`."""

        def over() -> bool:
            return given_up() or not self.heeded

        told = False
        while not over() and (why := await self._frozen(over)):
            told = True
            self._say(why)
            await self._tell(why)
            thawed = workflow.start_activity_method(FreezeActivities.thawed, summary=f"{self._region}: {why}", **LISTEN)
            await _until(thawed, over)
        if told:
            await self._tell("")

    async def _frozen(self, over: Callable[[], bool]) -> str:
        """Who froze all services, since when and why; empty when nobody did, or when it does not matter any more."""
        asked = workflow.start_activity_method(FreezeActivities.frozen, summary="is everything frozen", **EVENT)
        return (await asked).why if await _until(asked, over) else ""

    async def _tell(self, why: str) -> None:
        parent = workflow.info().parent
        if parent is None:
            return
        rollout = workflow.get_external_workflow_handle(parent.workflow_id)
        try:
            await rollout.signal(REGION_WAITS, RegionWaits(region=self._region, why=why))
        except FailureError as error:
            workflow.logger.warning("%s: the rollout was not told what it waits for: %s", self._region, error)


async def _until(handle: workflow.ActivityHandle[object], over: Callable[[], bool]) -> bool:
    """Wait for an activity until it is `over`; whether the activity ended by itself."""
    await workflow.wait_condition(lambda: handle.done() or over())
    if handle.done():
        return True
    handle.cancel()
    await asyncio.gather(handle, return_exceptions=True)
    return False
