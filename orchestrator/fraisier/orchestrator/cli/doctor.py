"""``fraisier doctor``."""

import typer

from fraisier.orchestrator.cli.run import run
from fraisier.orchestrator.errors import ExitCode


def doctor() -> None:
    """Look at everything that Fraisier needs, and say what is missing and the way out.

    Example: fraisier doctor
    """
    run(_doctor())


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(doctor)


async def _doctor() -> ExitCode:
    from rich.console import Console  # noqa: PLC0415

    from fraisier.orchestrator.cli.tables import whole_table  # noqa: PLC0415
    from fraisier.orchestrator.doctor import examine  # noqa: PLC0415

    table = whole_table("", "what", "found", "way out")
    findings = [finding async for finding in examine()]
    for one in findings:
        mark = "[green]ok[/green]" if one.good else "[red]no[/red]" if one.needed else "[yellow]--[/yellow]"
        table.add_row(mark, one.what, one.found, "" if one.good else one.way_out)
    Console().print(table)
    return ExitCode.OK if all(one.good or not one.needed for one in findings) else ExitCode.FAILED
