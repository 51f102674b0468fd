"""``fraisier rollout history``: what was rolled out, from the streams."""

import typer

from fraisier.orchestrator.cli.rollout import Output, Service
from fraisier.orchestrator.cli.run import run
from fraisier.orchestrator.errors import Refused


def history(service: Service, output: Output = "table") -> None:
    """Every rollout of a service and how it ended, newest first, for as long as the stream keeps it.

    Example: fraisier rollout history api --output json
    """
    run(_history(service, output))


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(history)


async def _history(service: str, output: str) -> None:
    import json  # noqa: PLC0415

    from rich.console import Console  # noqa: PLC0415
    from rich.markup import escape  # noqa: PLC0415

    from fraisier.nats import NatsEventBus  # noqa: PLC0415
    from fraisier.orchestrator.cli.render import whole_table  # noqa: PLC0415
    from fraisier.orchestrator.connections import connect_nats  # noqa: PLC0415
    from fraisier.orchestrator.history import read_history  # noqa: PLC0415

    client, config = await connect_nats()
    try:
        found = await read_history(NatsEventBus(client, config.streams), service)
    finally:
        await client.disconnect()
    if not found:
        raise Refused(f"no rollout of {service} is stored, or the stream has forgotten it; see fraisier rollout list")
    if output == "json":
        typer.echo(json.dumps([one.model_dump(mode="json") for one in found], indent=2))
        return
    table = whole_table("started (UTC)", "rollout", "version", "by", "outcome", "took", "why")
    for one in found:
        took = str(one.ended_at - one.started_at).partition(".")[0] if one.ended_at else ""
        outcome = one.outcome.replace("_", " ") or "open"
        table.add_row(
            f"{one.started_at:%F %T}", one.rollout_id, one.version, escape(one.by), outcome, took, escape(one.reason)
        )
    Console().print(table)
