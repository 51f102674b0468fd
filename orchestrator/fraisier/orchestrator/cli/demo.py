"""``fraisier demo``."""

from typing import Annotated

import typer

from fraisier.orchestrator.cli.run import run
from fraisier.orchestrator.errors import ExitCode


def demo(
    *,
    keep: Annotated[bool, typer.Option(help="Leave everything up afterwards, with a rollout to play with.")] = False,
) -> None:
    """Show the main job on a stack of its own: a rollout, a failing release that goes back, a rollback by signal.

    Example: fraisier demo --keep
    """
    run(_demo(keep=keep))


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(demo)


async def _demo(*, keep: bool) -> ExitCode:
    from fraisier.orchestrator.demo.play import play  # noqa: PLC0415

    return await play(keep=keep)
