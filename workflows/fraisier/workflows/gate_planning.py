"""From a gate of a checked manifest to its plan. Pure."""

from datetime import timedelta

from fraisier.workflows.gate_plans import (
    Aggregate,
    Approval,
    CommandMeasure,
    GatePlan,
    HttpMeasure,
    Measure,
    MetricMeasure,
    PrometheusMeasure,
)
from fraisier.workflows.gates.samples import DEFAULT_CONDITIONS
from fraisier.workflows.manifest.gate_parts import GatePart

EVERY_TARGET = 100

DEFAULT_GATE = GatePart(
    name="healthy", event="health.check_passed", none_of=("health.check_failed", "health.check_timeout")
)
"""What opens the way to the next wave when the manifest says nothing."""


def plan_gate(gate: GatePart, timeout: timedelta) -> GatePlan:
    """Resolve a gate.

    Args:
        timeout: for a gate that gives none.
    """
    share, count = EVERY_TARGET, None
    if isinstance(gate.from_, int):
        count = gate.from_
    elif gate.from_ != "every_target":
        share = int(gate.from_.rstrip("%"))
    return GatePlan(
        name=gate.name,
        event=gate.event or "",
        share=share,
        count=count,
        none_of=gate.none_of,
        timeout=timeout if gate.timeout is None else gate.timeout,
        measure=_measure(gate),
        pass_if=gate.passes or DEFAULT_CONDITIONS.get(gate.kind, ""),
        fail_if=gate.fail_if,
        interval=gate.interval,
        approval=Approval(**gate.approval.model_dump()) if gate.approval else None,
        dry_run=gate.dry_run,
    )


def _measure(gate: GatePart) -> Measure | None:
    if gate.http is not None:
        return HttpMeasure(url=gate.http)
    if gate.prometheus is not None:
        return PrometheusMeasure(server=gate.prometheus, query=gate.query, aggregate=gate.aggregate)
    if gate.command is not None:
        return CommandMeasure(argv=gate.command)
    if gate.metric is not None and gate.over is not None:
        return MetricMeasure(
            event=gate.metric, field=gate.field, aggregate=gate.aggregate or Aggregate.AVG, over=gate.over
        )
    return None
