"""From a checked manifest to a plan: every default, count and name resolved. Pure."""

from datetime import timedelta

from fraisier.workflows.arithmetic import resolve, resolve_parallel
from fraisier.workflows.contracts import Plan, RegionPlan, ReleasePlan, TargetPlan, WavePlan
from fraisier.workflows.gate_planning import DEFAULT_GATE, plan_gate
from fraisier.workflows.manifest.models import Manifest, RegionPart
from fraisier.workflows.manifest.targets import target_name, target_options


def make_plan(manifest: Manifest, release: ReleasePlan, *, gate_timeout: timedelta) -> Plan:
    """Resolve a manifest.

    Args:
        release: the release with its stored artifacts.
        gate_timeout: for gates that give none (``INTER_REGION_TIMEOUT``).
    """
    return Plan(
        service=manifest.service,
        release=release,
        waves=tuple(
            WavePlan(
                number=number,
                regions=wave.regions,
                max_parallel=resolve_parallel(wave.max_parallel, len(wave.regions)),
                soak=wave.soak,
            )
            for number, wave in enumerate(manifest.waves, start=1)
        ),
        regions={name: plan_region(name, region) for name, region in manifest.regions.items()},
        gates=tuple(plan_gate(gate, gate_timeout) for gate in manifest.gates or (DEFAULT_GATE,)),
        on_failure=manifest.on_failure,
        decision_timeout=manifest.decision_timeout,
    )


def plan_region(name: str, region: RegionPart) -> RegionPlan:
    """Resolve a region."""
    total = len(region.targets)
    return RegionPlan(
        name=name,
        targets=tuple(
            TargetPlan(name=target_name(options), provider=region.provider, options=options)
            for options in (target_options(region, index) for index in range(total))
        ),
        canary=min(region.batch.canary, total),
        max_parallel=resolve_parallel(region.batch.max_parallel, total),
        tolerance=resolve(region.failure_tolerance, total),
        health=region.health,
        time_zone=region.time_zone,
        windows=tuple(window.plan for window in region.windows),
        freezes=tuple(freeze.plan for freeze in region.freezes),
        traffic=region.traffic,
        hooks=region.hooks,
        placement=region.placement,
    )
