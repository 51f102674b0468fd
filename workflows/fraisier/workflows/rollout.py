"""`RolloutWorkflow`: the whole rollout, wave by wave, with the way back always open."""

import asyncio
from collections.abc import Callable, Iterable

from temporalio import workflow
from temporalio.exceptions import ActivityError, FailureError, is_cancelled_exception

from fraisier.workflows.arithmetic import region_failed
from fraisier.workflows.carrying import Carried, Position
from fraisier.workflows.contracts import (
    OnFailure,
    Preflight,
    RegionOutcome,
    RolloutInput,
    RolloutPhase,
    RolloutResult,
    WavePlan,
)
from fraisier.workflows.controls import Interrupted
from fraisier.workflows.failures import describe, was_refused, with_left
from fraisier.workflows.migrations import MigrationFailed, Migrations
from fraisier.workflows.policy import UNREACHABLE_AFTER_S
from fraisier.workflows.rollout_desk import RolloutDesk
from fraisier.workflows.steps import Verdict
from fraisier.workflows.verbs import Verb, VerbRequest
from fraisier.workflows.window import long_enough, never


class RolloutFailed(Exception):
    """The rollout cannot go on; `back` names the regions that shall be taken back first."""

    def __init__(self, reason: str, back: Iterable[str] = ()) -> None:
        super().__init__(reason)
        self.back = tuple(back)


