"""``fraisier rollout audit``: who asked for what, when and why, from the streams."""

import typer

from fraisier.orchestrator.cli.rollout import Output, Service
from fraisier.orchestrator.cli.run import run
from fraisier.orchestrator.errors import Refused


def audit(service: Service, output: Output = "table") -> None:
    """Who started, paused, took back or decided what, when and why, for as long as the stream keeps it.

    Example: fraisier rollout audit api --output json
    """
    run(_audit(service, output))


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(audit)


async def _audit(service: str, output: str) -> None:
    import json  # noqa: PLC0415

    from rich.console import Console  # noqa: PLC0415
    from rich.markup import escape  # noqa: PLC0415

    from fraisier.nats import NatsEventBus  # noqa: PLC0415
    from fraisier.orchestrator.audit import read_audit  # noqa: PLC0415
    from fraisier.orchestrator.cli.render import whole_table  # noqa: PLC0415
    from fraisier.orchestrator.connections import connect_nats  # noqa: PLC0415

    client, config = await connect_nats()
    try:
        found = [entry async for entry in read_audit(NatsEventBus(client, config.streams), service)]
    finally:
        await client.disconnect()
    if not found:
        raise Refused(f"no rollout of {service} is stored, or the stream has forgotten it; see fraisier rollout list")
    if output == "json":
        typer.echo(json.dumps([entry.model_dump(mode="json") for entry in found], indent=2))
        return
    table = whole_table("when (UTC)", "rollout", "version", "what", "by", "why")
    for entry in found:
        when = f"{entry.time:%F %T}"
        table.add_row(when, entry.rollout_id, entry.version, entry.what, escape(entry.by), escape(entry.reason))
    Console().print(table)
