"""``fraisier rollout start | watch | status | list``."""

import getpass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from fraisier.orchestrator.cli.run import run
from fraisier.orchestrator.cli.validate import ManifestPath
from fraisier.orchestrator.errors import ExitCode

if TYPE_CHECKING:
    from fraisier.orchestrator.client import FraisierClient
    from fraisier.workflows.status import RolloutStatus

app = typer.Typer(help="Start, watch and list rollouts.", no_args_is_help=True)

Service = Annotated[str, typer.Argument(help="The service, as the manifest calls it.", show_default=False)]
Output = Annotated[Literal["table", "json"], typer.Option("--output", "-o", help="How to print.")]
By = Annotated[
    str,
    typer.Option(
        "--by", help="Who asks; kept in the audit.", default_factory=getpass.getuser, show_default="your user name"
    ),
]


@app.command()
def start(
    manifest: ManifestPath,
    by: By,
    *,
    watch: Annotated[bool, typer.Option(help="Watch it until it ends; ^C leaves it running.")] = True,
) -> None:
    """Check a manifest, upload its artifacts and start its rollout.

    Example: fraisier rollout start rollout.yaml
    """
    run(_start(manifest, by, watch=watch))


@app.command()
def watch(service: Service) -> None:
    """Watch the newest rollout of a service until it ends. ^C leaves it running.

    Example: fraisier rollout watch api
    """
    run(_watch_only(service))


@app.command()
def status(service: Service, output: Output = "table") -> None:
    """Where the newest rollout of a service is, and what it waits for.

    Example: fraisier rollout status api --output json
    """
    run(_status(service, output))


@app.command("list")
def list_rollouts(output: Output = "table") -> None:
    """All rollouts, newest first."""
    run(_list(output))


async def _start(path: Path, by: str, *, watch: bool) -> ExitCode:
    from fraisier.orchestrator.client import FraisierClient, load_checked  # noqa: PLC0415
    from fraisier.orchestrator.connections import connections  # noqa: PLC0415

    manifest = load_checked(path)  # a bad manifest is refused before anybody is asked
    async with connections() as to:
        client = FraisierClient(to)
        handle = await client.start_checked(manifest, path.parent, actor=by)
        service = handle.id.partition(":")[2]
        typer.echo(f"rollout of {service} started, workflow {handle.id}")
        if watch:
            return await _watch(client, service)
        typer.echo(f"watch it with: fraisier rollout watch {service}")
        return ExitCode.OK


async def _watch_only(service: str) -> ExitCode:
    from fraisier.orchestrator.client import FraisierClient  # noqa: PLC0415
    from fraisier.orchestrator.connections import connections  # noqa: PLC0415

    async with connections() as to:
        return await _watch(FraisierClient(to), service)


async def _watch(client: "FraisierClient", service: str) -> ExitCode:
    import asyncio  # noqa: PLC0415

    from rich.console import Console  # noqa: PLC0415

    from fraisier.nats import Event  # noqa: PLC0415
    from fraisier.orchestrator.cli.render import (  # noqa: PLC0415
        LastLines,
        final_sentence,
        print_event,
        print_status_change,
    )

    console, last_lines = Console(), LastLines()
    last: RolloutStatus | None = None
    try:
        async for news in client.watch(service):
            if isinstance(news, Event):
                print_event(console, news, last_lines)
            else:
                print_status_change(console, last, news)
                last = news
    except asyncio.CancelledError:
        typer.echo(f"\nthe rollout goes on; watch it again with: fraisier rollout watch {service}")
        raise
    if last is None:
        return ExitCode.FAILED
    console.print(last_lines.once(final_sentence(last)), style="bold", highlight=False, soft_wrap=True)
    return exit_code(last)


def exit_code(status: "RolloutStatus") -> ExitCode:
    """The exit status that tells how a rollout ended."""
    from fraisier.workflows.contracts import RolloutPhase  # noqa: PLC0415

    codes = {
        RolloutPhase.SUCCEEDED: ExitCode.OK,
        RolloutPhase.ROLLED_BACK: ExitCode.ROLLED_BACK,
        RolloutPhase.CANCELLED: ExitCode.CANCELLED,
    }
    return codes.get(status.phase, ExitCode.ROLLOUT_FAILED)


async def _status(service: str, output: str) -> None:
    from rich.console import Console  # noqa: PLC0415

    from fraisier.orchestrator.cli.render import print_status  # noqa: PLC0415
    from fraisier.orchestrator.connections import connect_temporal  # noqa: PLC0415
    from fraisier.orchestrator.steering import Steering  # noqa: PLC0415

    found = await Steering(await connect_temporal()).status(service)
    if output == "json":
        typer.echo(found.model_dump_json(indent=2))
    else:
        print_status(Console(), found)


async def _list(output: str) -> None:
    import json  # noqa: PLC0415

    from rich.console import Console  # noqa: PLC0415

    from fraisier.orchestrator.cli.render import state_in_words  # noqa: PLC0415
    from fraisier.orchestrator.cli.tables import whole_table  # noqa: PLC0415
    from fraisier.orchestrator.connections import connect_temporal  # noqa: PLC0415
    from fraisier.orchestrator.steering import Steering  # noqa: PLC0415

    found = await Steering(await connect_temporal()).rollouts()
    if output == "json":
        typer.echo(json.dumps([one.model_dump(mode="json") for one in found], indent=2))
        return
    table = whole_table("service", "version", "state", "rollout, started (UTC)", "took")
    for one in found:
        took = str(one.ended_at - one.started_at).partition(".")[0] if one.ended_at else ""
        table.add_row(one.service, one.version, state_in_words(one.state, one.without), one.rollout_id, took)
    Console().print(table)
