"""``fraisier up`` and ``fraisier down``: the local stack."""

from typing import Annotated

import typer

from fraisier.orchestrator.cli.run import run
from fraisier.orchestrator.errors import ExitCode


def up(
    *,
    worker: Annotated[bool, typer.Option(help="Start a worker too.")] = True,
) -> None:
    """Start NATS, Temporal with its UI, and a worker on this machine, and leave them running.

    Every later command finds them. Data is kept over fraisier down.

    Example: fraisier up
    """
    run(_up(worker=worker))


def down() -> None:
    """Stop what fraisier up started. Data is kept."""
    run(_down())


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(up)
    app.command()(down)


async def _up(*, worker: bool) -> None:
    from fraisier.orchestrator.stack import LocalStack  # noqa: PLC0415

    stack = LocalStack()
    await stack.up(typer.echo, worker=worker)
    typer.echo(f"Temporal UI: {stack.ui_url}")
    typer.echo(f"Temporal:    {stack.env()['TEMPORAL_ADDRESS']}")
    typer.echo(f"NATS:        {stack.env()['NATS_SERVERS']}")
    typer.echo(f"data, logs:  {stack.folder}")


async def _down() -> ExitCode:
    from fraisier.orchestrator.stack import LocalStack  # noqa: PLC0415

    if not await LocalStack().down(typer.echo):
        typer.echo("nothing was running")
        return ExitCode.OK
    typer.echo("data is kept; rollouts that are open go on after fraisier up")
    return ExitCode.OK
