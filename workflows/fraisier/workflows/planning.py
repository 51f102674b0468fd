"""From a checked manifest to a plan: every default, count and name resolved. Pure."""

from datetime import timedelta

from fraisier.workflows.arithmetic import resolve, resolve_parallel
from fraisier.workflows.contracts import GatePlan, Plan, RegionPlan, ReleasePlan, TargetPlan, WavePlan
from fraisier.workflows.manifest.models import GatePart, Manifest, RegionPart
from fraisier.workflows.manifest.targets import target_name, target_options

EVERY_TARGET = 100

DEFAULT_GATE = GatePart(
    name="healthy", event="health.check_passed", none_of=("health.check_failed", "health.check_timeout")
)
"""What opens the way to the next wave when the manifest says nothing."""


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
        regions={name: _region(name, region) for name, region in manifest.regions.items()},
        gates=tuple(_gate(gate, gate_timeout) for gate in manifest.gates or (DEFAULT_GATE,)),
        on_failure=manifest.on_failure,
        decision_timeout=manifest.decision_timeout,
    )


def _region(name: str, region: RegionPart) -> RegionPlan:
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
    )


def _gate(gate: GatePart, timeout: timedelta) -> GatePlan:
    share, count = EVERY_TARGET, None
    if isinstance(gate.from_, int):
        count = gate.from_
    elif gate.from_ != "every_target":
        share = int(gate.from_.rstrip("%"))
    return GatePlan(
        name=gate.name,
        event=gate.event,
        share=share,
        count=count,
        none_of=gate.none_of,
        timeout=gate.timeout or timeout,
    )
