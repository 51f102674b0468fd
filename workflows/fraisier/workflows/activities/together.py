"""The steps of several targets in one activity: each ends in its own way, and one that fails fails no other."""

import asyncio
from collections.abc import Awaitable, Iterable

from temporalio import activity
from temporalio.exceptions import ApplicationError

from fraisier.providers.models import HealthResult, StepResult
from fraisier.workflows.activities.heartbeat import CANCEL_AGAIN_S, heartbeating
from fraisier.workflows.failures import outcome_of
from fraisier.workflows.steps import StepOutcome

Taken = Awaitable[StepResult | HealthResult]
"""A step that is being taken."""


async def take_together(steps: Iterable[Taken]) -> tuple[StepOutcome, ...]:
    """Wait for all steps; asked to end, tell what had been done by then.

    What Temporal shall retry is raised once every step has ended, and is retried for all of them: a target where the
    step was done says so again.
    """
    tasks = [asyncio.create_task(_outcome(step)) for step in steps]
    async with heartbeating(lambda: f"{sum(task.done() for task in tasks)} of {len(tasks)} targets"):
        try:
            await asyncio.wait(tasks)
        except asyncio.CancelledError:
            await _end(tasks)
            if not _was_asked_to_end():
                raise
    errors = [error for task in tasks if not task.cancelled() and (error := task.exception())]
    if errors:
        raise errors[0]
    return tuple(StepOutcome(stopped=True) if task.cancelled() else task.result() for task in tasks)


async def _outcome(step: Taken) -> StepOutcome:
    try:
        result = await step
    except ApplicationError as error:
        if not error.non_retryable:
            raise
        return outcome_of(error)
    return StepOutcome(health=result) if isinstance(result, HealthResult) else StepOutcome(result=result)


async def _end(tasks: list[asyncio.Task[StepOutcome]]) -> None:
    """Cancel what runs, and again where a cancellation was lost on its way (see `CANCEL_AGAIN_S`)."""
    while any(not task.done() for task in tasks):
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=CANCEL_AGAIN_S / 2)


def _was_asked_to_end() -> bool:
    """Whether the workflow wants it to end; a worker that ends, or a pause in the UI, leaves the steps to a retry."""
    details = activity.cancellation_details()
    return details is not None and details.cancel_requested
