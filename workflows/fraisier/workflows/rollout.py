"""`RolloutWorkflow`: the whole rollout, wave by wave, with the way back always open."""

import asyncio
from collections.abc import Iterable

from temporalio import workflow
from temporalio.exceptions import FailureError, is_cancelled_exception

from fraisier.workflows.arithmetic import region_failed
from fraisier.workflows.carrying import Position
from fraisier.workflows.contracts import RegionOutcome, RolloutInput, RolloutPhase, RolloutResult
from fraisier.workflows.controls import Interrupted
from fraisier.workflows.evidence import FIRST, note_of
from fraisier.workflows.failures import describe, was_refused
from fraisier.workflows.gate_steps import Verdict
from fraisier.workflows.migrations import MigrationFailed
from fraisier.workflows.plans import OnFailure, Preflight, WavePlan
from fraisier.workflows.policy import UNREACHABLE_AFTER_S
from fraisier.workflows.verbs import Verb, VerbRequest
from fraisier.workflows.way_back import RolloutFailed, WayBack
from fraisier.workflows.window import long_enough, never


@workflow.defn
class RolloutWorkflow(WayBack):
    """One rollout. Its ID is ``rollout:<service>``, so at most one is open for a service. The desk takes its verbs."""

    @workflow.init
    def __init__(self, order: RolloutInput) -> None:
        """Set everything up before any signal can arrive."""
        super().__init__(order)

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
                await self._run_wave(number, pending, at.generation or self._evidence.begun(number))
            at = Position(wave=number)
            if self._plan.requeue and self._plan.is_last(self._plan.wave(number)):
                await self._requeue(number)
            await self._soak(number)
            pending = await self._pass_gates(self._plan.wave(number))

    async def _preflight(self) -> None:
        targets = sum(len(region.targets) for region in self._plan.regions.values())
        patience = f"one that does not answer is tried for {UNREACHABLE_AFTER_S:.0f} s"
        self._go(RolloutPhase.PREFLIGHT, f"the preflight of {targets} targets; {patience}")
        if workflow.patched(FIRST):
            self._evidence.mint_early(note_of(1))
        await self._look(self._plan.regions, Position())
        refused = [why for wave in self._plan.waves for name in wave.regions for why in self._unfit(wave, name)]
        if refused:
            raise RolloutFailed("; ".join(refused))

    async def _look(self, names: Iterable[str], at: Position) -> None:
        await self._crew.preflight(self._state.not_looked_at(names))
        if self._crew.put_off:
            await self._renew(at)

    def _unfit(self, wave: WavePlan, name: str) -> list[str]:
        """Why a region cannot be rolled out, and the others shall not go on without it; empty when it can."""
        unfit = self._state.unfit[name]
        failed = region_failed(len(unfit), self._plan.regions[name].tolerance)
        if not failed or self._plan.when_fails(wave, name) is OnFailure.CONTINUE:
            return []
        self._state.region(name, "failed", next(iter(unfit.values())))
        return [f"preflight of {name}, nothing was changed: {'; '.join(dict.fromkeys(unfit.values()))}"]

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
            brief = "; ".join(f"{name} failed: {report.brief}" for name, report in failed.items())
            decision = await self._after_failure(wave, reason, fails, brief)
            started = {report.region for report in reports}
            later = tuple(name for name in pending if name not in started and name in self._plan.wave(number).regions)
            if decision is Verb.SKIP:
                self._state.skipped.update(failed)
            if decision is Verb.RETRY:
                await self._start_over(failed)
            pending = (*failed, *later) if decision is Verb.RETRY else later

    async def _start_wave(self, wave: WavePlan) -> int:
        generation = await self._evidence.mint(note_of(wave.number))
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
            await self._controls.wait(lambda: self._plan.wave(number).soak, f"soak after wave {number}", self._tell_end)

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
