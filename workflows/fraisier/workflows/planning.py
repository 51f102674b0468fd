"""From a checked manifest to a plan: every default, count and name resolved. Pure."""

from collections.abc import Sequence
from datetime import timedelta

from fraisier.workflows.arithmetic import resolve, resolve_parallel, spread
from fraisier.workflows.gate_planning import DEFAULT_GATE, plan_gate
from fraisier.workflows.manifest.gate_parts import PromotionPart
from fraisier.workflows.manifest.models import Manifest, RegionPart, Strategy
from fraisier.workflows.manifest.targets import target_name, target_options
from fraisier.workflows.manifest.wave_parts import BatchPart, WavePart
from fraisier.workflows.plans import Plan, PromotionPlan, RegionPlan, ReleasePlan, TargetPlan, WavePlan


def make_plan(manifest: Manifest, release: ReleasePlan, *, gate_timeout: timedelta) -> Plan:
    """Resolve a manifest.

    Args:
        release: the release with its stored artifacts.
        gate_timeout: for gates that give none (``INTER_REGION_TIMEOUT``).
    """
    waves = manifest.each_wave
    return Plan(
        service=manifest.service,
        release=release,
        waves=tuple(_wave(number, wave) for number, wave in enumerate(waves, start=1)),
        regions={
            name: plan_region(
                name, region, next((wave for wave in waves if name in wave.regions), None), gate_timeout=gate_timeout
            )
            for name, region in manifest.regions.items()
        },
        gates=tuple(plan_gate(gate, gate_timeout) for gate in manifest.gates or (DEFAULT_GATE,)),
        on_failure=manifest.on_failure,
        decision_timeout=manifest.decision_timeout,
        preflight=manifest.preflight,
        migrations=manifest.migrations,
        requeue=manifest.requeue,
        heeds_freeze=True,
        heeds_events=True,
    )


def _wave(number: int, wave: WavePart) -> WavePlan:
    return WavePlan(
        number=number,
        regions=wave.regions,
        max_parallel=resolve_parallel(wave.max_parallel, len(wave.regions)),
        soak=wave.soak,
        on_failure=wave.on_failure,
    )


def plan_region(
    name: str, region: RegionPart, wave: WavePart | None = None, *, gate_timeout: timedelta = timedelta(0)
) -> RegionPlan:
    """Resolve a region.

    Args:
        wave: its wave, for what the region does not say itself.
        gate_timeout: for the gates of a canary that give none.
    """
    total = len(region.targets)
    batch = region.batch or (wave.batch if wave else None) or BatchPart()
    at_once = region.strategy is Strategy.ALL_AT_ONCE
    tolerance = region.failure_tolerance
    if tolerance is None and wave is not None:
        tolerance = wave.failure_tolerance
    return RegionPlan(
        name=name,
        targets=_targets(region),
        canary=_canary(region.strategy, batch, total),
        max_parallel=total if at_once else resolve_parallel(batch.max_parallel, total),
        promotion=_promotion(region, gate_timeout),
        tolerance=resolve(tolerance or 0, total),
        on_failure=region.on_failure,
        soak=region.soak,
        health=region.health,
        time_zone=region.time_zone,
        windows=tuple(window.plan for window in region.windows),
        freezes=tuple(freeze.plan for freeze in region.freezes),
        traffic=region.traffic,
        hooks=region.hooks,
        placement=region.placement,
    )


def _canary(strategy: Strategy, batch: BatchPart, total: int) -> int:
    if strategy is Strategy.ALL_AT_ONCE:
        return 0
    return min(max(batch.canary, 1 if strategy is Strategy.CANARY else 0), total)


def _promotion(region: RegionPart, gate_timeout: timedelta) -> PromotionPlan | None:
    if region.strategy is not Strategy.CANARY:
        return None
    asked = region.promotion or PromotionPart()
    return PromotionPlan(gates=tuple(plan_gate(gate, gate_timeout) for gate in asked.gates), timeout=asked.timeout)


def _targets(region: RegionPart) -> tuple[TargetPlan, ...]:
    """The targets in the order in which they go."""
    order: Sequence[int] = range(len(region.targets))
    if region.spread is not None:
        order = spread(order, [str(target.get(region.spread)) for target in region.targets])
    return tuple(
        TargetPlan(name=target_name(options), provider=region.provider, options=options)
        for options in (target_options(region, index) for index in order)
    )
