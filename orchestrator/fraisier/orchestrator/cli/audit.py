"""``fraisier rollout audit``: who asked for what, when and why, from the streams."""

import typer

from fraisier.orchestrator.cli.rollout import Output, Service
from fraisier.orchestrator.cli.run import run


def audit(service: Service, output: Output = "table") -> None:
    """Who started, paused, took back or decided what, when and why, for as long as the stream keeps it.

    Example: fraisier rollout audit api --output json
    """
    run(_audit(service, output))


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(audit)


async def _audit(service: str, output: str) -> None:
    from fraisier.orchestrator.audit import read_audit  # noqa: PLC0415
    from fraisier.orchestrator.cli.past import show  # noqa: PLC0415
    from fraisier.orchestrator.cli.render import in_words  # noqa: PLC0415

    columns = {
        "when (UTC)": lambda one: f"{one.time:%F %T}",
        "rollout": lambda one: one.rollout_id,
        "version": lambda one: one.version,
        "what": lambda one: f"{one.what} {in_words(one.about)}".strip() + (" (refused)" if one.refused else ""),
        "by": lambda one: one.by,
        "why": lambda one: one.refused or one.reason,
    }
    await show(service, output, read_audit, columns)
