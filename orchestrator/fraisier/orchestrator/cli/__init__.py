"""The ``fraisier`` command. Commands import what they need when they run, so that help is quick."""

import gc
import logging
import os
import sys

import typer

from fraisier.orchestrator.cli import (
    audit,
    codec,
    demo,
    details,
    directing,
    doctor,
    events,
    freeze,
    history,
    plan,
    rollout,
    stack,
    validate,
    verbs,
    version,
    worker,
    writing,
)
from fraisier.orchestrator.cli.commands import Commands

app = typer.Typer(
    name="fraisier",
    cls=Commands,
    help=(
        "Roll releases out over many regions, on bare-metal hosts and Docker engines.\n\n"
        "Start with: fraisier up, fraisier init, then fraisier rollout start rollout.yaml"
    ),
    epilog=(
        "Exit codes: 0 done, 1 failed, 2 bad manifest or usage, 3 NATS or Temporal not reached, 4 refused, "
        "5 rollout failed, 6 rolled back, 7 cancelled, 8 plan --diff found changes, 130 interrupted."
    ),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # twice as quick as panels and colours, which cost more than all the rest
    context_settings={"max_content_width": 120},
)
version.add_to(app)
stack.add_to(app)
worker.add_to(app)
codec.add_to(app)
writing.add_to(app)
validate.add_to(app)
plan.add_to(app)
history.add_to(rollout.app)
audit.add_to(rollout.app)
app.add_typer(rollout.app, name="rollout")
verbs.add_to(app)
directing.add_to(app)
details.add_to(app)
app.add_typer(freeze.app, name="freeze")
app.add_typer(events.app, name="events")
doctor.add_to(app)
demo.add_to(app)


OBJECTS_BETWEEN_COLLECTIONS = 50_000
"""What a command imports is no garbage, and to look for some every 700 objects takes a tenth of its start."""


def main() -> None:
    """Run the command line, and end the process.

    At once, because a thread of Temporal's native core that hands over its last answer while the interpreter shuts
    down aborts the process, and with it the exit code.
    """
    gc.set_threshold(OBJECTS_BETWEEN_COLLECTIONS)
    try:
        app()
    except SystemExit as end:
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(end.code if isinstance(end.code, int) else 0 if end.code is None else 1)
