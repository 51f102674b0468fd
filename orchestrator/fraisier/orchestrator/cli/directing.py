"""The verbs that are told more than who and why: retry, promote, override, adjust."""

from typing import Annotated

import typer

from fraisier.orchestrator.cli.rollout import By, Service
from fraisier.orchestrator.cli.run import fail, run
from fraisier.orchestrator.cli.verbs import send
from fraisier.orchestrator.errors import ExitCode

Why = Annotated[str, typer.Option("--reason", "-r", help="Why; kept in the audit.")]
Regions = Annotated[
    list[str], typer.Option("--region", help="Which region; again for more. By default all that wait now.")
]
Names = Annotated[str | None, typer.Option(help="Region names, with commas.")]


def retry(
    service: Service,
    by: By,
    reason: Why = "",
    *,
    whole: Annotated[bool, typer.Option("--whole", help="The regions as a whole, not only what failed.")] = False,
) -> None:
    """Try what failed once more: the targets that failed, or with --whole their regions.

    Example: fraisier retry api --reason 'the disk is free again'
    """
    run(send("retry", service, by, reason, whole=whole))


def promote(service: Service, by: By, region: Regions = [], reason: Why = "") -> None:  # noqa: B006 (typer copies it)
    """Let the rest of a region follow its canary.

    Example: fraisier promote api --region eu-west-1
    """
    run(send("promote", service, by, reason, regions=tuple(region)))


def override(
    service: Service,
    by: By,
    reason: Annotated[str, typer.Option("--reason", "-r", help="Why; required, and kept in the audit.")],
    region: Regions = [],  # noqa: B006 (typer copies it)
) -> None:
    """Let regions start although their window is closed or a freeze holds.

    Example: fraisier override api --region eu-west-1 --reason 'security fix'
    """
    run(send("override", service, by, reason, regions=tuple(region)))


def adjust(
    service: Service,
    by: By,
    reason: Why = "",
    *,
    wave: Annotated[int | None, typer.Option(help="The wave it is about; the one under way by default.")] = None,
    region: Annotated[str | None, typer.Option(help="The region it is about, instead of a wave.")] = None,
    soak: Annotated[str | None, typer.Option(help="How long to soak, also while it does: 0s, 30m.")] = None,
    max_parallel: Annotated[str | None, typer.Option(help="How many go together: 3, 25%.")] = None,
    failure_tolerance: Annotated[str | None, typer.Option(help="How many targets may fail: 1, 10%.")] = None,
    drop: Names = None,
    add: Names = None,
    order: Names = None,
) -> None:
    """Change what is still to come of a rollout: soaks, parallelism, tolerance, regions that have not begun.

    Example: fraisier adjust api --soak 0s --drop ap-south-1 --reason 'quiet enough'
    """
    from fraisier.workflows.verbs import BadRequest, read_adjustment  # noqa: PLC0415

    counts = {"max_parallel": _count(max_parallel), "failure_tolerance": _count(failure_tolerance)}
    given = {"wave": wave, "region": region, "soak": soak, "drop": drop, "add": add, "order": order, **counts}
    try:
        change = read_adjustment({key: value for key, value in given.items() if value is not None}).adjust
    except BadRequest as error:
        fail(str(error), ExitCode.INVALID)
    run(send("adjust", service, by, reason, adjust=change))


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (retry, promote, override, adjust):
        app.command()(command)


def _count(text: str | None) -> int | str | None:
    return int(text) if text is not None and text.isdigit() else text
