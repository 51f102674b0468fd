"""Whether a release has what its regions' providers need of it."""

import difflib
import posixpath
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from fraisier.providers.bare_metal.artifact import check_entries
from fraisier.providers.compose_files import Astray, leads_out, named_files, told
from fraisier.workflows.manifest.errors import Problem
from fraisier.workflows.manifest.models import Manifest
from fraisier.workflows.manifest.targets import target_options

BARE_METAL, DOCKER, COMPOSE = "bare_metal", "docker", "compose"
ENGINES = (DOCKER, COMPOSE)
"""The providers whose targets are engines."""

COMPOSE_FILE = "compose.yaml"
NOT_FOUND = "there is no file {}; build it, or correct the path"


def release_problems(manifest: Manifest, folder: Path) -> Iterator[Problem]:
    """What the release lacks.

    Args:
        folder: the manifest's own, from which the release's files are named.
    """
    for key in ("artifact", "image_archive"):
        file = getattr(manifest.release, key)
        if file is not None and not (folder / file).is_file():
            yield Problem(f"release.{key}", NOT_FOUND.format(folder / file))
    yield from _lacking(manifest)
    artifact = manifest.release.artifact
    if artifact is not None and (folder / artifact).is_file():
        yield from _archive_problems(manifest, folder / artifact)


def _lacking(manifest: Manifest) -> Iterator[Problem]:
    needs = {BARE_METAL: "artifact", DOCKER: "image"}
    for name, region in manifest.regions.items():
        need = needs.get(region.provider)
        if region.provider == COMPOSE and any("compose" not in options for options in _options(manifest, name)):
            need = "artifact"
        if need and getattr(manifest.release, need) is None:
            also = (
                ", which holds the Compose file; or write that here as `compose`" if region.provider == COMPOSE else ""
            )
            yield Problem(f"regions.{name}.provider", f"{region.provider} needs release.{need}{also}")


def _archive_problems(manifest: Manifest, artifact: Path) -> Iterator[Problem]:
    """What hosts and engines would refuse, found before anything is touched."""
    if not any(region.provider in (BARE_METAL, COMPOSE) for region in manifest.regions.values()):
        return
    try:
        check_entries(artifact)
    except (OSError, EOFError, ValueError, tarfile.TarError) as error:
        why = f"{artifact} cannot be unpacked on a host: {error}; it must be a .tar.gz"
        yield Problem("release.artifact", why)
        return
    with tarfile.open(artifact, "r:gz") as archive:
        names = {posixpath.normpath(entry.name): entry for entry in archive if entry.isreg()}
        for region, file in _compose_files(manifest):
            if file in names:
                content = archive.extractfile(names[file])
                why = _compose_problem(content.read() if content else b"")
            else:
                near = difflib.get_close_matches(
                    file, [name for name in names if name.endswith((".yaml", ".yml"))], n=1
                )
                why = "is not in the artifact" + (f"; did you mean {near[0]}?" if near else "")
            if why:
                yield Problem(f"regions.{region}.file", f"{file} {why}")


def _compose_files(manifest: Manifest) -> dict[tuple[str, str], None]:
    """The Compose files that regions want of the artifact, each once, in order."""
    found: dict[tuple[str, str], None] = {}
    for name, region in manifest.regions.items():
        for options in _options(manifest, name) if region.provider == COMPOSE else ():
            files = options.get("file", COMPOSE_FILE)
            if "compose" not in options and isinstance(files, str | list):
                for file in [files] if isinstance(files, str) else files:
                    found[name, posixpath.normpath(str(file))] = None
    return found


def _compose_problem(content: bytes) -> str:
    try:
        model = YAML(typ="rt").load(content.decode())
    except MarkedYAMLError as error:
        return f"is not YAML: {error.problem}" + (f", line {error.problem_mark.line + 1}" if error.problem_mark else "")
    except (YAMLError, UnicodeDecodeError):
        return "is not YAML"
    if not isinstance(model, dict) or not ({"services", "include"} & model.keys()):
        return "is no Compose file: it has no services"
    return _strays(content)


def _strays(content: bytes) -> str:
    """What the worker would refuse of the files that a Compose file names, as far as it can be told without `env`."""
    try:
        found = [one for one in named_files(content, name="it") if "$" not in one.path and leads_out(one.path)]
    except Astray as error:
        return f"is refused: {error}"
    return f"is refused: {told(found[0])}" if found else ""


def _options(manifest: Manifest, region: str) -> list[dict[str, Any]]:
    part = manifest.regions[region]
    return [target_options(part, index) for index in range(len(part.targets))]
