"""The verbs: a command for each."""

from collections.abc import Callable
from typing import Annotated, Any

import typer

from fraisier.orchestrator.cli.rollout import By, Service
from fraisier.orchestrator.cli.run import run

VERBS = {
    "rollback": (
        "Take every touched region back to what it ran before, last wave first; also after the rollout has ended.",
        "--reason 'errors in eu'",
    ),
    "pause": ("Start nothing new: no batch, no region, no gate. Running steps end.", "--reason 'to look at errors'"),
    "resume": ("Let a paused rollout go on.", "--reason 'all is well'"),
    "skip": ("Go on without what failed.", "--reason 'eu is closed this week'"),
    "cancel": ("End the rollout now and leave everything as it is.", "--reason 'superseded'"),
    "approve": ("Vote for the gate that waits for approval; --by is one of its approvers.", "--by ann"),
    "reject": ("Vote against the gate that waits for approval: it fails.", "--by ann --reason 'errors in eu'"),
}
"""What each does, and how it is called for example."""


Reason = Annotated[str, typer.Option("--reason", "-r", help="Why; kept in the audit.")]
Override = Annotated[
    bool, typer.Option("--override", help="Also over a migration that cannot be taken back; needs a reason.")
]


def add_to(app: typer.Typer) -> None:
    """Add a command for each verb."""
    for name, (what, example) in VERBS.items():
        app.command(name, help=f"{what}\n\nExample: fraisier {name} api {example}")(
            _rollback if name == "rollback" else _command(name)
        )


def _command(name: str) -> Callable[..., None]:
    def command(service: Service, by: By, reason: Reason = "") -> None:
        """Send the verb; typer shows the help that was given with it."""
        run(send(name, service, by, reason))

    return command


def _rollback(service: Service, by: By, reason: Reason = "", *, override: Override = False) -> None:
    run(send("rollback", service, by, reason, override=override))


async def send(name: str, service: str, by: str, reason: str, **more: Any) -> None:
    """Send a verb and print the status after it.

    Args:
        more: what else the request says; see `VerbRequest`.
    """
    from rich.console import Console  # noqa: PLC0415

    from fraisier.orchestrator.cli.render import print_status  # noqa: PLC0415
    from fraisier.orchestrator.connections import connect_temporal  # noqa: PLC0415
    from fraisier.orchestrator.steering import Steering  # noqa: PLC0415
    from fraisier.workflows.verbs import Verb, VerbRequest  # noqa: PLC0415

    request = VerbRequest(by=by, reason=reason, **more)
    print_status(Console(), await Steering(await connect_temporal()).send(service, Verb(name), request))
