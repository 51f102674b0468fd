"""Gates asked, by whatever they ask: the streams, a measurement, or people."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar

from temporalio import workflow
from temporalio.exceptions import ActivityError

from fraisier.workflows.activities.events import EventActivities
from fraisier.workflows.activities.measures import MeasureActivities
from fraisier.workflows.approvals import Ballot
from fraisier.workflows.carrying import Carried
from fraisier.workflows.contracts import RolloutInput
from fraisier.workflows.controls import Controls, Interrupted, Tell
from fraisier.workflows.evidence import BEGIN, ONWARD, Evidence, note_of
from fraisier.workflows.failures import describe, was_cancelled
from fraisier.workflows.gate_plans import GatePlan
from fraisier.workflows.gate_steps import GateInput, GateReport, MeasureInput, Onward, RegionExpectation, Verdict
from fraisier.workflows.plans import Plan, Preflight, WavePlan
from fraisier.workflows.policy import gate
from fraisier.workflows.rollout_state import RolloutState
from fraisier.workflows.steps import WaveBegun
from fraisier.workflows.window import long_enough

GATE_EVENTS = {
    Verdict.PASS: "deployment.gate_passed",
    Verdict.FAIL: "deployment.gate_failed",
    Verdict.INCONCLUSIVE: "deployment.gate_inconclusive",
}


@dataclass(frozen=True)
class Question:
    """A gate, and what it is asked about.

    Attributes:
        regions: what is expected of each.
        last: whether it is the last one before the next wave.
        given_up: whether nobody wants the answer any more.
        tell: is told when the time for an answer is over.
    """

    wave: WavePlan
    gate: GatePlan
    regions: dict[str, RegionExpectation]
    tell: Tell
    given_up: Callable[[], bool] = lambda: False
    last: bool = False


class Gatekeeper(Carried):
    """Asks gates and tells their verdicts. Lives in the rollout workflow.

    Args:
        order: the rollout's input.
        state: what is known of regions.
        controls: whose interruptions are heeded, and where votes arrive.
        evidence: what ties the rollout to the streams.
        on_change: called after the state changed, to show it.
    """

    KEPT: ClassVar[dict[str, Any]] = {"_asked": int}

    def __init__(
        self,
        order: RolloutInput,
        state: RolloutState,
        controls: Controls,
        evidence: Evidence,
        *,
        on_change: Callable[[], None],
    ) -> None:
        self._order = order
        self._state = state
        self._controls = controls
        self._evidence = evidence
        self._show = on_change
        self._asked = 0

    @property
    def _plan(self) -> Plan:
        return self._state.plan

    def open(self, wave: WavePlan, asked: GatePlan) -> str:
        """Make a gate ready to be asked; returns what it waits for, for people."""
        if asked.approval is None:
            what = asked.event or f"{asked.measure.kind if asked.measure else 'nothing'}, {asked.pass_if},"
            return f"gate {asked.name}: {what} of wave {wave.number}{' (dry run)' if asked.dry_run else ''}"
        self._controls.ballot = Ballot(asked.approval, gate=asked.name, wave=wave.number)
        return f"gate {asked.name} of wave {wave.number}: {self._controls.ballot.waiting_for}"

    async def ask(self, wave: WavePlan, asked: GatePlan) -> GateReport:
        """Ask a gate about a wave and tell its verdict; a pause stops its clock, and it measures anew after it."""
        self._evidence.mint_early(note_of(wave.number + 1))
        expected = self._expected(self._rolled_out(wave))
        report = await self._ask(Question(wave, asked, expected, self._tell, last=asked is self._plan.gates[-1]))
        if report is None:
            raise RuntimeError("only the gate of a canary is ever given up")
        return report

    async def ask_about(
        self, name: str, wave: WavePlan, asked: GatePlan, given_up: Callable[[], bool], tell: Tell
    ) -> GateReport | None:
        """Ask a gate about what is done in one region by now; None when it was given up."""
        expected = self._expected((name,))[name]
        done = expected.model_copy(update={"targets": tuple(self._state.done[name]), "tolerance": 0})
        return await self._ask(Question(wave, asked, {name: done}, tell, given_up))

    async def _ask(self, question: Question) -> GateReport | None:
        left = question.gate.timeout.total_seconds()
        report = None
        while report is None:
            if self._controls.paused:
                question.tell(None)
            await self._controls.hold()
            if question.given_up():
                return None
            question.tell(_end(left))
            onward = await self._onward(question)
            started = workflow.time()
            question.tell(_end(left))
            report = await self._once(question, max(left, 0), onward)
            left -= workflow.time() - started
        self._controls.ballot = None
        if onward is None:
            self._asked += 1
        if onward is not None and report.begun is not None:
            self._go_on(onward, report.begun, question.wave.number + 1)
        else:
            await self._tell_verdict(question, report)
        return report

    async def _onward(self, question: Question) -> Onward | None:
        """What the pass of an event gate begins; None where something else comes first."""
        of_events = question.gate.measure is None and question.gate.approval is None
        if not of_events or not self._is_followed_by_a_wave(question) or not workflow.patched(ONWARD):
            return None
        # A number of its own each time: what is measured anew may find that more has passed.
        self._asked += 1
        wave = self._plan.wave(question.wave.number + 1)
        note = note_of(wave.number)
        self._evidence.mint_early(note)
        await self._controls.until(lambda: not self._evidence.is_minting(note))
        return await self._evidence.onward(
            GATE_EVENTS[Verdict.PASS], step=f"gate.{self._asked}", data=_about(question), wave=wave
        )

    def _go_on(self, onward: Onward, begun: WaveBegun, number: int) -> None:
        if self._evidence.went_on(onward, begun, self._plan.wave(number)):
            self._state.wave(number, "running")

    async def _tell_verdict(self, question: Question, report: GateReport) -> None:
        event_type, step, data = GATE_EVENTS[report.verdict], f"gate.{self._asked}", _about(question) | report.told()
        if report.verdict is Verdict.PASS and self._is_followed_by_a_wave(question) and workflow.patched(BEGIN):
            self._evidence.owe(event_type, step=step, data=data)
        else:
            await self._evidence.announce(event_type, step=step, data=data)

    def _is_followed_by_a_wave(self, question: Question) -> bool:
        """Whether the next step after a pass is the start of a wave."""
        number, asked_to = question.wave.number, self._controls
        goes_on = question.last and not asked_to.paused and asked_to.ending is None
        if not goes_on or long_enough():
            return False
        return self._plan.preflight is Preflight.ALL and bool(self._plan.wave(number + 1).regions)

    def _tell(self, end: datetime | None) -> None:
        self._state.until(end)
        self._show()

    async def _once(self, question: Question, seconds: float, onward: Onward | None) -> GateReport | None:
        """One go at it; None when a pause came between, or it was given up."""
        if self._controls.ballot is not None:
            return await self._vote(self._controls.ballot, seconds)
        return await self._measure(question, self._start(question, seconds, onward))

    async def _vote(self, ballot: Ballot, seconds: float) -> GateReport | None:
        in_time = await self._controls.until(
            lambda: ballot.decided or self._controls.paused, timedelta(seconds=seconds), f"gate {ballot.gate}"
        )
        return None if in_time and not ballot.decided else ballot.report()

    def _start(self, question: Question, seconds: float, onward: Onward | None) -> workflow.ActivityHandle[GateReport]:
        asked = question.gate
        summary = f"gate {asked.name} after wave {question.wave.number}"
        if asked.measure is not None:
            measure = self._measure_input(question, seconds)
            return workflow.start_activity_method(
                MeasureActivities.measure_gate, measure, summary=summary, **gate(asked.timeout)
            )
        events = self._gate_input(question, seconds).model_copy(update={"onward": onward})
        return workflow.start_activity_method(EventActivities.ask_gate, events, summary=summary, **gate(asked.timeout))

    async def _measure(self, question: Question, handle: workflow.ActivityHandle[GateReport]) -> GateReport | None:
        try:
            await self._controls.until(lambda: handle.done() or self._controls.paused or question.given_up())
        except Interrupted:
            await _drop(handle)
            raise
        if not handle.done():
            return await _drop(handle)
        try:
            return handle.result()
        except ActivityError as error:
            return GateReport(verdict=Verdict.INCONCLUSIVE, detail=f"could not be measured: {describe(error)}")

    def _gate_input(self, question: Question, seconds: float) -> GateInput:
        return GateInput(
            gate=question.gate,
            rollout_id=self._order.rollout_id,
            service=self._plan.service,
            digest=self._plan.release.digest,
            regions=question.regions,
            after=self._evidence.wave_start(question.wave, question.gate),
            seconds_left=seconds,
        )

    def _measure_input(self, question: Question, seconds: float) -> MeasureInput:
        return MeasureInput(
            gate=question.gate,
            rollout_id=self._order.rollout_id,
            service=self._plan.service,
            version=self._plan.release.version,
            digest=self._plan.release.digest,
            regions=tuple(question.regions),
            after=self._evidence.wave_start(question.wave, question.gate),
            seconds_left=seconds,
        )

    def _expected(self, names: Iterable[str]) -> dict[str, RegionExpectation]:
        return {
            name: RegionExpectation(
                targets=tuple(target.name for target in self._plan.regions[name].targets),
                tolerance=self._plan.regions[name].tolerance,
                generation=self._state.generations[name],
                earlier={
                    target: generation
                    for target, generation in self._state.done.get(name, {}).items()
                    if generation != self._state.generations[name]
                },
            )
            for name in names
        }

    def _rolled_out(self, wave: WavePlan) -> tuple[str, ...]:
        """The wave's regions that a gate asks about."""
        return tuple(
            name for name in wave.regions if name in self._state.generations and name not in self._state.skipped
        )


def _end(left: float) -> datetime:
    return workflow.now() + timedelta(seconds=max(left, 0))


def _about(question: Question) -> dict[str, Any]:
    about: dict[str, Any] = {"gate": question.gate.name, "wave": question.wave.number}
    return about | {"dry_run": True} if question.gate.dry_run else about


async def _drop(handle: workflow.ActivityHandle[GateReport]) -> GateReport | None:
    """Ask no more; returns the report only where it is told already."""
    handle.cancel()
    try:
        report = await handle
    except ActivityError as error:
        if not was_cancelled(error):
            workflow.logger.warning("a gate that was no longer asked failed: %s", describe(error))
        return None
    return report if report.begun is not None else None
