"""Finds a server: here already, by download, or by a build."""

import asyncio
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from fraisier.orchestrator.launcher.build import build
from fraisier.orchestrator.launcher.download import download
from fraisier.orchestrator.launcher.errors import ServerNotFound, WayFailed
from fraisier.orchestrator.launcher.home import fraisier_home
from fraisier.orchestrator.launcher.lock import locked
from fraisier.orchestrator.launcher.progress import Progress, silent
from fraisier.orchestrator.launcher.search import in_cache, on_path, recent
from fraisier.orchestrator.launcher.versions import PROGRAMS, Program


@dataclass(frozen=True)
class Found:
    """A program that can be run.

    Attributes:
        path: the executable.
        version: the version that it says of itself; Temporal's is the version of the server in it.
        how: the way it was had: ``PATH``, ``cache``, ``download`` or ``build``.
    """

    path: Path
    version: str
    how: str


async def find_server(name: str, progress: Progress = silent, *, home: Path | None = None) -> Found:
    """Find a program, or have it: on PATH, in the cache, by the SDK's download, by a Go build.

    Args:
        name: a name in `versions.PROGRAMS`.
        progress: is told which way it takes, and how long it has been at it.
        home: Fraisier's home folder, by default `fraisier_home()`.

    Raises:
        ServerNotFound: no way led to it; the error tells them all.
    """
    program = PROGRAMS[name]
    cache = (home or fraisier_home()) / "bin"
    tried: list[str] = []
    found = await _found_here(program, cache, tried) or await _have(program, cache, tried, progress)
    if found is None:
        raise ServerNotFound(name, tried=tuple(tried), by_hand=program.by_hand)
    progress(f"{name}: version {found.version} ({found.how}: {found.path})")
    return found


async def _found_here(program: Program, cache: Path, tried: list[str]) -> Found | None:
    for how, path in (("PATH", on_path(program)), ("cache", in_cache(program, cache))):
        if path is None:
            tried.append(f"{how}: not there")
        elif found := await _taken(program, path, how, tried):
            return found
    return None


async def _taken(program: Program, path: Path, how: str, tried: list[str]) -> Found | None:
    try:
        return Found(path, await recent(program, path), how)
    except WayFailed as error:
        tried.append(f"{how}: {error}")
        return None


async def _have(program: Program, cache: Path, tried: list[str], progress: Progress) -> Found | None:
    """Put the program into the cache, once for however many ask at the same time."""
    await asyncio.to_thread(cache.mkdir, parents=True, exist_ok=True)
    waiting = f"{program.name}: another process is fetching it"
    async with locked(cache / f".{program.name}.lock", waiting=waiting, progress=progress):
        made = in_cache(program, cache)
        if made and (found := await _taken(program, made, "cache", [])):
            return found
        await asyncio.to_thread(_remove_leftovers, program, cache)
        for how in ("download", "build") if program.downloadable else ("build",):
            try:
                return await _fetch(program, cache, how, progress)
            except WayFailed as error:
                tried.append(f"{how}: {error}")
                progress(f"{program.name}: {how} did not work")
    return None


async def _fetch(program: Program, cache: Path, how: str, progress: Progress) -> Found:
    """Have it in a folder of its own; only what runs is moved into the cache, in one step."""
    work = Path(tempfile.mkdtemp(prefix=f".{program.name}-", dir=cache))
    try:
        if how == "download":
            progress(f"{program.name}: downloading version {program.version} by Temporal's SDK")
            made = await download(program, work)
        else:
            made = await build(program, work, progress)
        version = await recent(program, made)
        path = cache / program.cached_as
        os.replace(made, path)  # noqa: PTH105 - says what matters: atomic, over whatever is there
    finally:
        await asyncio.shield(asyncio.to_thread(shutil.rmtree, work))
    return Found(path, version, how)


def _remove_leftovers(program: Program, cache: Path) -> None:
    """Remove the work folders of processes that were killed; whoever holds the lock is alone here."""
    for folder in cache.glob(f".{program.name}-*"):
        shutil.rmtree(folder)
