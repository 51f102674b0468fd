"""What ties a rollout to the streams: events told, generations minted, where streams stood when waves started."""

from typing import Any, ClassVar

from temporalio import workflow
from temporalio.exceptions import ActivityError

from fraisier.workflows.activities.events import EventActivities
from fraisier.workflows.approvals import Ballot
from fraisier.workflows.carrying import Carried
from fraisier.workflows.contracts import RolloutInput
from fraisier.workflows.failures import describe
from fraisier.workflows.gate_plans import GatePlan, MetricMeasure
from fraisier.workflows.gate_steps import Onward
from fraisier.workflows.plans import WavePlan
from fraisier.workflows.policy import EVENT
from fraisier.workflows.steps import EventInput, GenerationInput, WaveBegun, WaveInput
from fraisier.workflows.verbs import Verb, VerbRequest

GLOBAL = "global"
"""The region of events that are the whole rollout's."""

EARLY = "mint-early"
"""Histories from before it mint a wave's generation after the gate before it."""

FIRST = "mint-beside-preflight"
"""Histories from before it mint the first wave's generation after the preflight."""

BEGIN = "begin-wave"
"""Histories from before it take a step for what the gate before a wave said, for each position, and for its start."""

ONWARD = "begin-at-the-gate"
"""Histories from before it begin no wave by the activity that asks the gate before it."""

VERB_EVENTS = {
    Verb.PAUSE: "deployment.paused",
    Verb.RESUME: "deployment.resumed",
    Verb.ROLLBACK: "deployment.rollback_requested",
    Verb.CANCEL: "deployment.cancel_requested",
    Verb.RETRY: "deployment.retry_requested",
    Verb.SKIP: "deployment.skip_requested",
    Verb.APPROVE: "deployment.approved",
    Verb.REJECT: "deployment.rejected",
    Verb.PROMOTE: "deployment.promoted",
    Verb.ADJUST: "deployment.adjusted",
    Verb.OVERRIDE: "deployment.overridden",
}


VERB_REFUSED = "deployment.verb_refused"


def note_of(number: int) -> str:
    """What a wave's generation is minted for, by which one that was begun early is found."""
    return f"wave {number}"


