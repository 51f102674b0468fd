"""`RegionWorkflow`: one region's forward part: stage everywhere, then batch by batch activate and check."""

import asyncio
from collections.abc import Awaitable, Coroutine, Sequence
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.exceptions import ActivityError

from fraisier.workflows.activities.targets import TargetActivities
from fraisier.workflows.arithmetic import region_failed
from fraisier.workflows.batch_freeze import BatchFreeze
from fraisier.workflows.contracts import (
    RegionCarry,
    RegionInput,
    RegionOutcome,
    RegionReport,
    RegionSettings,
    TargetOutcome,
    read_signal,
)
from fraisier.workflows.details import region_details
from fraisier.workflows.failures import describe
from fraisier.workflows.hooks import RegionHooks
from fraisier.workflows.placement import run_placed
from fraisier.workflows.plans import TargetPlan
from fraisier.workflows.policy import Options
from fraisier.workflows.region_events import tell_of_region
from fraisier.workflows.steps import PruneInput
from fraisier.workflows.targets import TargetBoard
from fraisier.workflows.window import in_window, long_enough

T = TypeVar("T")

BESIDE = "beside-the-event"
"""Histories from before it tell that a region starts before they stage, and that it is done after they prune.
Regions of edition 1 need not ask."""


@workflow.defn
class RegionWorkflow:
    """Rolls a release out in one region and reports; what happens after a failure is the rollout's decision.

    Signals: ``hold`` and ``release`` keep the next batch from starting and let it go; ``let_go`` lets all batches go
    whatever is frozen; ``stop`` ends the region as soon as its running steps have ended. Query ``report`` gives the
    targets' state at any time.
    """

    @workflow.init
    def __init__(self, order: RegionInput) -> None:
        """Set the board up before any signal can arrive."""
        self._order = order
        self._held = order.paused
        self._activated = order.carried is not None and order.carried.activated
        self._doing = "starting"
        self._board = TargetBoard(
            rollout_id=order.rollout_id,
            release=order.release,
            region=order.region,
            generation=order.generation,
            edition=order.edition,
            carried=order.carried.board if order.carried else None,
        )
        self._hooks = RegionHooks(order.region.hooks, self._board)
        self._freeze = BatchFreeze(order, say=self._say)
        self._settings = RegionSettings(max_parallel=order.region.max_parallel, tolerance=order.region.tolerance)
        for target, reason in {} if order.carried else order.unfit.items():
            self._board.fail(target, reason)
        for target in () if order.carried else order.done:
            self._board.note(target, outcome=TargetOutcome.SUCCEEDED)

    @workflow.run
    async def run(self, order: RegionInput) -> RegionReport:
        """The region's story."""
        if await (self._open() if order.carried is None else self._stage()):
            self._renew()
        await self._deploy_all(order.carried.batch if order.carried else ())
        if self._outcome() is RegionOutcome.SUCCEEDED:
            await self._hooks.run("region", "after", self._board.standing(TargetOutcome.SUCCEEDED))
        outcome = self._outcome()
        if outcome is RegionOutcome.SUCCEEDED and self._goes_beside():
            await self._beside(self._close(outcome), self._prune())
            return self._report(outcome)
        if outcome is RegionOutcome.SUCCEEDED:
            await self._prune()
        elif outcome is RegionOutcome.FAILED:
            await self._hooks.run_and_log("region", "on_failure", self._board.standing(TargetOutcome.FAILED))
        await self._close(outcome)
        return self._report(outcome)

    @workflow.signal
    def hold(self, *_: Any) -> None:
        """Start no further batch until released."""
        self._held = True

    @workflow.signal
    def release(self, *_: Any) -> None:
        """Go on after a hold."""
        self._held = False

    @workflow.signal
    def stop(self, *_: Any) -> None:
        """End as soon as the running steps have ended."""
        self._board.stop()

    @workflow.signal
    def let_go(self, *_: Any) -> None:
        """Go on whatever is frozen."""
        self._freeze.heeded = False

    @workflow.signal
    def adjust(self, payload: Any = None, *_: Any) -> None:
        """Go on with other settings, from the next batch on."""
        self._settings = read_signal(RegionSettings, payload) or self._settings

    @workflow.query
    def report(self) -> RegionReport:
        """How the targets stand now."""
        return self._report(self._outcome())

    async def _open(self) -> bool:
        """Tell that the region starts, and stage beside that, unless hooks come first; returns what staging does."""
        hooks = not self._order.done and self._hooks.has("region", "before")
        if not self._over() and not hooks and self._goes_beside():
            return await self._beside(self._announce("deployment.started"), self._stage())
        await self._announce("deployment.started")
        waiting = self._board.standing(TargetOutcome.PENDING)
        entered = not self._over() and (not hooks or await self._hooks.run("region", "before", waiting))
        return entered and await self._stage()

    def _goes_beside(self) -> bool:
        return self._order.edition >= 1 or workflow.patched(BESIDE)

    async def _beside(self, telling: Awaitable[None], doing: Coroutine[Any, Any, T]) -> T:
        """Do something while something is told; where that cannot be, no step goes on."""
        task = asyncio.create_task(doing)
        try:
            await telling
        except BaseException:
            self._board.stop()
            raise
        finally:
            done = await task
        return done

    async def _stage(self) -> bool:
        """Stage everywhere; returns whether a run with a history of its own must go on with it."""
        waiting = self._board.standing(TargetOutcome.PENDING)
        self._say(f"staging on {len(waiting)} targets; nothing changes yet")

        async def one(target: TargetPlan) -> None:
            done = await self._board.step(TargetActivities.stage, self._board.order("stage", target))
            if done is not None:
                self._board.note(target.name, outcome=TargetOutcome.STAGED)

        return bool(await in_window(waiting, one))

    def _renew(self, batch: Sequence[TargetPlan] = ()) -> None:
        """Go on in a run with a history of its own; nothing is under way. A region that is over ends in this one.

        Args:
            batch: the batch that this run has begun and not ended.
        """
        if not self._over():
            at = RegionCarry(
                board=self._board.carry(), batch=tuple(one.name for one in batch), activated=self._activated
            )
            region = self._order.region.model_copy(update=self._settings.model_dump())
            now = {"carried": at, "paused": self._held, "region": region, "heeds_freeze": self._freeze.heeded}
            workflow.continue_as_new(self._order.model_copy(update=now))

    async def _deploy_all(self, begun: Sequence[str]) -> None:
        """Batch by batch, first to the end of one that an earlier run has begun."""
        batch: Sequence[TargetPlan] = [one for one in self._order.region.targets if one.name in begun]
        while batch := batch or self._next_batch():
            await self._until_let_go()
            if self._over():
                break
            if await self._deploy(batch, entered=bool(begun)):
                self._renew(batch)
            elif long_enough():
                self._renew()
            batch, begun = (), ()

    def _next_batch(self) -> Sequence[TargetPlan]:
        """The targets that go next: a canary first, unless an earlier run has brought some to the release."""
        staged = self._board.standing(TargetOutcome.STAGED)
        if self._activated or self._order.done:
            return () if self._order.only_canary else staged[: self._settings.max_parallel]
        self._activated = True
        return staged[: self._order.region.canary or self._settings.max_parallel]

    async def _deploy(self, batch: Sequence[TargetPlan], *, entered: bool = False) -> list[TargetPlan]:
        """Exchange a batch; returns the targets that a run with a history of its own must go on with.

        Args:
            batch: the batch.
            entered: whether an earlier run has begun it.
        """
        self._say(f"activating {self._board.names(batch)}")

        async def one(target: TargetPlan) -> None:
            if self._board.stopping:
                return
            if await self._hooks.run("target", "before", [target]):
                self._board.note(target.name, outcome=TargetOutcome.ACTIVATING, touched=True)
                if await self._exchange(target) and await self._hooks.run("target", "after", [target]):
                    self._board.note(target.name, outcome=TargetOutcome.SUCCEEDED)
            await self._hooks.run_and_log(
                "target", "on_failure", self._board.standing(TargetOutcome.FAILED, among=[target])
            )

        if entered or await self._hooks.run("batch", "before", batch):
            left = await in_window(self._board.standing(TargetOutcome.STAGED, among=batch), one)
            if left and not self._over():
                return left
            await self._hooks.run("batch", "after", self._board.standing(TargetOutcome.SUCCEEDED, among=batch))
        await self._hooks.run_and_log("batch", "on_failure", self._board.standing(TargetOutcome.FAILED, among=batch))
        self._say(f"{self._board.counted(TargetOutcome.SUCCEEDED)} of {len(self._order.region.targets)} targets done")
        return []

    async def _exchange(self, target: TargetPlan) -> bool:
        """Out of traffic, activated, healthy, back into traffic; what is not healthy stays out."""
        board, behind_proxies = self._board, self._order.region.traffic is not None
        if behind_proxies and await board.step(TargetActivities.drain, board.order("drain", target)) is None:
            return False
        if await board.step(TargetActivities.activate, board.order("activate", target)) is None:
            return False
        health = await board.step(TargetActivities.check_health, board.order("health", target, health=True))
        if health is None:
            return False
        if not health.healthy:
            board.fail(target.name, f"not healthy: {health.detail}")
            return False
        if not behind_proxies:
            return True
        return await board.step(TargetActivities.undrain, board.order("undrain", target)) is not None

    async def _prune(self) -> None:
        steps = tuple(self._board.order("prune", t) for t in self._board.standing(TargetOutcome.SUCCEEDED))

        async def once(options: Options, offers: int) -> None:
            order = PruneInput(steps=steps).offered(offers)
            await workflow.execute_activity_method(
                TargetActivities.prune, order, summary="remove old releases", **options
            )

        try:
            await run_placed(self._order.region, once)
        except ActivityError as error:
            workflow.logger.warning("%s: old releases stay for now: %s", self._order.region.name, describe(error))

    async def _until_let_go(self) -> None:
        """Wait until the next batch is neither held nor frozen."""
        while True:
            await self._until_released()
            await self._freeze.wait(lambda: self._board.stopping)
            again = self._held and self._freeze.heeded and not self._board.stopping
            # Regions that were held in a freeze before the next freeze was looked for go on as they did.
            if not (again and workflow.patched("freeze-in-a-hold")):
                break
        await self._until_released()

    async def _until_released(self) -> None:
        if self._held and not self._board.stopping:
            self._say("paused: waiting for resume")
        await workflow.wait_condition(lambda: not self._held or self._board.stopping)

    def _over(self) -> bool:
        return self._board.stopping or region_failed(
            self._board.counted(TargetOutcome.FAILED), self._settings.tolerance
        )

    def _outcome(self) -> RegionOutcome:
        if region_failed(self._board.counted(TargetOutcome.FAILED), self._settings.tolerance):
            return RegionOutcome.FAILED
        done = self._board.counted(TargetOutcome.SUCCEEDED, TargetOutcome.FAILED)
        if done == len(self._order.region.targets):
            return RegionOutcome.SUCCEEDED
        waits = self._order.only_canary and self._activated and not self._board.stopping
        return RegionOutcome.CANARY if waits else RegionOutcome.STOPPED

    async def _close(self, outcome: RegionOutcome) -> None:
        self._say(outcome.value)
        if outcome is RegionOutcome.SUCCEEDED:
            await self._announce("deployment.completed")
        elif outcome is RegionOutcome.FAILED:
            await self._announce("deployment.failed", detail=self._report(outcome).error)

    async def _announce(self, event_type: str, **data: str) -> None:
        await tell_of_region(self._order, event_type, "region", wave=self._order.wave, **data)

    def _report(self, outcome: RegionOutcome) -> RegionReport:
        return RegionReport(region=self._order.region.name, outcome=outcome, targets=self._board.reports())

    def _say(self, doing: str) -> None:
        self._doing = doing
        workflow.set_current_details(region_details(self._order.region.name, doing, self._board.reports()))
