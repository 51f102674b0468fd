"""Measuring by a command on the worker's machine."""

import asyncio
import os
import signal
from asyncio.subprocess import DEVNULL, PIPE
from contextlib import suppress

from fraisier.workflows.gate_plans import CommandMeasure
from fraisier.workflows.measures.texts import TEXT_KEPT, as_json
from fraisier.workflows.ports import MeasuringFailed
from fraisier.workflows.steps import MeasureInput, Reading

KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ")
"""What a command gets of the worker's environment: the rest holds the worker's own passwords."""


async def read_command(measure: CommandMeasure, asked: MeasureInput) -> tuple[Reading, ...]:
    """Run the command to its end; cancelling kills it with all that it started.

    Raises:
        MeasuringFailed: it could not be started.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *measure.argv, env=_environment(asked), stdin=DEVNULL, stdout=PIPE, stderr=PIPE, start_new_session=True
        )
    except (OSError, ValueError) as error:
        raise MeasuringFailed(f"{measure.argv[0]} cannot be run: {error}") from error
    ended = False
    try:
        out, error_text = await asyncio.gather(_kept(process.stdout), _kept(process.stderr))
        status = await process.wait()
        ended = True
    finally:
        if not ended:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    values = {"exit_status": status, "stdout": out, "json": as_json(out), "stderr": error_text}
    return (Reading(values=values, shown=("exit_status", "stdout", "stderr")),)


def _environment(asked: MeasureInput) -> dict[str, str]:
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    return kept | {
        "FRAISIER_ROLLOUT": asked.rollout_id,
        "FRAISIER_SERVICE": asked.service,
        "FRAISIER_VERSION": asked.version,
        "FRAISIER_DIGEST": asked.digest,
        "FRAISIER_REGIONS": ",".join(asked.regions),
    }


async def _kept(stream: asyncio.StreamReader | None) -> str:
    """The beginning of what is written; the rest is read and dropped, so that the command does not hang on it."""
    assert stream is not None  # noqa: S101 (a pipe was asked for)
    kept = b""
    while part := await stream.read(TEXT_KEPT):
        kept += part[: TEXT_KEPT - len(kept)]
    return kept.decode(errors="replace").strip()
