"""What goes in and out of the activities."""

from datetime import datetime
from typing import Any

from pydantic import Field
from typing_extensions import Self

from fraisier.providers.hooks import Hook
from fraisier.providers.migrations.models import Migration, Phase
from fraisier.providers.models import HealthCheck, HealthResult, Model, ReleaseRef, Step, StepResult, TargetState
from fraisier.providers.traffic.models import Traffic
from fraisier.workflows.plans import RegionPlan, ReleasePlan, TargetPlan
from fraisier.workflows.verbs import Verb, VerbRequest

OFFER = 1_000_000
"""By how much an offer's attempts are above those of the one before it: by more than anybody makes."""


class FencedInput(Model):
    """What is done in a step. The activity adds its own attempt to the fencing token's."""

    step: Step

    def attempted(self, times: int) -> Step:
        """The step with so many attempts more in its token."""
        token = self.step.token
        later = token.model_copy(update={"attempt": token.attempt + times})
        return self.step.model_copy(update={"token": later})

    def offered(self, times: int) -> Self:
        """This after so many offers that nobody took, or not to their end: newer than all their attempts."""
        return self.model_copy(update={"step": self.attempted(times * OFFER)})


class StepInput(FencedInput):
    """One step on one target."""

    target: TargetPlan
    release: ReleasePlan
    health: HealthCheck | None = None
    traffic: Traffic | None = None
    to: ReleaseRef | None = None


class PruneInput(Model):
    """The same step on several targets: those whose old releases may go."""

    steps: tuple[StepInput, ...]

    def offered(self, times: int) -> Self:
        """See `FencedInput.offered`."""
        return self.model_copy(update={"steps": tuple(one.offered(times) for one in self.steps)})


class StepsInput(PruneInput):
    """Steps that are taken together.

    Attributes:
        kind: the activity that takes one of them: ``stage``, ``activate``, ``check_health``, …
    """

    kind: str


class StepOutcome(Model):
    """What became of one of them.

    Attributes:
        result: what it did; likewise `health` of a health check.
        error: why it failed, for people; likewise `error_type`.
        stopped: whether it was asked to end before it did.
    """

    result: StepResult | None = None
    health: HealthResult | None = None
    error: str = ""
    error_type: str = ""
    stopped: bool = False


class StepsReport(Model):
    """What became of each, in the order in which they were asked for."""

    outcomes: tuple[StepOutcome, ...]


class HookInput(FencedInput):
    """One hook.

    Attributes:
        target: where it runs, when it runs on a host, and whose name it is given.
    """

    target: TargetPlan
    version: str
    hook: Hook


class HookReport(Model):
    """What a hook wrote: the end of it, at most 4 KB."""

    output: str


class MigrationLook(Model):
    """A migration whose needs shall be looked at."""

    migration: Migration


class MigrationInput(FencedInput):
    """One command of a migration.

    Attributes:
        target: the host that runs it; None for the worker.
    """

    migration: Migration
    phase: Phase
    release: ReleaseRef
    target: TargetPlan | None = None


class PreflightInput(Model):
    """All the targets of a region, looked at in one activity."""

    region: RegionPlan
    release: ReleasePlan


class PreflightReport(Model):
    """What preflight found, by target name.

    Attributes:
        states: what each fit target runs now.
        unfit: why a target cannot take the release.
    """

    region: str
    states: dict[str, TargetState]
    unfit: dict[str, str]


class LookInput(Model):
    """All the targets of a region, to be asked what they run of a service."""

    service: str
    region: RegionPlan


class RegionLook(Model):
    """What a region's targets answered, by target name.

    Attributes:
        states: what each runs and keeps.
        silent: why a target could not be asked.
    """

    region: str
    states: dict[str, TargetState]
    silent: dict[str, str]


class EventInput(Model):
    """An event of the rollout itself or of one region.

    Attributes:
        region: ``global`` for an event of the whole rollout.
        step: makes the event's ID, so that a retried publish is one event for ever.
    """

    event_type: str
    rollout_id: str
    service: str
    region: str
    step: str
    data: dict[str, Any] = Field(default_factory=dict)


class WaveInput(Model):
    """A wave that begins.

    Attributes:
        owed: an event that comes before it: what the gate before the wave said.
        positions: the event types whose streams' ends are asked for.
        started: the event that tells that the wave has begun.
    """

    owed: EventInput | None = None
    positions: tuple[str, ...] = ()
    started: EventInput


class WaveBegun(Model):
    """Where the streams of event types stood when a wave began."""

    positions: dict[str, int]


class GenerationInput(Model):
    """Who asks for a new fencing generation, and why."""

    service: str
    note: str


class OpeningInput(Model):
    """A region that would start now.

    Attributes:
        at: the workflow's now.
    """

    region: RegionPlan
    at: datetime


class Opening(Model):
    """Whether a region may start.

    Attributes:
        until: when it may; None when it may now, and when it never will.
        why: what keeps it, and until when, for people; empty when it may start.
    """

    until: datetime | None = None
    why: str = ""


class ListenInput(Model):
    """Where verbs to a rollout are listened for.

    Attributes:
        digest: the release's; what names another one is not meant.
        regions: the rollout's regions.
        after: only later events count.
    """

    rollout_id: str
    service: str
    digest: str
    regions: tuple[str, ...]
    after: int = 0


class SentVerb(Model):
    """A verb that came as an event.

    Attributes:
        sequence: where the event lies.
        gate: of a vote: the gate it is about; likewise `wave`.
        generation: the fencing generation that the sender names, if any.
    """

    sequence: int
    verb: Verb
    request: VerbRequest
    gate: str = ""
    wave: int = 0
    generation: int | None = None
