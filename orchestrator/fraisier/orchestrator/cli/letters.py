"""``fraisier events dead | replay``: events that a handler could not handle."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from fraisier.orchestrator.cli.run import run
from fraisier.orchestrator.errors import ExitCode

if TYPE_CHECKING:
    from fraisier.nats.dead_letters import DeadLetter, DeadLetters


def dead(output: Annotated[Literal["table", "json"], typer.Option(help="How to print.")] = "table") -> None:
    """List the dead letters: events that a handler could not handle, and why.

    Example: fraisier events dead
    """
    run(_dead(output))


def replay(
    numbers: Annotated[
        list[int] | None, typer.Argument(help="Which letters, as `fraisier events dead` counts.")
    ] = None,
    *,
    everything: Annotated[bool, typer.Option("--all", help="All that there are.")] = False,
) -> None:
    """Have dead letters handled again, by the handlers that could not; what fails again is a new letter.

    Example: fraisier events replay --all
    """
    if everything == bool(numbers):
        raise typer.BadParameter("name letters, or say --all")
    run(_replay(set(numbers or ())))


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(dead)
    app.command()(replay)


async def _dead(output: str) -> None:
    import json  # noqa: PLC0415

    from rich.console import Console  # noqa: PLC0415

    from fraisier.orchestrator.cli.tables import whole_table  # noqa: PLC0415

    async with _letters() as letters:
        found = [letter async for letter in letters.read()]
    if output == "json":
        typer.echo(json.dumps([letter.model_dump(mode="json") for letter in found], indent=2))
        return
    table = whole_table("letter", "given up (UTC)", "event", "handler", "reason")
    for letter in found:
        table.add_row(str(letter.sequence), f"{letter.time:%F %T}", _name(letter), letter.handler or "", letter.reason)
    Console().print(table)


async def _replay(numbers: set[int]) -> ExitCode:
    async with _letters() as letters:
        found = [letter async for letter in letters.read() if not numbers or letter.sequence in numbers]
        for letter in found:
            await letters.replay(letter)
            typer.echo(f"{letter.sequence}: {_name(letter)} is handled again by {letter.handler or 'whoever wants it'}")
    missing = numbers - {letter.sequence for letter in found}
    if missing:
        typer.echo(f"no such letters: {', '.join(map(str, sorted(missing)))}; see fraisier events dead", err=True)
    elif not found:
        typer.echo("there are no dead letters")
    return ExitCode.REFUSED if missing else ExitCode.OK


@asynccontextmanager
async def _letters() -> AsyncIterator["DeadLetters"]:
    """The dead letters, over a connection of their own."""
    from fraisier.nats import NatsEventBus  # noqa: PLC0415
    from fraisier.nats.dead_letters import DeadLetters  # noqa: PLC0415
    from fraisier.orchestrator.connections import connect_nats  # noqa: PLC0415

    client, config = await connect_nats()
    try:
        letters = DeadLetters(NatsEventBus(client, config.streams))
        await letters.ensure()
        yield letters
    finally:
        await client.disconnect()


def _name(letter: "DeadLetter") -> str:
    from fraisier.nats import EventInvalid  # noqa: PLC0415

    try:
        event = letter.event
    except EventInvalid:
        return f"{letter.stream} {letter.stream_sequence}"
    return f"{event.event_type} {event.region} {event.service}"
