"""Downloads the Temporal server by way of Temporal's own SDK."""

import asyncio
from pathlib import Path

from fraisier.orchestrator.launcher.errors import WayFailed
from fraisier.orchestrator.launcher.versions import Program

PATIENCE_S = 300.0
"""Seconds after which a download that neither comes nor is refused is given up."""


async def download(program: Program, folder: Path) -> Path:
    """Download the pinned version into a folder of our own, and see it start once.

    Returns:
        The executable.

    Raises:
        WayFailed: the download was refused, or what came does not run.
    """
    from temporalio.testing import WorkflowEnvironment  # noqa: PLC0415 (slow to import, and needed once a machine)

    try:
        environment = await asyncio.wait_for(
            WorkflowEnvironment.start_local(
                download_dest_dir=str(folder), dev_server_download_version=f"v{program.version}"
            ),
            PATIENCE_S,
        )
    except RuntimeError as error:  # all that the SDK's core raises here
        raise WayFailed(f"the SDK's download failed: {error}") from error
    except asyncio.TimeoutError as error:
        raise WayFailed(f"the SDK's download did not end in {PATIENCE_S:.0f} s") from error
    await environment.shutdown()
    return _only_file(folder)


def _only_file(folder: Path) -> Path:
    files = [path for path in folder.iterdir() if path.is_file()]
    if len(files) != 1:
        raise WayFailed(f"the SDK's download left {len(files)} files instead of one")
    return files[0]
