"""What the streams keep of a service's rollouts, shown as a table or as JSON."""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

import typer

from fraisier.orchestrator.errors import Refused

if TYPE_CHECKING:
    from pydantic import BaseModel

    from fraisier.nats import NatsEventBus

Entry = TypeVar("Entry", bound="BaseModel")


async def show(
    service: str,
    output: str,
    read: "Callable[[NatsEventBus, str], AsyncIterator[Entry]]",
    columns: "dict[str, Callable[[Entry], str]]",
) -> None:
    """Print what is read.

    Args:
        service: whose rollouts.
        output: ``table`` or ``json``.
        read: reads the entries from the streams.
        columns: by heading, what a row says of an entry.

    Raises:
        Refused: nothing is stored.
    """
    import json  # noqa: PLC0415

    from fraisier.nats import NatsEventBus  # noqa: PLC0415
    from fraisier.orchestrator.connections import connect_nats  # noqa: PLC0415

    client, config = await connect_nats()
    try:
        found = [entry async for entry in read(NatsEventBus(client, config.streams), service)]
    finally:
        await client.disconnect()
    if not found:
        raise Refused(f"no rollout of {service} is stored, or the stream has forgotten it; see fraisier rollout list")
    if output == "json":
        typer.echo(json.dumps([entry.model_dump(mode="json") for entry in found], indent=2))
    else:
        _print(found, columns)


def _print(found: "Sequence[Entry]", columns: "dict[str, Callable[[Entry], str]]") -> None:
    from rich.console import Console  # noqa: PLC0415
    from rich.markup import escape  # noqa: PLC0415

    from fraisier.orchestrator.cli.tables import whole_table  # noqa: PLC0415

    table = whole_table(*columns)
    for entry in found:
        table.add_row(*(escape(tell(entry)) for tell in columns.values()))
    Console().print(table)
