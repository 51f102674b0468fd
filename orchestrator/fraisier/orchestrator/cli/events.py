"""``fraisier events tail | serve | install``."""

import os
from typing import Annotated

import typer

from fraisier.orchestrator.cli import letters
from fraisier.orchestrator.cli.run import run

app = typer.Typer(help="Look at stored events, and have them handled.", no_args_is_help=True)
letters.add_to(app)

METRICS_PORT = 9464
"""The port that OpenTelemetry's Prometheus exporters listen on, so that it is easy to guess."""


@app.command()
def tail(
    service: Annotated[str, typer.Option(help="Only this service's.")] = "*",
    region: Annotated[str, typer.Option(help="Only this region's.")] = "*",
    rollout: Annotated[str, typer.Option(help="Only this rollout's, by its ID.")] = "*",
    *,
    since_start: Annotated[bool, typer.Option("--all", help="Also what is stored already.")] = False,
    follow: Annotated[bool, typer.Option(help="Go on until ^C; without, what is stored already is printed.")] = True,
    raw: Annotated[bool, typer.Option("--json", help="Print the CloudEvents bodies, one a line.")] = False,
) -> None:
    """Print events as they are stored, read back from the streams.

    Example: fraisier events tail --all --service api --no-follow
    """
    run(_tail(service, region, rollout, since_start=since_start or not follow, follow=follow, raw=raw))


@app.command()
def serve(
    *,
    address: Annotated[str, typer.Option(help="Where the metrics page listens.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The metrics page's port; 0 for none.", min=0, max=65535)] = METRICS_PORT,
) -> None:
    """Log every event, notify of failures, and count all in Prometheus, until SIGTERM.

    ENABLE_EVENT_LOGGING, ENABLE_WEBHOOK_NOTIFICATIONS (with WEBHOOK_URL) and ENABLE_METRICS_RECORDING switch each.
    A restart goes on where it was.

    Example: fraisier events serve
    """
    os.environ.setdefault("FRAISIER_LOG_LEVEL", "INFO")
    run(_serve(address, port))


@app.command()
def install(
    durable: Annotated[
        list[str] | None, typer.Option(help="A registry's name, whose consumers are made; repeatable.")
    ] = None,
) -> None:
    """Make streams, buckets and consumers at the NATS server, or bring them up to date, for users who may not.

    Elsewhere nobody needs it: whoever may make what is missing does so. The consumers of `fraisier events serve` are
    always among them.

    Example: fraisier events install --durable pager
    """
    run(_install(durable or []))


async def _install(durables: list[str]) -> None:
    from fraisier.nats import NatsEventBus  # noqa: PLC0415
    from fraisier.nats import install as make  # noqa: PLC0415
    from fraisier.orchestrator.connections import connect_nats  # noqa: PLC0415
    from fraisier.orchestrator.serve import DURABLE  # noqa: PLC0415

    client, config = await connect_nats()
    try:
        await make(NatsEventBus(client, config.streams), (DURABLE, *durables))
    finally:
        await client.disconnect()
    typer.echo(f"installed, with {config.streams.replicas} replica(s); registries: {', '.join((DURABLE, *durables))}")


async def _serve(address: str, port: int) -> None:
    from fraisier.orchestrator.serve import serve as work  # noqa: PLC0415

    await work(address, port)


async def _tail(service: str, region: str, rollout: str, *, since_start: bool, follow: bool, raw: bool) -> None:
    import asyncio  # noqa: PLC0415

    from rich.console import Console  # noqa: PLC0415

    from fraisier.nats import Event, NatsEventBus  # noqa: PLC0415
    from fraisier.nats.subjects import DOMAINS  # noqa: PLC0415
    from fraisier.orchestrator.cli.render import LastLines, print_event  # noqa: PLC0415
    from fraisier.orchestrator.connections import connect_nats  # noqa: PLC0415

    client, config = await connect_nats()
    bus = NatsEventBus(client, config.streams)
    console, last_lines = Console(), LastLines()
    try:
        after = {domain: 0 if since_start else await bus.last_sequence(domain) for domain in DOMAINS}
        while True:
            news: list[Event] = []
            for domain, last in after.items():
                stored = bus.read(
                    domain, service=service, region=region, deployment_id=rollout, start_sequence=last + 1
                )
                async for event in stored:
                    after[domain] = event.sequence or 0
                    if isinstance(event, Event):
                        news.append(event)
                    else:
                        typer.echo(f"{event.subject}: not an event: {event.reason}", err=True)
            for event in sorted(news, key=lambda one: one.time):
                if raw:
                    typer.echo(event.to_json().decode())
                else:
                    print_event(console, event, last_lines)
            if not follow:
                return
            await asyncio.sleep(0.5)
    finally:
        await client.disconnect()
