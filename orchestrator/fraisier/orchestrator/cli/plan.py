"""``fraisier plan``: what a manifest would do, and with ``--diff`` what it would change where."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fraisier.orchestrator.cli.rollout import Output
from fraisier.orchestrator.cli.run import run
from fraisier.orchestrator.cli.validate import ManifestPath
from fraisier.orchestrator.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fraisier.orchestrator.planned import TargetChange
    from fraisier.workflows.plans import Plan, RegionPlan


def plan(
    manifest: ManifestPath,
    output: Output = "table",
    *,
    diff: Annotated[
        bool, typer.Option("--diff", help="Ask every target what it runs, and show what would change there.")
    ] = False,
) -> None:
    """What a rollout of this manifest would do, in its order. Nothing is changed.

    With --diff it exits with 0 when nothing would change and with 8 when something would.

    Example: fraisier plan rollout.yaml --diff
    """
    run(_diff(manifest, output) if diff else _plan(manifest, output))


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(plan)


async def _plan(path: Path, output: str) -> None:
    from fraisier.orchestrator.client import planned  # noqa: PLC0415

    found = planned(path)
    if output == "json":
        typer.echo(found.model_dump_json(indent=2))
        return
    for line in _story(found):
        typer.echo(line)


def _story(plan: "Plan") -> "Iterator[str]":
    from fraisier.providers.duration import format_duration  # noqa: PLC0415

    yield f"{plan.service} {plan.release.version} ({plan.release.digest or plan.release.image})"
    yield from _databases(plan, "expand")
    for wave in plan.waves:
        at_once = f", {wave.max_parallel} at a time" if wave.max_parallel < len(wave.regions) else ""
        yield f"wave {wave.number} of {len(plan.waves)}: {', '.join(wave.regions)}{at_once}"
        for name in wave.regions:
            yield from _region(plan.regions[name])
        if wave.soak:
            yield f"  soak {format_duration(wave.soak)}"
        if wave is not plan.waves[-1]:
            yield f"  gates: {', '.join(gate.name for gate in plan.gates)}"
    yield from _databases(plan, "contract")
    yield f"when a region fails: {plan.on_failure.value.replace('_', ' ')}"


def _region(region: "RegionPlan") -> "Iterator[str]":
    from fraisier.providers.duration import format_duration  # noqa: PLC0415
    from fraisier.workflows.arithmetic import batches  # noqa: PLC0415
    from fraisier.workflows.status import counted  # noqa: PLC0415

    may_fail = f"; {region.tolerance} may fail" if region.tolerance else ""
    yield f"  {region.name}: {counted(len(region.targets), 'target')}{may_fail}"
    cut = batches(region.targets, canary=region.canary, max_parallel=region.max_parallel)
    for number, batch in enumerate(cut, start=1):
        is_canary = number == 1 and region.canary
        yield f"    batch {number}{', the canary' if is_canary else ''}: {', '.join(target.name for target in batch)}"
        if is_canary and region.promotion is not None:
            gates = "".join(f"{gate.name}, " for gate in region.promotion.gates)
            timeout = "" if gates else f" within {format_duration(region.promotion.timeout)}"
            yield f"    then waits for {gates and f'its gates {gates}or '}promote{timeout}"
    if region.soak:
        yield f"    soak {format_duration(region.soak)}"


def _databases(plan: "Plan", phase: str) -> "Iterator[str]":
    import shlex  # noqa: PLC0415

    for one in plan.migrations:
        argv = getattr(one, phase)
        if argv:
            host = plan.regions[one.region].targets[0].name if one.on == "host" and one.region else "the worker"
            yield f"{phase} database {one.database} on {host}: {shlex.join(argv)}"


async def _diff(path: Path, output: str) -> ExitCode:
    import json  # noqa: PLC0415

    from fraisier.orchestrator.client import FraisierClient, load_checked  # noqa: PLC0415
    from fraisier.orchestrator.connections import connections  # noqa: PLC0415
    from fraisier.orchestrator.planned import Change  # noqa: PLC0415

    load_checked(path)  # a bad manifest is refused before anybody is asked
    async with connections() as to:
        found = await FraisierClient(to).diff(path)
    if output == "json":
        typer.echo(json.dumps([one.model_dump(mode="json") for one in found], indent=2))
    else:
        _print(found)
    kinds = {one.change for one in found}
    if kinds & {Change.DEPLOY, Change.DRIFT}:
        return ExitCode.CHANGES
    return ExitCode.FAILED if Change.UNKNOWN in kinds else ExitCode.OK


def _print(found: "list[TargetChange]") -> None:
    from rich.console import Console  # noqa: PLC0415
    from rich.markup import escape  # noqa: PLC0415

    from fraisier.orchestrator.cli.tables import whole_table  # noqa: PLC0415

    colours = {"none": "dim", "deploy": "green", "drift": "yellow", "unknown": "red"}
    table = whole_table("wave", "region", "target", "runs", "would run", "change", "why")
    for one in found:
        now = "?" if one.change.value == "unknown" else one.now.version if one.now else "nothing"
        change = f"[{colours[one.change.value]}]{one.change.value}[/]"
        table.add_row(str(one.wave), one.region, one.target, now, one.then.version, change, escape(one.why))
    Console().print(table)
