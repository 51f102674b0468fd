"""Deployments, and the rollouts that drive them."""

from typing import Annotated, Any

from pydantic import Field

from fraisier.nats.catalogue.payloads import EventSpec, Outcome, Payload

PIPELINE_QUEUED = "dev.cdevents.pipelinerun.queued.0.3.0"
PIPELINE_FINISHED = "dev.cdevents.pipelinerun.finished.0.3.0"
TASK_STARTED = "dev.cdevents.taskrun.started.0.3.0"
TASK_FINISHED = "dev.cdevents.taskrun.finished.0.3.0"
SERVICE_DEPLOYED = "dev.cdevents.service.deployed.0.3.0"
SERVICE_ROLLED_BACK = "dev.cdevents.service.rolledback.0.3.0"


class Triggered(Payload):
    """A request."""

    actor: Annotated[str | None, Field(description="who asked")] = None


class Started(Payload):
    """A beginning."""

    wave: Annotated[int | None, Field(description="the number of the wave, from 1")] = None
    strategy: Annotated[str | None, Field(description="how it is done, such as `rolling`")] = None


class Ended(Outcome):
    """An end."""

    wave: Annotated[int | None, Field(description="the number of the wave, from 1")] = None
    without: Annotated[str | None, Field(description="what a rollout that succeeded went without, in words")] = None


class WaveStarted(Payload):
    """A wave's beginning."""

    wave: Annotated[int | None, Field(description="its number, from 1")] = None
    regions: Annotated[list[str] | None, Field(description="its regions")] = None


class GateAnswered(Payload):
    """A gate's verdict."""

    gate: Annotated[str | None, Field(description="the gate's name")] = None
    wave: Annotated[int | None, Field(description="the wave it was asked about")] = None
    evidence: Annotated[list[int] | None, Field(description="sequences of the events that decided, at most 100")] = None
    measured: Annotated[dict[str, Any] | None, Field(description="what was measured, by name")] = None
    dry_run: Annotated[bool | None, Field(description="whether it was asked without deciding anything")] = None


class VerbObeyed(Payload):
    """Something that somebody asked of an open rollout."""

    by: Annotated[str | None, Field(description="who asked")] = None
    reason: Annotated[str | None, Field(description="why")] = None
    request_id: Annotated[str | None, Field(description="the request's own ID")] = None
    override: Annotated[bool | None, Field(description="whether it was asked against a refusal")] = None


class Voted(VerbObeyed):
    """An approver's vote."""

    gate: Annotated[str | None, Field(description="the gate's name")] = None
    wave: Annotated[int | None, Field(description="the wave it was asked about")] = None


class Directed(VerbObeyed):
    """Something that was asked of some regions."""

    regions: Annotated[list[str] | None, Field(description="the regions it is about")] = None


class Adjusted(VerbObeyed):
    """What somebody changed."""

    change: Annotated[dict[str, Any] | None, Field(description="what is otherwise, by the keys of `adjust`")] = None


class VerbRefused(VerbObeyed):
    """Something that was asked of an open rollout in vain."""

    verb: Annotated[str | None, Field(description="what was asked, as it was written")] = None
    refusal: Annotated[str | None, Field(description="why it has no effect, and the way out")] = None


class VerbSent(Payload):
    """Something that is asked of an open rollout by this event."""

    verb: Annotated[str | None, Field(description="`pause`, `resume`, `approve` or `reject`")] = None
    by: Annotated[str | None, Field(description="who asks; of a vote: one of the gate's approvers")] = None
    reason: Annotated[str | None, Field(description="why")] = None
    gate: Annotated[str | None, Field(description="of a vote: the gate's name")] = None
    wave: Annotated[int | None, Field(description="of a vote: the wave it was asked about")] = None


SPECS = (
    EventSpec(
        "deployment.triggered",
        "A deployment was asked for.",
        (Triggered,),
        {"rollout": PIPELINE_QUEUED},
    ),
    EventSpec(
        "deployment.started",
        "A deployment has begun.",
        (Started,),
        {"region": TASK_STARTED},
    ),
    EventSpec(
        "deployment.completed",
        "A deployment succeeded.",
        (Ended,),
        {"rollout": PIPELINE_FINISHED, "region": TASK_FINISHED, "target": SERVICE_DEPLOYED},
    ),
    EventSpec(
        "deployment.failed",
        "A deployment failed, or what should have been taken back could not be.",
        (Ended,),
        {"rollout": PIPELINE_FINISHED, "region": TASK_FINISHED},
    ),
    EventSpec(
        "deployment.rolled_back",
        "What ran before runs again; a target's event names that release, the others the one that was taken back.",
        (Ended,),
        {"rollout": PIPELINE_FINISHED, "target": SERVICE_ROLLED_BACK},
    ),
    EventSpec("deployment.metrics_recorded", "A snapshot of a deployment's measurements.", (Payload,)),
    EventSpec("deployment.wave_started", "A rollout's next regions begin.", (WaveStarted,)),
    EventSpec("deployment.gate_passed", "A gate opened: the next wave may begin.", (GateAnswered,)),
    EventSpec("deployment.gate_failed", "A gate's condition is broken.", (GateAnswered,)),
    EventSpec("deployment.gate_inconclusive", "A gate could not tell in its time; it never opens so.", (GateAnswered,)),
    EventSpec("deployment.paused", "Somebody paused a rollout.", (VerbObeyed,)),
    EventSpec("deployment.resumed", "Somebody let a paused rollout go on.", (VerbObeyed,)),
    EventSpec("deployment.rollback_requested", "Somebody asked to take a rollout back.", (VerbObeyed,)),
    EventSpec("deployment.cancel_requested", "Somebody asked to end a rollout and leave all as it is.", (VerbObeyed,)),
    EventSpec("deployment.retry_requested", "Somebody asked to try once more what failed.", (VerbObeyed,)),
    EventSpec("deployment.skip_requested", "Somebody asked to go on without what failed.", (VerbObeyed,)),
    EventSpec("deployment.approved", "Somebody approved what a gate asked for.", (Voted,)),
    EventSpec("deployment.rejected", "Somebody rejected what a gate asked for.", (Voted,)),
    EventSpec("deployment.promoted", "Somebody let the rest of regions follow their canaries.", (Directed,)),
    EventSpec("deployment.adjusted", "Somebody changed what is still to come of a rollout.", (Adjusted,)),
    EventSpec("deployment.overridden", "Somebody let regions start whatever kept them.", (Directed,)),
    EventSpec(
        "deployment.verb_sent",
        "Somebody asks something of an open rollout: the rollout heeds it, and tells so by the verb's own event.",
        (VerbSent,),
    ),
    EventSpec(
        "deployment.verb_refused",
        "Somebody asked something of an open rollout by a signal or an event, and it has no effect.",
        (VerbRefused,),
    ),
    EventSpec(
        "deployment.cancelled",
        "A rollout was ended where it stood.",
        (Ended,),
        {"rollout": PIPELINE_FINISHED},
    ),
)
