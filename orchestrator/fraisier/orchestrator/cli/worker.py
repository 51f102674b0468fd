"""``fraisier worker``."""

import logging
import os
from typing import Annotated

import typer

from fraisier.orchestrator.cli.run import run


def _region(name: str | None) -> str | None:
    """Refuse what no manifest can call a region: nobody would ever send its steps."""
    from pydantic import TypeAdapter, ValidationError  # noqa: PLC0415

    from fraisier.workflows.manifest.parts import Name  # noqa: PLC0415

    try:
        return None if name is None else TypeAdapter(Name).validate_python(name)
    except ValidationError:
        raise typer.BadParameter(f"{name!r} is no region: lower case letters, digits and dashes") from None


def worker(
    region: Annotated[
        str | None,
        typer.Option(
            help="Take only the steps of this region, whose placement is regional.",
            show_default=False,
            callback=_region,
        ),
    ] = None,
) -> None:
    """Carry rollouts out: polls Temporal until SIGTERM or ^C, then ends running steps in good order.

    Run as many as you like; a step that a killed one leaves behind is done by another.

    Examples: fraisier worker, fraisier worker --region eu-west-1
    """
    os.environ.setdefault("FRAISIER_LOG_LEVEL", "INFO")
    run(_worker(region or ""))


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(worker)


async def _worker(region: str) -> None:
    from fraisier.orchestrator.worker import run_worker  # noqa: PLC0415

    logging.getLogger("asyncssh").setLevel(logging.WARNING)
    await run_worker(region)
