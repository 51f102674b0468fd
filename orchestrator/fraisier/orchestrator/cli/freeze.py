"""``fraisier freeze``: let no region of any service start."""

from typing import Annotated

import typer

from fraisier.orchestrator.cli.rollout import By
from fraisier.orchestrator.cli.run import run

app = typer.Typer(help="Let no region of any service start.", no_args_is_help=True)

Why = Annotated[str, typer.Option("--reason", "-r", help="Why; everybody who waits is told.")]


@app.command()
def on(by: By, reason: Why) -> None:
    """Freeze all services: rollouts wait before their next region; regions that run go on, and rollbacks do too.

    Example: fraisier freeze on --reason 'incident 4711'
    """
    run(_set(by, reason, on=True))


@app.command()
def off(by: By, reason: Why = "") -> None:
    """Let regions start again.

    Example: fraisier freeze off
    """
    run(_set(by, reason, on=False))


@app.command()
def status() -> None:
    """Whether all services are frozen, by whom, since when and why."""
    run(_status())


async def _set(by: str, reason: str, *, on: bool) -> None:
    from fraisier.nats import set_freeze  # noqa: PLC0415
    from fraisier.orchestrator.connections import connect_nats  # noqa: PLC0415

    client, _ = await connect_nats()
    try:
        await set_freeze(client, on=on, by=by, reason=reason)
    finally:
        await client.disconnect()
    await _status()


async def _status() -> None:
    from fraisier.nats import read_freeze  # noqa: PLC0415
    from fraisier.orchestrator.connections import connect_nats  # noqa: PLC0415

    client, _ = await connect_nats()
    try:
        freeze = await read_freeze(client)
    finally:
        await client.disconnect()
    if freeze is None:
        typer.echo("nothing is frozen, and never was")
        return
    state = "all services are frozen" if freeze.on else "nothing is frozen"
    why = f": {freeze.reason}" if freeze.reason else ""
    typer.echo(f"{state}, by {freeze.by or 'somebody'} since {freeze.since:%F %T} UTC{why}")
