"""Looks for a program that is already here."""

import os
import shutil
import sys
from pathlib import Path

from fraisier.orchestrator.launcher.errors import WayFailed
from fraisier.orchestrator.launcher.run import run
from fraisier.orchestrator.launcher.versions import Program


def on_path(program: Program) -> Path | None:
    """The executable on PATH, beside this Python (where pip puts nats-server), or in its usual folders."""
    beside = str(Path(sys.executable).parent)
    folders = os.pathsep.join([beside, *(str(Path(folder).expanduser()) for folder in program.folders)])
    found = shutil.which(program.name) or shutil.which(program.name, path=folders)
    return Path(found) if found else None


def in_cache(program: Program, cache: Path) -> Path | None:
    """The pinned version in the cache."""
    path = cache / program.cached_as
    return path if os.access(path, os.X_OK) else None


async def version_of(program: Program, path: Path) -> tuple[int, ...]:
    """Ask an executable for its version.

    Raises:
        WayFailed: it does not run, or what it says holds no version.
    """
    version = program.version_in(await run([str(path), *program.ask]))
    if version is None:
        raise WayFailed(f"{path} does not tell its version")
    return version


async def recent(program: Program, path: Path) -> str:
    """The version of an executable that is recent enough.

    Raises:
        WayFailed: it is too old or does not run.
    """
    version = await version_of(program, path)
    if version < program.oldest:
        raise WayFailed(f"{path} is version {_dotted(version)}, older than {_dotted(program.oldest)}")
    return _dotted(version)


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
