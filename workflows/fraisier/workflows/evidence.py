"""What ties a rollout to the streams: events told, generations minted, gates asked."""

from typing import Any

from temporalio import workflow
from temporalio.exceptions import ActivityError

from fraisier.workflows.activities.events import EventActivities
from fraisier.workflows.contracts import GatePlan, RolloutInput, WavePlan
from fraisier.workflows.controls import Controls, Interrupted
from fraisier.workflows.failures import describe, was_cancelled
from fraisier.workflows.policy import EVENT, gate
from fraisier.workflows.rollout_state import RolloutState
from fraisier.workflows.steps import (
    EventInput,
    GateInput,
    GateReport,
    GenerationInput,
    RegionExpectation,
    Verdict,
)
from fraisier.workflows.verbs import Verb, VerbRequest

GLOBAL = "global"
"""The region of events that are the whole rollout's."""

VERB_EVENTS = {
    Verb.PAUSE: "deployment.paused",
    Verb.RESUME: "deployment.resumed",
    Verb.ROLLBACK: "deployment.rollback_requested",
    Verb.CANCEL: "deployment.cancel_requested",
    Verb.RETRY: "deployment.retry_requested",
    Verb.SKIP: "deployment.skip_requested",
}

GATE_EVENTS = {
    Verdict.PASS: "deployment.gate_passed",
    Verdict.FAIL: "deployment.gate_failed",
    Verdict.INCONCLUSIVE: "deployment.gate_inconclusive",
}


class Evidence:
    """The rollout's side of the streams. Lives in the rollout workflow.

    Args:
        order: the rollout's input.
        state: what is known of regions and gates.
        controls: whose interruptions are heeded.
    """

    def __init__(self, order: RolloutInput, state: RolloutState, controls: Controls) -> None:
        self._order = order
        self._plan = order.plan
        self._state = state
        self._controls = controls
        self._wave_starts: dict[int, dict[str, int]] = {}
        self._asked = 0

    async def announce(self, event_type: str, *, step: str = "rollout", data: dict[str, Any]) -> None:
        """Publish an event of the whole rollout; returns when it is stored."""
        release = self._plan.release
        common = {"version": release.version, "release_digest": release.digest, "scope": "rollout"}
        event = EventInput(
            event_type=event_type,
            rollout_id=self._order.rollout_id,
            service=self._plan.service,
            region=GLOBAL,
            step=step,
            data=common | data,
        )
        await workflow.execute_activity_method(EventActivities.publish, event, summary=event_type, **EVENT)

    async def announce_verb(self, verb: Verb, request: VerbRequest, number: int) -> None:
        """Leave the audit event of a verb that took effect; an event that is refused must not undo the effect."""
        data = {"by": request.by, "reason": request.reason, "request_id": request.id}
        try:
            await self.announce(VERB_EVENTS[verb], step=f"verb.{number}", data=data)
        except ActivityError as error:
            workflow.logger.error("%s took effect, but its event could not be stored: %s", verb.value, describe(error))

    async def mint(self, note: str) -> int:
        """A fencing generation above every one before it."""
        asked = GenerationInput(service=self._plan.service, note=f"{self._order.rollout_id} {note}")
        return await workflow.execute_activity_method(
            EventActivities.mint_generation, asked, summary=f"generation for {note}", **EVENT
        )

    async def start_wave(self, wave: WavePlan, generation: int) -> None:
        """Note where the streams end before a wave's first step, and tell that it starts."""
        starts = self._wave_starts.setdefault(wave.number, {})
        for event_type in (asked.event for asked in self._plan.gates):
            if event_type not in starts:
                starts[event_type] = await workflow.execute_activity_method(
                    EventActivities.last_sequence, event_type, summary=f"where {event_type} stands", **EVENT
                )
        data = {"wave": wave.number, "regions": [*wave.regions], "generation": generation}
        await self.announce("deployment.wave_started", step=f"{generation}.wave", data=data)

    async def ask_gate(self, wave: WavePlan, asked: GatePlan) -> GateReport:
        """Ask a gate about a wave and tell its verdict; a pause stops its clock, and it measures anew after it."""
        left = asked.timeout.total_seconds()
        report = None
        while report is None:
            await self._controls.hold()
            started = workflow.time()
            report = await self._measure(wave, asked, max(left, 0))
            left -= workflow.time() - started
        self._asked += 1
        data = {
            "gate": asked.name,
            "wave": wave.number,
            "detail": report.detail,
            "evidence": [*report.evidence],
        }
        await self.announce(GATE_EVENTS[report.verdict], step=f"gate.{self._asked}", data=data)
        return report

    async def _measure(self, wave: WavePlan, asked: GatePlan, seconds: float) -> GateReport | None:
        """One measurement; None when a pause came between."""
        handle = workflow.start_activity_method(
            EventActivities.ask_gate,
            self._gate_input(wave, asked, seconds),
            summary=f"gate {asked.name} after wave {wave.number}",
            **gate(asked.timeout),
        )
        try:
            await self._controls.until(lambda: handle.done() or self._controls.paused)
        except Interrupted:
            await _drop(handle)
            raise
        if not handle.done():
            await _drop(handle)
            return None
        try:
            return handle.result()
        except ActivityError as error:
            return GateReport(verdict=Verdict.INCONCLUSIVE, detail=f"could not be measured: {describe(error)}")

    def _gate_input(self, wave: WavePlan, asked: GatePlan, seconds: float) -> GateInput:
        return GateInput(
            gate=asked,
            rollout_id=self._order.rollout_id,
            service=self._plan.service,
            digest=self._plan.release.digest,
            regions={
                name: RegionExpectation(
                    targets=tuple(target.name for target in self._plan.regions[name].targets),
                    tolerance=self._plan.regions[name].tolerance,
                    generation=self._state.generations[name],
                )
                for name in wave.regions
                if name in self._state.generations and name not in self._state.skipped
            },
            after=self._wave_starts[wave.number][asked.event],
            seconds_left=seconds,
        )


async def _drop(handle: workflow.ActivityHandle[GateReport]) -> None:
    handle.cancel()
    try:
        await handle
    except ActivityError as error:
        if not was_cancelled(error):
            workflow.logger.warning("a gate that was no longer asked failed: %s", describe(error))
