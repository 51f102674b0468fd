"""Regions that wait for their windows and for the end of freezes."""

from collections.abc import Callable
from datetime import timedelta

from temporalio import workflow

from fraisier.workflows.activities.calendar import CalendarActivities
from fraisier.workflows.contracts import RegionPlan
from fraisier.workflows.controls import Controls
from fraisier.workflows.policy import EVENT
from fraisier.workflows.rollout_state import RolloutState
from fraisier.workflows.steps import Opening, OpeningInput


class Openings:
    """Keeps regions from starting until they may. Lives in the rollout workflow.

    Args:
        state: where it is told what a region waits for.
        controls: whose interruptions are heeded.
        on_change: called after the state changed, to show it.
    """

    def __init__(self, state: RolloutState, controls: Controls, *, on_change: Callable[[], None]) -> None:
        self._state = state
        self._controls = controls
        self._show = on_change

    async def may_start(self, name: str) -> bool:
        """Whether a region may start now."""
        return not (await self._ask(self._state.plan.regions[name])).why

    async def wait(self, name: str, given_up: Callable[[], bool]) -> None:
        """Wait until a region may start, or until it is `given_up` because another has failed.

        Raises:
            Interrupted: the rollout was asked to end.
        """
        try:
            while not given_up():
                answer = await self._ask(self._state.plan.regions[name])
                if not answer.why:
                    return
                self._tell(name, answer.why)
                left = max(answer.until - workflow.now(), timedelta(0)) if answer.until else None
                await self._controls.until(given_up, left, f"{name}: {answer.why}")
        finally:
            self._tell(name, "")

    async def _ask(self, region: RegionPlan) -> Opening:
        if not region.windows and not region.freezes:
            return Opening()
        handle = workflow.start_activity_method(
            CalendarActivities.opening,
            OpeningInput(region=region, at=workflow.now()),
            summary=f"may {region.name} start now",
            **EVENT,
        )
        (answer,) = await self._controls.through(handle)
        found: Opening = answer
        return found

    def _tell(self, name: str, why: str) -> None:
        if self._state.waits_for(name) != why:
            self._state.waits(name, why)
            self._show()