class Evidence(Carried):
    """The rollout's side of the streams. Lives in the rollout workflow.

    Args:
        order: the rollout's input.
    """

    KEPT: ClassVar[dict[str, Any]] = {
        "_wave_starts": list[tuple[int, dict[str, int]]],
        "_owed": EventInput | None,
        "_begun": list[tuple[int, int]],
    }

    def __init__(self, order: RolloutInput) -> None:
        self._order = order
        self._plan = order.plan
        self._wave_starts: dict[int, dict[str, int]] = {}
        self._early: tuple[str, workflow.ActivityHandle[int]] | None = None
        self._owed: EventInput | None = None
        self._begun: dict[int, int] = {}

    async def announce(self, event_type: str, *, step: str = "rollout", data: dict[str, Any]) -> None:
        """Publish an event of the whole rollout; returns when it is stored."""
        await self.settle()
        await self._publish(self._event(event_type, step, data))

    def owe(self, event_type: str, *, step: str, data: dict[str, Any]) -> None:
        """Have an event of the whole rollout published by the start of the next wave, or before anything else is told.

        Until it is stored no region of that wave starts.
        """
        self._owed = self._event(event_type, step, data)

    async def settle(self) -> None:
        """Publish what is owed, if anything is; what is refused stays owed, so that no wave starts without it."""
        owed = self._owed
        if owed is None:
            return
        try:
            await self._publish(owed)
        except ActivityError as error:
            workflow.logger.error("%s could not be stored: %s", owed.event_type, describe(error))
        else:
            self._owed = None

    async def _publish(self, event: EventInput) -> None:
        await workflow.execute_activity_method(EventActivities.publish, event, summary=event.event_type, **EVENT)

    def _event(self, event_type: str, step: str, data: dict[str, Any]) -> EventInput:
        release = self._plan.release
        common = {"version": release.version, "release_digest": release.digest, "scope": "rollout"}
        return EventInput(
            event_type=event_type,
            rollout_id=self._order.rollout_id,
            service=self._plan.service,
            region=GLOBAL,
            step=step,
            data=common | data,
        )

    async def announce_verb(self, verb: Verb, request: VerbRequest, number: int, ballot: Ballot | None) -> None:
        """Leave the audit event of a verb that took effect; an event that is refused must not undo the effect.

        Args:
            ballot: what a vote was about; None for other verbs.
        """
        data: dict[str, Any] = {"by": request.by, "reason": request.reason, "request_id": request.id}
        if request.override:
            data["override"] = True
        if request.regions:
            data["regions"] = [*request.regions]
        if request.adjust is not None:
            data["change"] = request.adjust.model_dump(mode="json", exclude_defaults=True)
        if ballot is not None:
            data |= {"gate": ballot.gate, "wave": ballot.wave}
        try:
            await self.announce(VERB_EVENTS[verb], step=f"verb.{number}", data=data)
        except ActivityError as error:
            workflow.logger.error("%s took effect, but its event could not be stored: %s", verb.value, describe(error))

    async def announce_refusal(self, verb: str, request: VerbRequest, refusal: str, number: int) -> None:
        """Leave the audit event of a verb that had no effect."""
        told = {"verb": verb, "by": request.by, "reason": request.reason, "request_id": request.id, "refusal": refusal}
        try:
            await self.announce(VERB_REFUSED, step=f"refused.{number}", data=told)
        except ActivityError as error:
            workflow.logger.error("%s was refused, but its event could not be stored: %s", verb, describe(error))

    async def mint(self, note: str) -> int:
        """A fencing generation above every one before it."""
        early, self._early = self._early, None
        # One that was minted for something else is below whatever was minted since, and never used.
        return await (early[1] if early is not None and early[0] == note else self._mint(note))

    def mint_early(self, note: str) -> None:
        """Begin to mint the generation that will probably be asked for next, while something else is waited for."""
        if (self._early is None or self._early[0] != note) and workflow.patched(EARLY):
            self._early = (note, self._mint(note))

    def is_minting(self, note: str) -> bool:
        """Whether what was begun early is not there yet."""
        return self._early is not None and self._early[0] == note and not self._early[1].done()

    def _mint(self, note: str) -> workflow.ActivityHandle[int]:
        asked = GenerationInput(service=self._plan.service, note=f"{self._order.rollout_id} {note}")
        return workflow.start_activity_method(
            EventActivities.mint_generation, asked, summary=f"generation for {note}", **EVENT
        )

    async def onward(self, event_type: str, *, step: str, data: dict[str, Any], wave: WavePlan) -> Onward:
        """What a gate's pass begins: the event that tells it, and the wave after it with a generation of its own."""
        generation = await self.mint(note_of(wave.number))
        return Onward(passed=self._event(event_type, step, data), wave=self._wave(wave, generation))

    def went_on(self, onward: Onward, begun: WaveBegun, wave: WavePlan) -> bool:
        """Note that a gate's pass has begun a wave; not one that was adjusted meanwhile, which begins once more."""
        told = onward.wave.started.data
        as_told: bool = told["regions"] == [*wave.regions]
        if as_told:
            self._note(wave, begun)
            self._begun[wave.number] = told["generation"]
        return as_told

    async def start_wave(self, wave: WavePlan, generation: int) -> None:
        """Note where the streams end before a wave's first step, and tell that it starts."""
        asked = self._wave(wave, generation)
        if workflow.patched(BEGIN):
            begun = await workflow.execute_activity_method(
                EventActivities.begin_wave, asked, summary=f"begin wave {wave.number}", **EVENT
            )
            self._owed = None
            self._note(wave, begun)
        else:
            for key, kind in self._wanted(wave):
                self._wave_starts[wave.number][key] = await self._last_sequence(kind)
            await self._publish(asked.started)

    def begun(self, number: int) -> int | None:
        """The generation of a wave that the gate before it has begun; None when it has not."""
        return self._begun.pop(number, None)

    def _wave(self, wave: WavePlan, generation: int) -> WaveInput:
        data = {"wave": wave.number, "regions": [*wave.regions], "generation": generation}
        started = self._event("deployment.wave_started", f"{generation}.wave", data)
        positions = tuple(dict.fromkeys(kind for _, kind in self._wanted(wave)))
        return WaveInput(owed=self._owed, positions=positions, started=started)

    def _note(self, wave: WavePlan, begun: WaveBegun) -> None:
        self._wave_starts[wave.number].update({key: begun.positions[kind] for key, kind in self._wanted(wave)})

    def _wanted(self, wave: WavePlan) -> list[tuple[str, str]]:
        """What is still to be known of where streams end: the key it is kept under, and the event type."""
        known = self._wave_starts.setdefault(wave.number, {})
        gates = (*self._plan.gates, *self._canary_gates(wave))
        events = dict.fromkeys(asked.event for asked in gates if asked.event and asked.event not in known)
        measures = [asked.measure for asked in gates if isinstance(asked.measure, MetricMeasure)]
        return [(kind, kind) for kind in events] + [(_metric_key(one), one.event) for one in measures]

    def _canary_gates(self, wave: WavePlan) -> list[GatePlan]:
        promotions = (self._plan.regions[name].promotion for name in wave.regions)
        return [asked for promotion in promotions if promotion for asked in promotion.gates]

    def wave_start(self, wave: WavePlan, asked: GatePlan) -> int:
        """Where the stream that a gate reads stood when the wave started; 0 for a gate that reads none."""
        if isinstance(asked.measure, MetricMeasure):
            return self._wave_starts[wave.number][_metric_key(asked.measure)]
        return self._wave_starts[wave.number][asked.event] if asked.event else 0

    async def _last_sequence(self, event_type: str) -> int:
        return await workflow.execute_activity_method(
            EventActivities.last_sequence, event_type, summary=f"where {event_type} stands", **EVENT
        )


def _metric_key(measure: MetricMeasure) -> str:
    # Apart from the event gates' positions, which stay over a retry: a metric carries no generation to tell it by.
    return f"measured {measure.event}"
