"""A gate in a manifest."""

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field, model_validator

from fraisier.providers.duration import Duration
from fraisier.workflows.arithmetic import Count
from fraisier.workflows.gate_plans import INTERVAL, Aggregate
from fraisier.workflows.manifest.parts import Name, Part

EventType = Annotated[str, Field(pattern=r"^(deployment|health|database|metrics)\.[a-z_]+$")]
MetricType = Annotated[str, Field(pattern=r"^metrics\.[a-z_]+$")]

KINDS = ("event", "http", "prometheus", "command", "metric", "approval")


class ApprovalPart(Part):
    """People who are asked.

    Attributes:
        approvers: who may vote, as ``--by`` names them.
        quorum: how many of them must approve.
    """

    approvers: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1)]
    quorum: Annotated[int, Field(ge=1)] = 1


class GatePart(Part):
    """A condition between one wave and the next; its kind is the one of `KINDS` that is given.

    Attributes:
        name: how people call it.
        event: the event type to wait for.
        from_: ``every_target``, a number of targets of the wave, or a percentage of each region's targets.
        none_of: event types that speak against it.
        http: a URL to GET.
        prometheus: a Prometheus server's URL, to be asked `query`.
        query: an instant query.
        command: an argument list that the worker runs.
        metric: the type of the metrics events whose `field` is aggregated over the time `over`.
        aggregate: how several numbers become one.
        below: what a metric or a query must stay below; likewise `above`.
        pass_if: the CEL condition under which a measurement passes.
        fail_if: the CEL condition under which it fails; what is neither is measured again.
        interval: the wait between two measurements.
        approval: people who are asked.
        timeout: when it is inconclusive; by default ``INTER_REGION_TIMEOUT``, and required for an approval.
        dry_run: show its verdict, and go on whatever it is.
    """

    name: Name
    event: EventType | None = None
    from_: Annotated[Literal["every_target"] | Count, Field(alias="from", union_mode="left_to_right")] = "every_target"
    none_of: tuple[EventType, ...] = ()
    http: str | None = None
    prometheus: str | None = None
    query: str = ""
    command: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    metric: MetricType | None = None
    field: str = "value"
    over: Duration | None = None
    aggregate: Aggregate | None = None
    below: float | None = None
    above: float | None = None
    pass_if: str = ""
    fail_if: str = ""
    interval: Duration = INTERVAL
    approval: ApprovalPart | None = None
    timeout: Duration | None = None
    dry_run: bool = False

    @model_validator(mode="after")
    def _one_kind(self) -> "GatePart":
        given = [kind for kind in KINDS if getattr(self, kind) is not None]
        if len(given) != 1:
            raise ValueError(f"give exactly one of {', '.join(KINDS)}, not {' and '.join(given) or 'none'}")
        return self

    @property
    def kind(self) -> str:
        """Which of `KINDS` it is."""
        return next(kind for kind in KINDS if getattr(self, kind) is not None)

    @property
    def passes(self) -> str:
        """The condition of `pass_if`, or of `below` and `above`; empty when none is given."""
        bounds = [
            f"value {sign} {bound}" for sign, bound in (("<", self.below), (">", self.above)) if bound is not None
        ]
        return self.pass_if or " && ".join(bounds)


class PromotionPart(Part):
    """What lets the rest of a region follow its canary: its gates, or somebody who sends ``promote``.

    Attributes:
        gates: asked about the canary, one after the other; when all pass it is promoted.
        timeout: how long a canary without gates waits for ``promote``; then the region has failed.
    """

    gates: tuple[GatePart, ...] = ()
    timeout: Duration = timedelta(hours=1)