@workflow.defn
class RolloutWorkflow(RolloutDesk):
    """One rollout. Its ID is ``rollout:<service>``, so at most one is open for a service. The desk takes its verbs."""

    @workflow.init
    def __init__(self, order: RolloutInput) -> None:
        """Set everything up before any signal can arrive."""
        super().__init__(order)
        self._migrations = Migrations(order, self._state, self._controls, self._evidence, on_change=self._show)
        for name, part in self._parts().items():
            part.recall((order.carried or {}).get(name, {}))

    @workflow.run
    async def run(self, order: RolloutInput) -> RolloutResult:
        """The story: forward, and back when it fails or when somebody asks."""
        try:
            await self._begin(order)
            await self._controls.hold()
            await self._forward()
            self._end(RolloutPhase.SUCCEEDED)
        except RolloutFailed as failure:
            await self._controls.to_the_end(self._fail(failure))
        except Interrupted:
            await self._controls.to_the_end(self._end_as_asked())
        except (FailureError, asyncio.CancelledError) as error:
            if is_cancelled_exception(error):
                self._controls.ending = self._controls.ending or Verb.CANCEL
                await self._controls.to_the_end(self._end_as_asked())
            elif was_refused(error):
                reason = f"an event could not be stored: {describe(error)}"
                await self._controls.to_the_end(self._fail(RolloutFailed(reason)))
            else:
                raise
        return await self._controls.to_the_end(self._close())

    async def _begin(self, order: RolloutInput) -> None:
        if order.carried is not None:
            self._show()
            self._requests.start()
            if self._at.failure is not None:
                raise RolloutFailed(self._at.failure, self._at.back)
            return
        await self._evidence.announce("deployment.triggered", data={"actor": order.actor})
        self._requests.start()
        if order.undo is not None:
            await self._obey(Verb.ROLLBACK, VerbRequest(by=order.actor, reason=order.reason))

    # -- forward -------------------------------------------------------------------------------------------

    async def _forward(self) -> None:
        if self._at.wave == 0:
            await self._before_the_first_wave()
        for number in range(max(self._at.wave, 1), len(self._plan.waves) + 1):
            await self._roll_out(number)
            self._state.wave(number, "done")
        await self._contract()

    async def _before_the_first_wave(self) -> None:
        if self._plan.preflight is Preflight.ALL:
            await self._preflight()
        await self._expand()

    async def _roll_out(self, number: int) -> None:
        self._state.current = number
        at, self._at = self._at, Position(wave=number)
        pending = self._plan.wave(number).regions if at.pending is None else at.pending
        if pending and self._plan.preflight is Preflight.WAVE:
            await self._look(pending, Position(wave=number))
        while pending or at.requeue:
            await self._controls.hold()
            if pending:
                await self._run_wave(number, pending, at.generation)
            at = Position(wave=number)
            if self._plan.requeue and self._plan.is_last(self._plan.wave(number)):
                await self._requeue(number)
            await self._soak(number)
            pending = await self._pass_gates(self._plan.wave(number))

    async def _preflight(self) -> None:
        targets = sum(len(region.targets) for region in self._plan.regions.values())
        patience = f"one that does not answer is tried for {UNREACHABLE_AFTER_S:.0f} s"
        self._go(RolloutPhase.PREFLIGHT, f"the preflight of {targets} targets; {patience}")
        await self._look(self._plan.regions, Position())
        for wave in self._plan.waves:
            for name in wave.regions:
                self._refuse_unfit(wave, name)

    async def _look(self, names: Iterable[str], at: Position) -> None:
        await self._crew.preflight(self._state.not_looked_at(names))
        if self._crew.put_off:
            await self._renew(at)

    def _refuse_unfit(self, wave: WavePlan, name: str) -> None:
        """End the rollout over a region that cannot be rolled out, unless the others go on without it."""
        unfit = self._state.unfit[name]
        if not region_failed(len(unfit), self._plan.regions[name].tolerance):
            return
        if self._plan.when_fails(wave, name) is not OnFailure.CONTINUE:
            self._state.region(name, "failed", next(iter(unfit.values())))
            reasons = "; ".join(dict.fromkeys(unfit.values()))
            raise RolloutFailed(f"preflight of {name}, nothing was changed: {reasons}")

    async def _expand(self) -> None:
        if not self._plan.migrations:
            return
        problems = await self._migrations.preflight()
        if problems:
            raise RolloutFailed("preflight of the databases, nothing was changed: " + "; ".join(problems))
        self._go(RolloutPhase.MIGRATING, "the databases to be expanded")
        try:
            await self._migrations.run("expand")
        except MigrationFailed as error:
            raise RolloutFailed(f"{error}; no target was changed") from error

    async def _contract(self) -> None:
        """Contract the databases; what fails waits for a decision, since the release serves everywhere by now."""
        why = self._migrations.why_not_contract()
        decision = await self._decide_on_contract(why) if why else Verb.RETRY
        while self._plan.migrations and decision is Verb.RETRY:
            self._go(RolloutPhase.MIGRATING, "the databases to be contracted")
            try:
                await self._migrations.run("contract")
            except MigrationFailed as error:
                decision = await self._decide_on_contract(str(error))
            else:
                decision = Verb.SKIP

    async def _decide_on_contract(self, why: str) -> Verb:
        last = self._plan.waves[-1]
        decision = await self._after_failure(last, f"{why}. skip ends with the schema as it is", {})
        self._state.wave(last.number, "done")
        return decision

    async def _run_wave(self, number: int, pending: tuple[str, ...], begun: int | None) -> None:
        """Roll regions of a wave out; `begun` is its generation when an earlier run has begun it."""
        while pending:
            if long_enough():
                await self._renew(Position(wave=number, pending=pending, generation=begun))
            wave = self._plan.wave(number)
            self._state.wave(number, "running")
            self._go(RolloutPhase.ROLLING_OUT)
            generation = begun or await self._start_wave(wave)
            begun = None
            reports = await self._crew.run_regions(number, pending, generation)
            failed = {report.region: report for report in reports if report.outcome is not RegionOutcome.SUCCEEDED}
            fails = {name: self._plan.when_fails(wave, name) for name in failed}
            if all(one is OnFailure.CONTINUE for one in fails.values()):
                self._state.skipped.update(failed)
                pending = tuple(self._crew.put_off)
                if pending:
                    await self._renew(Position(wave=number, pending=pending, generation=generation))
                return
            reason = "; ".join(f"{name} failed: {report.error}" for name, report in failed.items())
            decision = await self._after_failure(wave, reason, fails)
            started = {report.region for report in reports}
            later = tuple(name for name in pending if name not in started and name in self._plan.wave(number).regions)
            if decision is Verb.SKIP:
                self._state.skipped.update(failed)
            if decision is Verb.RETRY:
                await self._start_over(failed)
            pending = (*failed, *later) if decision is Verb.RETRY else later

    async def _start_wave(self, wave: WavePlan) -> int:
        generation = await self._evidence.mint(f"wave {wave.number}")
        await self._evidence.start_wave(wave, generation)
        return generation

    async def _requeue(self, number: int) -> None:
        """Try once more what failed or was skipped on the way to the last wave; what fails again stays behind."""
        for wave in self._plan.waves:
            names = tuple(name for name in wave.regions if self._state.left_behind(name))
            if not names:
                continue
            if long_enough():
                await self._renew(Position(wave=number, pending=(), requeue=True))
            self._state.wave(wave.number, "running")
            self._go(RolloutPhase.ROLLING_OUT)
            await self._look_again(names)
            generation = await self._evidence.mint(f"wave {wave.number}, once more")
            await self._evidence.start_wave(wave.model_copy(update={"regions": names}), generation)
            reports = await self._crew.run_regions(wave.number, names, generation, to_the_last=True)
            failed = [one.region for one in reports if one.outcome is not RegionOutcome.SUCCEEDED]
            self._state.skipped.update(failed)
            self._state.requeued.update(one.region for one in reports)
            back = [name for name in failed if self._plan.when_fails(wave, name) is OnFailure.ROLLBACK_REGION]
            await self._controls.to_the_end(self._take_back(back, "it failed again", shut=never))
            self._state.wave(wave.number, "done")
            if self._crew.put_off:
                await self._renew(Position(wave=number, pending=(), requeue=True))

    async def _start_over(self, failed: Iterable[str]) -> None:
        """Make regions ready to be tried again: what failed of them, or all of them where that was asked for."""
        if self._controls.decision.whole:
            for name in failed:
                self._state.done.pop(name, None)
        await self._look_again(failed)

    async def _look_again(self, failed: Iterable[str]) -> None:
        """Give targets that preflight refused another chance."""
        unfit = [name for name in failed if self._state.unfit.get(name)]
        if unfit and workflow.patched("preflight-again"):
            await self._crew.preflight(unfit, shut=never)

    async def _soak(self, number: int) -> None:
        wave = self._plan.wave(number)
        if wave.soak:
            self._state.wave(number, "soaking")
            which = "the last" if self._plan.is_last(wave) else "this"
            self._go(RolloutPhase.SOAKING, f"the soak after {which} wave; rollback is armed")
            await self._controls.wait(lambda: self._plan.wave(number).soak, f"soak after wave {number}")

    async def _pass_gates(self, wave: WavePlan) -> tuple[str, ...]:
        """Ask every gate between this wave and the next; returns the regions that a retry shall run again."""
        if self._plan.is_last(wave) or self._nothing_to_ask_about(wave):
            return ()
        self._state.wave(wave.number, "gate")
        fails = self._plan.when_fails(wave)
        for gate in self._plan.gates:
            while True:
                self._state.gate(wave.number, gate)
                self._go(RolloutPhase.GATE, self._gatekeeper.open(wave, gate))
                report = await self._gatekeeper.ask(wave, gate)
                self._state.gate(wave.number, gate, report)
                failed = report.verdict is Verdict.FAIL
                passed = report.verdict is Verdict.PASS or gate.dry_run
                if passed or (failed and fails is OnFailure.CONTINUE):
                    break
                reason = f"gate {gate.name} after wave {wave.number}: {report.verdict.value}: {report.detail}"
                decision = await self._after_failure(wave, reason, dict.fromkeys(wave.regions, fails) if failed else {})
                if decision is Verb.SKIP:
                    break
                if failed and fails is OnFailure.ROLLBACK_REGION and not self._controls.one_way:
                    return wave.regions
        return ()

    def _nothing_to_ask_about(self, wave: WavePlan) -> bool:
        """Whether the rollout goes on without every region of a wave."""
        return self._state.skipped.issuperset(wave.regions) and workflow.patched("no-gate-without-a-region")

    async def _after_failure(self, wave: WavePlan, reason: str, failed: dict[str, OnFailure]) -> Verb:
        """Do what each failed region is to do, then wait for a decision; an inconclusive gate (none) only waits.

        Once there is no clean way back, nothing goes back by itself.
        """
        self._state.wave(wave.number, "failed")
        failed = {} if self._controls.one_way else failed
        if OnFailure.ROLLBACK_ALL in failed.values():
            raise RolloutFailed(reason, back=self._state.touched)
        back = [name for name, fails in failed.items() if fails is OnFailure.ROLLBACK_REGION]
        if back:
            self._state.enter(RolloutPhase.ROLLING_BACK, reason=reason)
            reason = with_left(reason, await self._controls.to_the_end(self._take_back(back, reason, shut=never)))
        self._go(
            RolloutPhase.DECISION,
            f"a decision: {reason}. Send retry, skip, rollback or cancel",
            reason=reason,
        )
        decision = await self._controls.decide(self._plan.decision_timeout)
        if decision is None:
            raise RolloutFailed(reason)
        self._state.enter(RolloutPhase.ROLLING_OUT, reason="")
        return decision

    # -- the end -------------------------------------------------------------------------------------------

    async def _fail(self, failure: RolloutFailed) -> None:
        reason = str(failure)
        if failure.back:
            self._at = self._at.model_copy(update={"failure": reason, "back": failure.back})
            self._state.enter(RolloutPhase.ROLLING_BACK, reason=reason)
            reason = with_left(reason, await self._take_back(failure.back, reason))
        if self._state.generations:
            # What fails before the first region leaves what was expanded: it fits the old release too.
            reason = with_left(reason, await self._take_databases_back())
        if self._controls.ending is Verb.ROLLBACK and any(self._state.touched.values()):
            # Asked while failed regions went back by themselves: the others shall follow.
            await self._end_as_asked()
        else:
            self._end(RolloutPhase.FAILED, reason)

    async def _end_as_asked(self) -> None:
        request = self._controls.request
        asked = f"asked by {request.by or 'a signal'}" + (f": {request.reason}" if request.reason else "")
        await self._crew.stop_regions()
        if self._controls.ending is Verb.CANCEL:
            self._end(RolloutPhase.CANCELLED, f"cancel {asked}; everything stays as it is: {self._state.where()}")
            return
        self._state.enter(RolloutPhase.ROLLING_BACK, reason=f"rollback {asked}")
        self._show()
        left = await self._take_back(self._state.touched, f"rollback {asked}")
        left += await self._take_databases_back()
        phase = RolloutPhase.FAILED if left else RolloutPhase.ROLLED_BACK
        self._end(phase, with_left(f"rollback {asked}", left))

    async def _close(self) -> RolloutResult:
        self._controls.close()
        await self._requests.stop()
        status = self.status()
        types = {RolloutPhase.SUCCEEDED: "completed", RolloutPhase.ROLLED_BACK: "rolled_back"}
        kind = types.get(status.phase, "cancelled" if status.phase is RolloutPhase.CANCELLED else "failed")
        try:
            await self._evidence.announce(f"deployment.{kind}", data={"reason": status.reason})
        except ActivityError as error:
            # What the rollout did stands, whether or not the streams tell of its end.
            self._go(status.phase, reason=f"{status.reason}; its end could not be told: {describe(error)}".lstrip("; "))
            status = self.status()
        await workflow.wait_condition(workflow.all_handlers_finished)
        return RolloutResult(
            rollout_id=self._order.rollout_id,
            phase=status.phase,
            reason=status.reason,
            regions=self._state.ended_regions(),
            undo=self._state.undo(),
            one_way=self._controls.one_way,
        )

    async def _take_back(
        self, names: Iterable[str], reason: str, *, shut: Callable[[], bool] = long_enough
    ) -> list[str]:
        """Take touched regions back; returns what could not be, for people, of earlier runs of the workflow too."""
        left = dict(self._at.left)
        touched = [name for name in names if self._state.touched.get(name) and name not in left]
        if touched:
            generation = await self._evidence.mint("rollback")
            left |= await self._crew.take_back(touched, generation, reason, shut=shut)
            if self._crew.put_off:
                await self._renew(self._at.model_copy(update={"left": left}))
        return [f"{name}: {error}" for name, error in left.items()]

    async def _take_databases_back(self) -> list[str]:
        """Undo what was expanded, unless some target still runs the release that needs it."""
        return [] if any(self._state.touched.values()) else await self._migrations.take_back()

    # -- the next run --------------------------------------------------------------------------------------

    async def _renew(self, at: Position) -> None:
        """Go on at a position in a run with a history of its own; nothing is under way.

        Raises:
            Interrupted: it was asked to end while a verb was still being obeyed, so it goes back in this run.
        """
        back = self._state.phase is RolloutPhase.ROLLING_BACK
        await self._requests.stop()
        await self._controls.obeyed(heed=not back)
        self._at = at
        carried = {name: part.carry() for name, part in self._parts().items()}
        workflow.continue_as_new(self._order.model_copy(update={"plan": self._plan, "carried": carried}))

    def _parts(self) -> dict[str, Carried]:
        """Whatever the next run must know, under the name by which it is handed over."""
        return {
            "desk": self,
            "state": self._state,
            "controls": self._controls,
            "evidence": self._evidence,
            "gatekeeper": self._gatekeeper,
            "requests": self._requests,
        }
