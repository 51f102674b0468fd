"""``fraisier rollout history``: what was rolled out, from the streams."""

from textwrap import shorten

import typer

from fraisier.orchestrator.cli.rollout import Output, Service
from fraisier.orchestrator.cli.run import run

SHOWN = 160
"""How many characters of a reason a row has; JSON has all of it."""


def history(service: Service, output: Output = "table") -> None:
    """Every rollout of a service and how it ended, newest first, for as long as the stream keeps it.

    Example: fraisier rollout history api --output json
    """
    run(_history(service, output))


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(history)


async def _history(service: str, output: str) -> None:
    from fraisier.orchestrator.cli.past import show  # noqa: PLC0415
    from fraisier.orchestrator.cli.render import state_in_words  # noqa: PLC0415
    from fraisier.orchestrator.history import read_history  # noqa: PLC0415
    from fraisier.providers.errors import LAST_LINES  # noqa: PLC0415

    columns = {
        "started (UTC)": lambda one: f"{one.started_at:%F %T}",
        "rollout": lambda one: one.rollout_id,
        "version": lambda one: one.version,
        "by": lambda one: one.by,
        "state": lambda one: state_in_words(one.outcome or "open", one.without),
        "took": lambda one: str(one.ended_at - one.started_at).partition(".")[0] if one.ended_at else "",
        "why": lambda one: shorten(one.reason.partition(LAST_LINES)[0], SHOWN, placeholder=" …"),
    }
    await show(service, output, read_history, columns)
