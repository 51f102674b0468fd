"""Measuring by a command on the worker's machine."""

from fraisier.providers.local_command import run_here
from fraisier.workflows.gate_plans import CommandMeasure
from fraisier.workflows.gate_steps import MeasureInput, Reading
from fraisier.workflows.measures.texts import as_json
from fraisier.workflows.ports import MeasuringFailed


async def read_command(measure: CommandMeasure, asked: MeasureInput) -> tuple[Reading, ...]:
    """Run the command to its end; cancelling kills it with all that it started.

    Raises:
        MeasuringFailed: it could not be started.
    """
    try:
        ended = await run_here(measure.argv, timeout_s=None, environment=_about(asked))
    except (OSError, ValueError) as error:
        raise MeasuringFailed(f"{measure.argv[0]} cannot be run: {error}") from error
    values = {
        "exit_status": ended.status,
        "stdout": ended.stdout,
        "json": as_json(ended.stdout),
        "stderr": ended.stderr,
    }
    return (Reading(values=values, shown=("exit_status", "stdout", "stderr")),)


def _about(asked: MeasureInput) -> dict[str, str]:
    return {
        "FRAISIER_ROLLOUT": asked.rollout_id,
        "FRAISIER_SERVICE": asked.service,
        "FRAISIER_VERSION": asked.version,
        "FRAISIER_DIGEST": asked.digest,
        "FRAISIER_REGIONS": ",".join(asked.regions),
    }
