"""Regions that wait for their windows and for the end of freezes."""

import asyncio
from collections.abc import Callable
from datetime import timedelta

from temporalio import workflow

from fraisier.workflows.activities.calendar import CalendarActivities
from fraisier.workflows.activities.freezes import FreezeActivities
from fraisier.workflows.controls import Controls
from fraisier.workflows.plans import RegionPlan
from fraisier.workflows.policy import EVENT, LISTEN
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
        self._frozen = ""

    async def may_start(self, name: str) -> bool:
        """Whether a region may start now."""
        if self._let(name):
            return True
        if self._state.plan.heeds_freeze:
            self._frozen = await self._ask_freeze()
        return not self._frozen and not (await self._ask(self._state.plan.regions[name])).why

    async def wait(self, name: str, given_up: Callable[[], bool]) -> None:
        """Wait until a region may start, or until it is `given_up` because another has failed.

        Raises:
            Interrupted: the rollout was asked to end.
        """
        try:
            if self._frozen:
                await self._thaw(name, lambda: given_up() or self._let(name))
            while not given_up() and not self._let(name):
                answer = await self._ask(self._state.plan.regions[name])
                if not answer.why:
                    return
                self._tell(name, answer.why)
                left = max(answer.until - workflow.now(), timedelta(0)) if answer.until else None
                await self._controls.until(lambda: given_up() or self._let(name), left, f"{name}: {answer.why}")
        finally:
            self._tell(name, "")

    def _let(self, name: str) -> bool:
        return name in self._controls.let_start

    async def _ask_freeze(self) -> str:
        handle = workflow.start_activity_method(FreezeActivities.frozen, summary="is everything frozen", **EVENT)
        (answer,) = await self._controls.through(handle)
        found: Opening = answer
        return found.why

    async def _thaw(self, name: str, given_up: Callable[[], bool]) -> None:
        """Wait until all services are frozen no more."""
        self._tell(name, self._frozen)
        handle = workflow.start_activity_method(FreezeActivities.thawed, summary=f"{name}: {self._frozen}", **LISTEN)
        try:
            await self._controls.until(lambda: handle.done() or given_up())
        finally:
            handle.cancel()
            await asyncio.gather(handle, return_exceptions=True)
        self._frozen = ""

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
