"""`RolloutWorkflow`: the whole rollout, wave by wave, with the way back always open."""

import asyncio
from collections.abc import Iterable
from typing import Any

from temporalio import workflow
from temporalio.exceptions import ActivityError, FailureError, is_cancelled_exception

from fraisier.workflows.arithmetic import region_failed
from fraisier.workflows.contracts import (
    OnFailure,
    RegionOutcome,
    RolloutInput,
    RolloutPhase,
    RolloutResult,
    WavePlan,
)
from fraisier.workflows.controls import Controls, Interrupted
from fraisier.workflows.crew import Crew
from fraisier.workflows.details import rollout_details
from fraisier.workflows.evidence import Evidence
from fraisier.workflows.failures import describe, was_refused, with_left
from fraisier.workflows.rollout_state import RolloutState
from fraisier.workflows.search import tell_state
from fraisier.workflows.status import RolloutStatus
from fraisier.workflows.steps import Verdict
from fraisier.workflows.verbs import Verb, VerbRequest, read_request


class RolloutFailed(Exception):
    """The rollout cannot go on; `back` names the regions that shall be taken back first."""

    def __init__(self, reason: str, back: Iterable[str] = ()) -> None:
        super().__init__(reason)
        self.back = tuple(back)


@workflow.defn
class RolloutWorkflow:
    """One rollout. Its ID is ``rollout:<service>``, so at most one is open for a service.

    Signals, each with an empty payload or ``{"by", "reason", "id"}``: ``pause``, ``resume``, ``rollback``, ``retry``,
    ``skip``, ``cancel``. The update ``verb`` does the same and refuses at once what makes no sense now. The query
    ``status`` answers a `RolloutStatus`.
    """

    @workflow.init
    def __init__(self, order: RolloutInput) -> None:
        """Set everything up before any signal can arrive."""
        self._order = order
        self._plan = order.plan
        self._state = RolloutState(order, workflow.now())
        self._controls = Controls()
        self._evidence = Evidence(order, self._state, self._controls)
        self._crew = Crew(order, self._state, self._controls, on_change=self._show)
        self._verbs = 0

    @workflow.run
    async def run(self, order: RolloutInput) -> RolloutResult:
        """The story: forward, and back when it fails or when somebody asks."""
        try:
            await self._evidence.announce("deployment.triggered", data={"actor": order.actor})
            if order.undo is not None:
                await self._obey(Verb.ROLLBACK, VerbRequest(by=order.actor, reason=order.reason))
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

    # -- verbs ---------------------------------------------------------------------------------------------

    @workflow.signal
    async def pause(self, payload: Any = None) -> None:
        """Start nothing new: no batch, no region, no gate; running steps end as they are."""
        await self._obey(Verb.PAUSE, read_request(payload))

    @workflow.signal
    async def resume(self, payload: Any = None) -> None:
        """Go on after a pause."""
        await self._obey(Verb.RESUME, read_request(payload))

    @workflow.signal
    async def rollback(self, payload: Any = None) -> None:
        """Take every touched region back, last wave first."""
        await self._obey(Verb.ROLLBACK, read_request(payload))

    @workflow.signal
    async def retry(self, payload: Any = None) -> None:
        """Try what failed once more."""
        await self._obey(Verb.RETRY, read_request(payload))

    @workflow.signal
    async def skip(self, payload: Any = None) -> None:
        """Go on without what failed."""
        await self._obey(Verb.SKIP, read_request(payload))

    @workflow.signal
    async def cancel(self, payload: Any = None) -> None:
        """End now and leave everything as it is."""
        await self._obey(Verb.CANCEL, read_request(payload))

    @workflow.update
    async def verb(self, verb: Verb, request: VerbRequest) -> RolloutStatus:
        """Send a verb and get the status after it."""
        await self._obey(verb, request)
        return self.status()

    @verb.validator
    def _may(self, verb: Verb, request: VerbRequest) -> None:
        refusal = self._controls.refusal(verb)
        if refusal and not self._controls.repeated(request):
            raise ValueError(refusal)

    @workflow.query
    def status(self) -> RolloutStatus:
        """Where the rollout is and what it waits for."""
        return self._state.status(paused=self._controls.paused)

    async def _obey(self, verb: Verb, request: VerbRequest) -> None:
        if self._controls.repeated(request):
            return
        refusal = self._controls.refusal(verb)
        if refusal:
            workflow.logger.warning("%s was ignored: %s", verb.value, refusal)
            return
        self._controls.apply(verb, request)
        self._verbs += 1
        number = self._verbs
        self._show()
        await self._crew.pass_on(verb)
        await self._evidence.announce_verb(verb, request, number)

    # -- forward -------------------------------------------------------------------------------------------

    async def _forward(self) -> None:
        await self._preflight()
        for wave in self._plan.waves:
            pending = wave.regions
            while pending:
                await self._controls.hold()
                await self._run_wave(wave, pending)
                await self._soak(wave)
                pending = await self._pass_gates(wave)
            self._state.wave(wave.number, "done")

    async def _preflight(self) -> None:
        targets = sum(len(region.targets) for region in self._plan.regions.values())
        self._go(RolloutPhase.PREFLIGHT, f"the preflight of {targets} targets; an unreachable one is tried for a while")
        await self._crew.preflight()
        for name, unfit in self._state.unfit.items():
            if region_failed(len(unfit), self._plan.regions[name].tolerance):
                self._state.region(name, "failed", next(iter(unfit.values())))
                raise RolloutFailed(f"preflight of {name}, nothing was changed: " + "; ".join(unfit.values()))

    async def _run_wave(self, wave: WavePlan, pending: tuple[str, ...]) -> None:
        while pending:
            self._state.wave(wave.number, "running")
            self._go(RolloutPhase.ROLLING_OUT)
            generation = await self._evidence.mint(f"wave {wave.number}")
            await self._evidence.start_wave(wave, generation)
            reports = await self._crew.run_regions(wave, pending, generation)
            failed = {report.region: report for report in reports if report.outcome is not RegionOutcome.SUCCEEDED}
            if not failed or self._plan.on_failure is OnFailure.CONTINUE:
                return
            reason = "; ".join(f"{name} failed: {report.error}" for name, report in failed.items())
            decision = await self._after_failure(wave, reason, tuple(failed))
            started = {report.region for report in reports}
            later = tuple(name for name in pending if name not in started)
            if decision is Verb.SKIP:
                self._state.skipped.update(failed)
            pending = (*failed, *later) if decision is Verb.RETRY else later

    async def _soak(self, wave: WavePlan) -> None:
        if wave.soak:
            last = wave is self._plan.waves[-1]
            self._state.wave(wave.number, "soaking")
            self._go(
                RolloutPhase.SOAKING,
                f"the soak after {'the last' if last else 'this'} wave; rollback is armed",
            )
            await self._controls.wait(wave.soak, f"soak after wave {wave.number}")

    async def _pass_gates(self, wave: WavePlan) -> tuple[str, ...]:
        """Ask every gate between this wave and the next; returns the regions that a retry shall run again."""
        if wave is self._plan.waves[-1]:
            return ()
        self._state.wave(wave.number, "gate")
        for gate in self._plan.gates:
            while True:
                self._state.gate(wave.number, gate.name)
                self._go(RolloutPhase.GATE, f"gate {gate.name}: {gate.event} of wave {wave.number}")
                report = await self._evidence.ask_gate(wave, gate)
                self._state.gate(wave.number, gate.name, report.verdict.value, report.detail)
                failed = report.verdict is Verdict.FAIL
                if report.verdict is Verdict.PASS or (failed and self._plan.on_failure is OnFailure.CONTINUE):
                    break
                reason = f"gate {gate.name} after wave {wave.number}: {report.verdict.value}: {report.detail}"
                decision = await self._after_failure(wave, reason, wave.regions if failed else ())
                if decision is Verb.SKIP:
                    break
                if failed and self._plan.on_failure is OnFailure.ROLLBACK_REGION:
                    return wave.regions
        return ()

    async def _after_failure(self, wave: WavePlan, reason: str, failed: tuple[str, ...]) -> Verb:
        """Do what ``on_failure`` says, then wait for a decision; an inconclusive gate (no region) only waits."""
        self._state.wave(wave.number, "failed")
        if failed and self._plan.on_failure is OnFailure.ROLLBACK_ALL:
            raise RolloutFailed(reason, back=self._state.touched)
        if failed and self._plan.on_failure is OnFailure.ROLLBACK_REGION:
            self._state.enter(RolloutPhase.ROLLING_BACK, reason=reason)
            reason = with_left(reason, await self._controls.to_the_end(self._take_back(failed, reason)))
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
            self._state.enter(RolloutPhase.ROLLING_BACK, reason=reason)
            reason = with_left(reason, await self._take_back(failure.back, reason))
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
            self._end(RolloutPhase.CANCELLED, f"cancel {asked}; everything stays as it is")
            return
        self._state.enter(RolloutPhase.ROLLING_BACK, reason=f"rollback {asked}")
        self._show()
        left = await self._take_back(self._state.touched, f"rollback {asked}")
        phase = RolloutPhase.FAILED if left else RolloutPhase.ROLLED_BACK
        self._end(phase, with_left(f"rollback {asked}", left))

    async def _close(self) -> RolloutResult:
        self._controls.close()
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
        )

    async def _take_back(self, names: Iterable[str], reason: str) -> list[str]:
        touched = [name for name in names if self._state.touched.get(name)]
        if not touched:
            return []
        return await self._crew.take_back(touched, await self._evidence.mint("rollback"), reason)

    def _end(self, phase: RolloutPhase, reason: str = "") -> None:
        self._go(phase, reason=reason)

    def _go(self, phase: RolloutPhase, waiting_for: str = "", reason: str | None = None) -> None:
        self._state.enter(phase, waiting_for=waiting_for, reason=reason)
        self._show()

    def _show(self) -> None:
        status = self.status()
        workflow.set_current_details(rollout_details(status))
        tell_state("paused" if status.paused else status.phase.value)
