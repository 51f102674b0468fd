"""What a rollout has done for it: activities and child workflows, and what is remembered of them."""

import asyncio
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from temporalio import workflow
from temporalio.exceptions import FailureError, is_cancelled_exception

from fraisier.workflows.contracts import (
    EDITION,
    RegionInput,
    RegionOutcome,
    RegionReport,
    RegionSettings,
    RolloutInput,
    TargetOutcome,
)
from fraisier.workflows.controls import Controls, Interrupted
from fraisier.workflows.crew_back import CrewBack
from fraisier.workflows.evidence import Evidence
from fraisier.workflows.failures import describe
from fraisier.workflows.gatekeeper import Gatekeeper
from fraisier.workflows.openings import Openings
from fraisier.workflows.placement import preflight
from fraisier.workflows.plans import OnFailure, Plan, RegionPlan
from fraisier.workflows.promotions import Promotions
from fraisier.workflows.region import RegionWorkflow
from fraisier.workflows.rollout_state import RolloutState
from fraisier.workflows.room import Room
from fraisier.workflows.search import searched_by
from fraisier.workflows.verbs import Verb, VerbRequest
from fraisier.workflows.window import at_once, in_window, long_enough

_TOLD = {Verb.PAUSE: RegionWorkflow.hold, Verb.RESUME: RegionWorkflow.release, Verb.OVERRIDE: RegionWorkflow.let_go}
"""The verbs that running regions are told of."""


