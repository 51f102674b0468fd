"""Where a region's steps run: on the central workers, or on workers of its own, which dial out and hold its keys."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from temporalio import workflow
from temporalio.exceptions import ActivityError

from fraisier.workflows.activities.targets import TargetActivities
from fraisier.workflows.activities.workers import WorkerActivities
from fraisier.workflows.failures import describe, was_not_taken, was_refused
from fraisier.workflows.plans import Placement, RegionPlan, ReleasePlan
from fraisier.workflows.policy import EVENT, STEP, Options, placed
from fraisier.workflows.steps import LookInput, PreflightInput, PreflightReport, RegionLook

Order = TypeVar("Order")
R = TypeVar("R")


async def run_placed(
    region: RegionPlan, run: Callable[[Options, int], Awaitable[R]], *, given_up: Callable[[], bool] = lambda: False
) -> R:
    """Run a step where its region's steps run.

    A worker of the region that is busy takes it later; when there is none the step fails.

    Args:
        region: whose step it is.
        run: starts the step with the given options, after so many offers, and waits for it.
        given_up: whether a step that was not taken shall not be offered again.

    Raises:
        ActivityError: it failed, or nobody works for the region.
    """
    queue = _queue(region)
    if queue is None:
        return await run(STEP, 0)
    offers = 0
    while True:
        try:
            return await run(placed(queue), offers)
        except ActivityError as error:
            if not was_not_taken(error) or given_up():
                raise
        await _expect_worker(queue)
        offers += 1


async def preflight(region: RegionPlan, release: ReleasePlan) -> PreflightReport:
    """Look at a region's targets; where nobody works for the region all of them are unfit, at once."""
    order = PreflightInput(region=region, release=release)
    try:
        return await _asked(TargetActivities.preflight, order, region, f"preflight {region.name}")
    except ActivityError as error:
        return PreflightReport(region=region.name, states={}, unfit=_nobody(region, error))


async def look(asked: LookInput) -> RegionLook:
    """Ask a region's targets what they run; where nobody works for the region all of them are silent, at once."""
    region = asked.region
    try:
        return await _asked(TargetActivities.look, asked, region, f"look at {region.name}")
    except ActivityError as error:
        return RegionLook(region=region.name, states={}, silent=_nobody(region, error))


async def _asked(
    activity: Callable[[TargetActivities, Order], Awaitable[R]], order: Order, region: RegionPlan, summary: str
) -> R:
    queue = _queue(region)
    if queue is not None:
        await _expect_worker(queue)

    async def once(options: Options, _offers: int) -> R:
        return await workflow.execute_activity_method(activity, order, summary=summary, **options)

    return await run_placed(region, once)


def _nobody(region: RegionPlan, error: ActivityError) -> dict[str, str]:
    """That nobody works for the region, of each of its targets; raises any other error."""
    if not was_refused(error) or region.placement is Placement.CENTRAL:
        raise error
    return dict.fromkeys((target.name for target in region.targets), describe(error))


def _queue(region: RegionPlan) -> str | None:
    """The task queue of a region's own workers; None for the workflow's."""
    return f"{workflow.info().task_queue}.{region.name}" if region.placement is Placement.REGIONAL else None


async def _expect_worker(queue: str) -> None:
    await workflow.execute_activity_method(WorkerActivities.expect_worker, queue, summary=f"who polls {queue}", **EVENT)
