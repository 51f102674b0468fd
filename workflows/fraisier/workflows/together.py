"""Steps that several targets take in the same moment become one activity: the same effects in far fewer events.

An activity costs Temporal three events and some milliseconds, whatever it does. A hundred targets that are staged at
once need four activities, not a hundred; a region that goes target by target has one a target.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from temporalio import workflow

from fraisier.workflows.activities.targets import TargetActivities
from fraisier.workflows.failures import of_outcome
from fraisier.workflows.steps import StepInput, StepOutcome, StepsInput, StepsReport

AT_MOST = 25
"""How many targets one activity looks after; more go to other activities, and so to other workers."""

TURNS = 2
"""After how many turns of the loop all have asked: one for those that start at once, one more for those whose step
before has ended in another activity at the same time."""

SUMMARY = 200
"""How long a summary may be, in characters: Temporal takes no more than 400 bytes."""

PATCH = "steps-together"
"""Histories from before it have an activity a target. Regions of edition 1 need not ask."""

Run = Callable[[Any, Any, str], Awaitable[Any]]
"""Runs an activity, given its input and its summary."""


class Together:
    """Collects the steps that are asked for at once. Deterministic, so it lives in a workflow.

    Args:
        run: runs an activity to its end.
        edition: of the region, see `EDITION`.
    """

    def __init__(self, run: Run, edition: int) -> None:
        self._run = run
        self._edition = edition
        self._asked: dict[str, list[_Asked]] = {}

    async def take(self, activity: Any, order: StepInput) -> Any:
        """Run a step, alone or with others, and return its result.

        Raises:
            FailureError: the step failed or was stopped, or the activity did, with all that were in it.
        """
        if self._edition < 1 and not workflow.patched(PATCH):
            return await self._alone(activity, order)
        mine = _Asked(order)
        self._asked.setdefault(activity.__name__, []).append(mine)
        for _ in range(TURNS):
            await asyncio.sleep(0)
        if not mine.group:
            _divide(self._asked.pop(activity.__name__))
        if mine.group[0] is not mine:
            return await mine.outcome
        if len(mine.group) == 1:
            return await self._alone(activity, order)
        return await self._lead(activity, mine.group)

    async def _alone(self, activity: Any, order: StepInput) -> Any:
        return await self._run(activity, order, f"{order.step.name} {order.target.name} → {_version(order)}")

    async def _lead(self, activity: Any, group: "list[_Asked]") -> Any:
        """Run a group's activity, give the others their outcomes, and return one's own."""
        first = group[0].order
        names = ", ".join(one.order.target.name for one in group)
        summary = f"{first.step.name} on {len(group)} targets → {_version(first)}: {names}"[:SUMMARY]
        asked = StepsInput(kind=activity.__name__, steps=tuple(one.order for one in group))
        try:
            report: StepsReport = await self._run(TargetActivities.together, asked, summary)
        except BaseException as error:
            for one in group[1:]:
                one.break_off(error)
            raise
        for one, outcome in zip(group[1:], report.outcomes[1:], strict=True):
            one.end(outcome)
        return of_outcome(report.outcomes[0])


class _Asked:
    """A step that waits for others, and then for its outcome.

    Attributes:
        group: all that are run together; the first of them runs the activity.
        outcome: what the step did, for the others.
    """

    def __init__(self, order: StepInput) -> None:
        self.order = order
        self.group: list[_Asked] = []
        self.outcome: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def end(self, outcome: StepOutcome) -> None:
        """Let the one who waits have what the step did."""
        try:
            result = of_outcome(outcome)
        except Exception as error:  # noqa: BLE001 (whatever it is, it is the waiting one's)
            self.break_off(error)
        else:
            if not self.outcome.done():
                self.outcome.set_result(result)

    def break_off(self, error: BaseException) -> None:
        """Let the one who waits have the error."""
        if self.outcome.done():
            return
        if isinstance(error, asyncio.CancelledError):
            self.outcome.cancel()
        else:
            self.outcome.set_exception(error)


def _divide(asked: list[_Asked]) -> None:
    for start in range(0, len(asked), AT_MOST):
        group = asked[start : start + AT_MOST]
        for one in group:
            one.group = group


def _version(order: StepInput) -> str:
    return (order.to or order.release).version