class Crew(CrewBack):
    """Runs what the rollout decides, forward and back. Lives in the rollout workflow.

    Args:
        order: the rollout's input.
        state: where results are remembered.
        controls: whose interruptions are heeded.
        evidence: mints the generations of runs that follow a canary.
        gatekeeper: asks the gates of canaries.
        on_change: called after the state changed, to show it.
    """

    def __init__(
        self,
        order: RolloutInput,
        state: RolloutState,
        controls: Controls,
        evidence: Evidence,
        gatekeeper: Gatekeeper,
        *,
        on_change: Callable[[], None],
    ) -> None:
        super().__init__(order, state, on_change=on_change)
        self._controls = controls
        self._evidence = evidence
        self._promotions = Promotions(state, controls, gatekeeper, on_change=on_change)
        self._openings = Openings(state, controls, on_change=on_change)
        self._running: dict[str, workflow.ChildWorkflowHandle[RegionWorkflow, RegionReport]] = {}
        self._speaking: dict[str, asyncio.Lock] = {}

    async def preflight(self, names: Iterable[str], *, shut: Callable[[], bool] = long_enough) -> None:
        """Look at regions' targets, and remember what runs there and what is unfit.

        Args:
            names: the regions.
            shut: whether the rest shall be put off.
        """

        async def one(name: str) -> None:
            self._state.looked_at(await preflight(self._plan.regions[name], self._plan.release))

        (self.put_off,) = await self._controls.through(asyncio.create_task(in_window([*names], one, shut=shut)))

    async def run_regions(
        self, number: int, names: Iterable[str], generation: int, *, to_the_last: bool = False
    ) -> list[RegionReport]:
        """Roll regions of a wave out, so many at a time; none is started after one has failed that stops the others.

        Args:
            to_the_last: let none stop the others.

        Raises:
            Interrupted: the rollout was asked to end; every started region has stopped by then.
        """
        most = at_once(len([*names]))
        room = Room(self._controls, lambda: min(self._plan.wave(number).max_parallel, most))
        self.put_off = []
        reports: list[RegionReport] = []
        stops: list[str] = []

        async def one(name: str) -> None:
            def gone() -> bool:
                return bool(stops) or name not in self._plan.wave(number).regions

            started = False
            while not started and not gone():
                await self._openings.wait(name, lambda: gone() or long_enough())
                async with room:
                    await self._controls.hold()
                    if long_enough():
                        self.put_off.append(name)
                        return
                    # It may have had to wait for room until its window had closed again.
                    started = not gone() and await self._openings.may_start(name)
                    if started:
                        report = await self._roll_out(name, number, generation)
                        reports.append(report)
                        if not to_the_last and self._stops(number, report):
                            stops.append(name)
                        await self._soak(report)

        ended = await asyncio.gather(*(one(name) for name in names), return_exceptions=True)
        for error in ended:
            if isinstance(error, BaseException):
                raise error
        return reports

    def _stops(self, number: int, report: RegionReport) -> bool:
        """Whether the rest of the wave must not start after this report."""
        if report.outcome is RegionOutcome.SUCCEEDED:
            return False
        goes_on = self._plan.when_fails(self._plan.wave(number), report.region) is OnFailure.CONTINUE
        # Rollouts that began before a failure let the rest of its own wave go on stay as they were.
        return not (goes_on and workflow.patched("continue-in-the-wave"))

    async def _soak(self, report: RegionReport) -> None:
        if report.outcome is RegionOutcome.SUCCEEDED:
            name = report.region

            def tell(end: datetime | None) -> None:
                self._state.waits(name, "the soak", end)
                self._show()

            try:
                await self._controls.wait(lambda: self._plan.regions[name].soak, f"soak after {name}", tell)
            finally:
                self._state.waits(name, "")
            self._show()

    async def _roll_out(self, name: str, number: int, generation: int) -> RegionReport:
        """Roll a region out; after a canary that waits to be promoted, the rest of it in a run of its own."""
        report = await self._run_region(name, number, generation)
        if report.outcome is not RegionOutcome.CANARY:
            return report
        refused = await self._promotions.wait(name, number)
        if refused:
            return self._state.not_promoted(report, refused)
        return await self._run_region(name, number, await self._evidence.mint(f"{name} after its canary"), report)

    async def _run_region(
        self, name: str, wave: int, generation: int, canary: RegionReport | None = None
    ) -> RegionReport:
        region, done = self._plan.regions[name], tuple(self._state.done.get(name, ()))
        self._state.generations[name] = generation
        self._state.skipped.discard(name)
        self._state.region(name, "running")
        self._show()
        order = RegionInput(
            rollout_id=self._order.rollout_id,
            release=self._plan.release,
            region=region,
            wave=wave,
            generation=generation,
            unfit=self._state.unfit.get(name, {}) | (canary.failed if canary else {}),
            paused=self._controls.paused,
            done=done,
            only_canary=region.promotion is not None and not done,
            heeds_freeze=self._plan.heeds_freeze and name not in self._controls.let_start,
            edition=EDITION,
        )
        handle = await workflow.start_child_workflow(
            RegionWorkflow.run,
            order,
            id=f"rollout:{self._plan.service}:{self._order.rollout_id}:{name}",
            static_summary=f"{name}: {self._plan.service} {self._plan.release.version}",
            search_attributes=searched_by(self._plan.service, self._plan.release.version, name),
        )
        self._running[name] = handle
        try:
            # Regions that began before what they had missed was told them go on as they did.
            if any(self._missed(order)) and workflow.patched("tell-what-was-missed"):
                await self._controls.through(asyncio.create_task(self._tell_missed(order)))
            await self._controls.until(handle.done)
        except Interrupted:
            await self._stop(name)
            raise
        return await self._ended(name)

    def _missed(self, order: RegionInput) -> tuple[bool, bool, bool]:
        """Whether the pause, the settings and the override of a region have changed since it was ordered."""
        name = order.region.name
        return (
            order.paused != self._controls.paused,
            _settings(order.region) != _settings(self._plan.regions[name]),
            order.heeds_freeze and name in self._controls.let_start,
        )

    async def _tell_missed(self, order: RegionInput) -> None:
        """Let a region know of the verbs that came while it was being started, when it could be told of none."""
        name = order.region.name
        paused, settings, let_go = self._missed(order)
        if paused:
            await self._signal(name, RegionWorkflow.hold if self._controls.paused else RegionWorkflow.release)
        if settings:
            await self._signal(name, RegionWorkflow.adjust, _settings(self._plan.regions[name]))
        if let_go:
            await self._signal(name, RegionWorkflow.let_go)

    async def stop_regions(self) -> None:
        """Stop every region that still runs, and remember what it touched."""
        await asyncio.gather(*(self._stop(name) for name in tuple(self._running)))

    async def _stop(self, name: str) -> None:
        await self._signal(name, RegionWorkflow.stop)
        if name in self._running:
            await self._ended(name)

    async def _ended(self, name: str) -> RegionReport:
        """A region's report; of one that broke, the report that all its targets may be touched."""
        handle = self._running[name]
        try:
            report = await handle
        except FailureError as error:
            targets = (target.name for target in self._plan.regions[name].targets)
            report = RegionReport.broken(name, TargetOutcome.FAILED, targets, describe(error))
        self._running.pop(name, None)
        self._state.region_ended(report)
        self._show()
        return report

    async def adjust(self, before: Plan) -> None:
        """Let running regions know what has changed about them."""
        for name in tuple(self._running):
            now = self._plan.regions[name]
            if now != before.regions[name]:
                await self._signal(name, RegionWorkflow.adjust, _settings(now))

    async def pass_on(self, verb: Verb, request: VerbRequest) -> None:
        """Let running regions know of a pause or its end, and of an override those that it is about."""
        if verb in _TOLD:
            meant = [name for name in self._running if verb is not Verb.OVERRIDE or name in request.regions]
            await asyncio.gather(*(self._signal(name, _TOLD[verb]) for name in meant))

    async def _signal(self, name: str, signal: Any, *payload: Any) -> None:
        if not workflow.patched("signals-in-order"):
            await self._deliver(name, signal, *payload)
            return
        # Two that are under way at once arrive in any order, and a region that hears of a pause last waits for ever.
        async with self._speaking.setdefault(name, asyncio.Lock()):
            if name in self._running:
                await self._deliver(name, signal, *payload)

    async def _deliver(self, name: str, signal: Any, *payload: Any) -> None:
        try:
            await self._running[name].signal(signal, *payload)
        except FailureError as error:
            if is_cancelled_exception(error):
                raise
            # The region ended by itself in the meantime: its report says how.
            workflow.logger.info("%s took no signal: %s", name, error)


def _settings(region: RegionPlan) -> RegionSettings:
    return RegionSettings(max_parallel=region.max_parallel, tolerance=region.tolerance)
