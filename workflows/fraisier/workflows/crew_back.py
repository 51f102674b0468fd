"""How a rollout has regions taken back: by child workflows, last wave first."""

import asyncio
from collections.abc import Callable, Iterable

from temporalio import workflow
from temporalio.exceptions import FailureError

from fraisier.workflows.contracts import (
    EDITION,
    RegionOutcome,
    RegionReport,
    RollbackInput,
    RolloutInput,
    TargetOutcome,
)
from fraisier.workflows.failures import describe
from fraisier.workflows.plans import Plan
from fraisier.workflows.region_rollback import RegionRollbackWorkflow
from fraisier.workflows.rollout_state import RolloutState
from fraisier.workflows.search import searched_by
from fraisier.workflows.window import at_once, long_enough


class CrewBack:
    """Takes regions back. Lives in the rollout workflow.

    Args:
        order: the rollout's input.
        state: where results are remembered.
        on_change: called after the state changed, to show it.

    Attributes:
        put_off: the regions that were not started because the workflow's history is long enough.
    """

    def __init__(self, order: RolloutInput, state: RolloutState, *, on_change: Callable[[], None]) -> None:
        self._order = order
        self._state = state
        self._show = on_change
        self.put_off: list[str] = []

    @property
    def _plan(self) -> Plan:
        return self._state.plan

    async def take_back(
        self, names: Iterable[str], generation: int, reason: str, *, shut: Callable[[], bool] = long_enough
    ) -> dict[str, str]:
        """Take touched regions back, last wave first; returns by region what could not be taken back, for people.

        Args:
            names: the regions.
            generation: the fencing generation of their steps.
            reason: why, for the events.
            shut: whether the rest shall be put off.
        """
        wanted = {name for name in names if self._state.touched.get(name)}
        left: dict[str, str] = {}
        self.put_off = []
        for wave in reversed(self._plan.waves):
            group = [name for name in reversed(wave.regions) if name in wanted]
            room = asyncio.Semaphore(min(wave.max_parallel, at_once(len(group))))

            async def one(name: str, room: asyncio.Semaphore = room) -> None:
                async with room:
                    if self.put_off or shut():
                        self.put_off.append(name)
                        return
                    report = await self._take_region_back(name, generation, reason)
                    if report.outcome is not RegionOutcome.ROLLED_BACK:
                        left[name] = report.error

            await asyncio.gather(*(one(name) for name in group))
        return left

    async def _take_region_back(self, name: str, generation: int, reason: str) -> RegionReport:
        self._state.region(name, "rolling_back")
        self._show()
        order = RollbackInput(
            rollout_id=self._order.rollout_id,
            release=self._plan.release,
            region=self._plan.regions[name],
            generation=generation,
            targets=self._state.touched[name],
            previous=self._state.previous.get(name, {}),
            reason=reason,
            edition=EDITION,
        )
        report = await self._ask_back(name, order)
        self._state.region(name, report.outcome.value, report.error)
        if report.outcome is RegionOutcome.ROLLED_BACK:
            self._state.went_back(name)
        self._show()
        return report

    async def _ask_back(self, name: str, order: RollbackInput) -> RegionReport:
        """Run a region's rollback; one that breaks counts as failed and keeps no other region from going back."""
        try:
            return await workflow.execute_child_workflow(
                RegionRollbackWorkflow.run,
                order,
                id=f"rollout:{self._plan.service}:{self._order.rollout_id}:{name}:rollback",
                static_summary=f"{name}: back from {self._plan.service} {self._plan.release.version}",
                search_attributes=searched_by(self._plan.service, self._plan.release.version, name),
            )
        except FailureError as error:
            return RegionReport.broken(name, TargetOutcome.ROLLBACK_FAILED, order.targets, describe(error))
