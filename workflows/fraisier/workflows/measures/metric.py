"""Measuring by metrics events, read from their stream."""

import math
from collections import defaultdict

from fraisier.providers.duration import format_duration
from fraisier.workflows.gate_plans import MetricMeasure
from fraisier.workflows.gate_steps import Fact, MeasureInput, Reading
from fraisier.workflows.ports import EventLog, MeasuringFailed


async def read_metric(measure: MetricMeasure, asked: MeasureInput, log: EventLog) -> tuple[Reading, ...]:
    """Every region's numbers since the wave started, at most `over` old.

    Raises:
        MeasuringFailed: a region has none, or some of its events hold no number.
    """
    found: dict[str, list[float]] = defaultdict(list)
    odd = []
    async for fact in log.recent(event_type=measure.event, service=asked.service, over=measure.over):
        if fact.sequence <= asked.after or fact.region not in asked.regions:
            continue
        number = _number(fact, measure.field)
        if number is None:
            odd.append(f"{fact.region} (sequence {fact.sequence})")
        else:
            found[fact.region].append(number)
    if odd:
        raise MeasuringFailed(f"{measure.event} without a number in {measure.field}: {odd[0]}, {len(odd)} in all")
    silent = [region for region in asked.regions if not found[region]]
    if silent or not asked.regions:
        raise MeasuringFailed(
            f"no {measure.event} of {', '.join(silent)} since the wave began and in the last "
            f"{format_duration(measure.over)}"
        )
    return tuple(_reading(measure, region, found[region]) for region in asked.regions)


def _reading(measure: MetricMeasure, region: str, numbers: list[float]) -> Reading:
    values = {"value": measure.aggregate.of(numbers), "values": numbers, "count": len(numbers)}
    return Reading(of=region, values=values, shown=("value", "count"))


def _number(fact: Fact, field: str) -> float | None:
    value = fact.data.get(field)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)
