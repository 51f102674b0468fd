"""``fraisier freeze``: let no region of any service start."""

from typing import TYPE_CHECKING, Annotated

import typer

from fraisier.orchestrator.cli.rollout import By
from fraisier.orchestrator.cli.run import run
from fraisier.orchestrator.errors import Refused, Unreachable

if TYPE_CHECKING:
    from fraisier.nats import Freeze, NatsClient

READ_S = 10.0
"""How long a command waits while JetStream has no leader."""

app = typer.Typer(help="Let no region of any service start, nor its next batch.", no_args_is_help=True)

Why = Annotated[str, typer.Option("--reason", "-r", help="Why; everybody who waits is told.")]


@app.command()
def on(by: By, reason: Why) -> None:
    """Freeze all services: rollouts wait before their next batch or region; rollbacks go on.

    Example: fraisier freeze on --reason 'incident 4711'
    """
    run(_set(by, reason, on=True))


@app.command()
def off(by: By, reason: Why = "") -> None:
    """Let batches and regions start again.

    Example: fraisier freeze off
    """
    run(_set(by, reason, on=False))


@app.command()
def status() -> None:
    """Whether all services are frozen, by whom, since when and why."""
    run(_status())


async def _set(by: str, reason: str, *, on: bool) -> None:
    from fraisier.nats import EventInvalid, set_freeze  # noqa: PLC0415
    from fraisier.orchestrator.connections import connect_nats  # noqa: PLC0415

    client, _ = await connect_nats()
    try:
        try:
            freeze = await _read(client)
            frozen = freeze is not None and freeze.on
        except EventInvalid:  # whatever is there gives way
            freeze, frozen = None, not on
        if on and frozen:
            raise Refused(f"{_told(freeze)}. Lift it first (fraisier freeze off), or leave it as it is")
        if on or frozen:
            freeze = await set_freeze(client, on=on, by=by, reason=reason)
    finally:
        await client.disconnect()
    typer.echo(_told(freeze))


async def _status() -> None:
    from fraisier.orchestrator.connections import connect_nats  # noqa: PLC0415

    client, _ = await connect_nats()
    try:
        freeze = await _read(client)
    finally:
        await client.disconnect()
    typer.echo(_told(freeze))


async def _read(client: "NatsClient") -> "Freeze | None":
    """What was said last, unless JetStream cannot tell for too long."""
    import asyncio  # noqa: PLC0415

    from fraisier.nats import read_freeze  # noqa: PLC0415

    try:
        return await asyncio.wait_for(read_freeze(client), READ_S)
    except asyncio.TimeoutError:
        raise Unreachable(
            f"JetStream did not tell within {READ_S:.0f} s whether all services are frozen: look at the servers, "
            "then try again"
        ) from None


def _told(freeze: "Freeze | None") -> str:
    if freeze is None:
        return "nothing is frozen, and never was"
    who = f"by {freeze.by or 'somebody'}"
    why = f": {freeze.reason}" if freeze.reason else ""
    if freeze.on:
        return f"all services are frozen, {who} since {freeze.since:%F %T} UTC{why}"
    return f"nothing is frozen; the last freeze was lifted {who} at {freeze.since:%F %T} UTC{why}"
