"""Changes to a rollout under way: what may still be changed, and the plan after it. Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from fraisier.workflows.arithmetic import resolve, resolve_parallel
from fraisier.workflows.plans import Plan, RegionPlan, WavePlan
from fraisier.workflows.status import WAITING
from fraisier.workflows.verbs import Adjustment

DROPPED = "dropped"
"""The state of a region that was taken out of the rollout."""

_OVER = ("succeeded", "failed", "stopped", "rolled_back", "rollback_failed")


class AdjustmentRefused(Exception):
    """It cannot be changed so, or not any more; the message says why and the way out."""


@dataclass(frozen=True)
class Standing:
    """How far a rollout is.

    Attributes:
        wave: the number of the wave under way, or of the first one before it has begun.
        waves: the state of every wave by number.
        regions: the state of every region by name.
    """

    wave: int
    waves: dict[int, str]
    regions: dict[str, str]


def adjusted(plan: Plan, change: Adjustment, standing: Standing) -> Plan:
    """The plan with a change.

    Raises:
        AdjustmentRefused: it names something unknown, comes too late, or changes nothing.
    """
    if not change.model_dump(exclude={"wave", "region"}, exclude_defaults=True):
        raise AdjustmentRefused(
            "say what shall be otherwise: soak, max_parallel, failure_tolerance, drop, add or order"
        )
    _refuse_unknown(change, plan)
    plan = _settings(plan, change, standing)
    plan = _without(plan, change.drop, standing)
    plan = _with_again(plan, change.add, standing)
    return _reordered(plan, change.order, standing)


def _refuse_unknown(change: Adjustment, plan: Plan) -> None:
    for name in (*([change.region] if change.region else []), *change.drop, *change.add, *change.order):
        if name not in plan.regions:
            raise AdjustmentRefused(f"there is no region {name}; there are {', '.join(plan.regions)}")
    if change.wave is not None and change.wave > len(plan.waves):
        raise AdjustmentRefused(f"there is no wave {change.wave}; there are {len(plan.waves)}")


def _settings(plan: Plan, change: Adjustment, standing: Standing) -> Plan:
    if change.soak is None and change.max_parallel is None and change.failure_tolerance is None:
        return plan
    if change.region is not None:
        only_soak = change.max_parallel is None and change.failure_tolerance is None
        if standing.regions[change.region] in _OVER and not only_soak:
            raise AdjustmentRefused(f"{change.region} has {standing.regions[change.region].replace('_', ' ')} already")
        return _with_region(plan, change.region, lambda region: _region(region, change))
    number = change.wave or standing.wave
    if standing.waves[number] == "done":
        raise AdjustmentRefused(f"wave {number} is over; name one that is not with wave")
    wave = _wave(plan.wave(number), change)
    if change.failure_tolerance is not None:
        for name in wave.regions:
            plan = _with_region(plan, name, lambda region: _tolerating(region, change))
    return _with_waves(plan, [wave if one.number == number else one for one in plan.waves])


def _wave(wave: WavePlan, change: Adjustment) -> WavePlan:
    if change.soak is not None:
        wave = wave.model_copy(update={"soak": change.soak})
    if change.max_parallel is not None:
        most = resolve_parallel(change.max_parallel, len(wave.regions))
        wave = wave.model_copy(update={"max_parallel": most})
    return wave


def _region(region: RegionPlan, change: Adjustment) -> RegionPlan:
    if change.soak is not None:
        region = region.model_copy(update={"soak": change.soak})
    if change.max_parallel is not None:
        most = resolve_parallel(change.max_parallel, len(region.targets))
        region = region.model_copy(update={"max_parallel": most})
    return _tolerating(region, change)


def _tolerating(region: RegionPlan, change: Adjustment) -> RegionPlan:
    if change.failure_tolerance is None:
        return region
    return region.model_copy(update={"tolerance": resolve(change.failure_tolerance, len(region.targets))})


def _without(plan: Plan, names: Sequence[str], standing: Standing) -> Plan:
    for name in names:
        if standing.regions[name] != WAITING:
            state = standing.regions[name].replace("_", " ")
            raise AdjustmentRefused(f"{name} cannot be dropped: it is {state}; rollback takes it back")
    waves = [one.model_copy(update={"regions": tuple(n for n in one.regions if n not in names)}) for one in plan.waves]
    return _with_waves(plan, waves)


def _with_again(plan: Plan, names: Sequence[str], standing: Standing) -> Plan:
    for name in names:
        if any(name in wave.regions for wave in plan.waves):
            raise AdjustmentRefused(f"{name} cannot be added: it was not dropped")
    if not names:
        return plan
    later = _later(plan, standing)
    if not later:
        raise AdjustmentRefused("no wave is left that has not begun; roll them out by a rollout of their own")
    last = later[-1]
    wave = plan.wave(last).model_copy(update={"regions": (*plan.wave(last).regions, *names)})
    return _with_waves(plan, [wave if one.number == last else one for one in plan.waves])


def _reordered(plan: Plan, names: Sequence[str], standing: Standing) -> Plan:
    if not names:
        return plan
    later = _later(plan, standing)
    movable = [name for number in later for name in plan.wave(number).regions]
    for name in names:
        if name not in movable:
            there = ", ".join(movable) or "no regions"
            raise AdjustmentRefused(f"{name} is in no wave that has not begun; in those there are {there}")
    queue = [*dict.fromkeys(names), *(name for name in movable if name not in names)]
    waves = []
    for one in plan.waves:
        size = len(one.regions) if one.number in later else 0
        waves.append(one.model_copy(update={"regions": tuple(queue[:size])}) if size else one)
        queue = queue[size:]
    return _with_waves(plan, waves)


def _later(plan: Plan, standing: Standing) -> list[int]:
    """The waves that have not begun."""
    return [wave.number for wave in plan.waves if standing.waves[wave.number] == WAITING]


def _with_waves(plan: Plan, waves: Sequence[WavePlan]) -> Plan:
    return plan.model_copy(update={"waves": tuple(waves)})


def _with_region(plan: Plan, name: str, change: Callable[[RegionPlan], RegionPlan]) -> Plan:
    regions: Mapping[str, RegionPlan] = plan.regions
    return plan.model_copy(update={"regions": {**regions, name: change(regions[name])}})
