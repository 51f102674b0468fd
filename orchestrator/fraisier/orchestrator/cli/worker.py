"""``fraisier worker``."""

import logging
import os

import typer

from fraisier.orchestrator.cli.run import run


def worker() -> None:
    """Carry rollouts out: polls Temporal until SIGTERM or ^C, then ends running steps in good order.

    Run as many as you like; a step that a killed one leaves behind is done by another.

    Example: [bold]fraisier worker[/bold]
    """
    os.environ.setdefault("FRAISIER_LOG_LEVEL", "INFO")
    run(_worker())


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(worker)


async def _worker() -> None:
    from fraisier.orchestrator.worker import run_worker  # noqa: PLC0415

    logging.getLogger("asyncssh").setLevel(logging.WARNING)
    await run_worker()
