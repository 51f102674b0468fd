"""``fraisier details``: what runs where."""

from typing import TYPE_CHECKING

import typer

from fraisier.orchestrator.cli.rollout import Output, Service
from fraisier.orchestrator.cli.run import run

if TYPE_CHECKING:
    from fraisier.providers.models import TargetState


def details(service: Service, output: Output = "table") -> None:
    """What every target of a service runs now, and what was changed there by hand, asked of the targets themselves.

    Example: fraisier details api
    """
    run(_details(service, output))


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(details)


async def _details(service: str, output: str) -> None:
    import json  # noqa: PLC0415

    from rich.console import Console  # noqa: PLC0415
    from rich.markup import escape  # noqa: PLC0415

    from fraisier.orchestrator.cli.tables import whole_table  # noqa: PLC0415
    from fraisier.orchestrator.connections import connect_temporal  # noqa: PLC0415
    from fraisier.orchestrator.steering import Steering  # noqa: PLC0415

    found = await Steering(await connect_temporal()).details(service)
    if output == "json":
        typer.echo(json.dumps([region.model_dump(mode="json") for region in found], indent=2))
        return
    table = whole_table("region", "target", "runs", "digest", "since (UTC)", "by rollout", "keeps", "changed by hand")
    for region in found:
        for target, state in region.states.items():
            table.add_row(region.region, target, *_row(state))
        for target, why in region.silent.items():
            table.add_row(region.region, target, f"[red]not known: {escape(why)}[/red]")
    Console().print(table)


def _row(state: "TargetState") -> tuple[str, ...]:
    from rich.markup import escape  # noqa: PLC0415

    drift = f"[yellow]{escape('; '.join(state.drift))}[/yellow]" if state.drift else ""
    if state.release is None:
        return ("nothing", "", "", "", "", drift)
    since = f"{state.since:%F %T}" if state.since else ""
    digest = state.release.digest.removeprefix("sha256:")[:12]
    kept = ", ".join(one.version for one in state.kept)
    return (state.release.version, digest, since, state.rollout_id or "", kept, drift)
