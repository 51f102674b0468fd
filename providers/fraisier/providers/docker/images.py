"""Brings the image of a release to an engine: out of a registry, or out of an archive."""

import asyncio
import json
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker.errors

from fraisier.providers.docker.engine import Engine
from fraisier.providers.errors import ArtifactRejected, AuthenticationFailed, ConnectFailed, ProviderError
from fraisier.providers.models import Release

CHUNK = 1024 * 1024
SHOWN = 1000
INDEX = "manifest.json"
INDEX_LIMIT = 4 * 1024 * 1024
CONFIG = re.compile(r"^(?:blobs/sha256/)?([0-9a-f]{64})(?:\.json)?$")

LOCKED = (
    "unauthorized",
    "no basic auth credentials",
    "authentication required",
    "access denied",
    "access to the resource is denied",
    "forbidden",
    "incorrect username",
)
AWAY = (
    "connection refused",
    "connection reset",
    "no such host",
    "no route to host",
    "network is unreachable",
    "timeout",
    "deadline exceeded",
    "eof",
    "server error",
    "bad gateway",
    "service unavailable",
    "toomanyrequests",
)
"""What an engine says of a registry, which is all that it tells: it has one status for most of it."""


async def bring(engine: Engine, release: Release) -> str:
    """The ID of the release's image on the engine, brought there if need be: a tag that moves later changes nothing.

    Raises:
        ArtifactRejected: there is no such image, or what comes is damaged.
        AuthenticationFailed: the registry wants other credentials.
        ConnectFailed: the registry cannot be reached.
    """
    image, archive = release.image, release.image_archive
    if image is None:
        raise ArtifactRejected(f"{release.version} has no image", target=engine.target, step="stage")
    if archive is None:
        return await pulled(engine, image)
    found = await loaded(engine, image, archive)
    if found is None:
        raise ArtifactRejected(f"{archive.name} does not hold {image}", target=engine.target, step="stage")
    return found


async def pulled(engine: Engine, image: str) -> str:
    """The ID of an image that is pulled unless the engine has one of its name; raises as `bring`."""
    found = await engine.image_id(image)
    if found is None:
        await _pull(engine, image)
        found = await engine.image_id(image)
    if found is None:
        raise ArtifactRejected(f"there is no {image}", target=engine.target, step="stage")
    return found


async def loaded(engine: Engine, image: str, archive: Path) -> str | None:
    """The ID of an image out of an archive, which is loaded unless the engine has it; None when it does not hold it.

    Raises:
        ArtifactRejected: the engine does not take the archive.
    """
    held = await asyncio.to_thread(_ids_by_name, archive)
    if held is not None and _full(image) not in held:
        return None
    expected = (held or {}).get(_full(image), image)
    found = await engine.image_id(expected) if held else None
    if found is None:
        await _load(engine, archive)
        # Engines that keep images in containerd call them by another ID than the archive does.
        found = await engine.image_id(expected) or await engine.image_id(image)
    return found


async def _load(engine: Engine, archive: Path) -> None:
    """Load what ``docker save`` wrote, streamed."""

    def load(api: Any) -> None:
        with archive.open("rb") as file:
            for told in api.load_image(_chunks(file), quiet=False):
                if "error" in told:
                    raise ArtifactRejected(f"{archive.name}: {told['error']}", target=engine.target, step="stage")

    await engine.call("load", load, seconds=engine.options.step_timeout.total_seconds())


async def _pull(engine: Engine, reference: str) -> None:
    repository, tag = _parts(reference)

    def pull(api: Any) -> None:
        try:
            for told in api.pull(repository, tag=tag, stream=True, decode=True):
                if "error" in told:
                    raise _refusal(engine.target, reference, told["error"])
        except docker.errors.APIError as error:
            raise _refusal(engine.target, reference, str(error.explanation or error)) from error
        except docker.errors.StreamParseError:
            raise
        except docker.errors.DockerException as error:  # a credential helper that is not there, or fails
            raise _locked(engine.target, reference, str(error)) from error

    await engine.call("pull", pull, seconds=engine.options.step_timeout.total_seconds())


def _refusal(target: str, reference: str, said: str) -> ProviderError:
    """The error of a pull, by what the engine says of it."""
    words = said.lower()
    if any(one in words for one in LOCKED):
        return _locked(target, reference, said)
    message = f"{target}: {reference} is not to be had: {said[:SHOWN]}"
    if any(one in words for one in AWAY):
        return ConnectFailed(message, target=target, step="stage")
    return ArtifactRejected(message, target=target, step="stage")


def _locked(target: str, reference: str, said: str) -> AuthenticationFailed:
    return AuthenticationFailed(
        f"{target}: the registry does not give {reference} to this worker: {said[:SHOWN]}; log in as the worker's user "
        "(docker login), or look whether the name is right",
        target=target,
        step="stage",
    )


def _ids_by_name(archive: Path) -> dict[str, str] | None:
    """The IDs of an archive's images by their full names; None when that cannot be read here."""
    try:
        with tarfile.open(archive) as packed:
            index = packed.extractfile(INDEX)
            held = json.loads(index.read(INDEX_LIMIT)) if index else []
        return {
            _full(name): f"sha256:{config[1]}"
            for one in held
            if (config := CONFIG.match(one["Config"]))
            for name in one["RepoTags"] or ()
        }
    except (tarfile.TarError, OSError, EOFError, KeyError, TypeError, ValueError):
        return None


def _full(reference: str) -> str:
    """A name as an engine would complete it.

    >>> _full("api"), _full("docker.io/library/api:2"), _full("localhost:5000/api")
    ('api:latest', 'api:2', 'localhost:5000/api:latest')
    """
    short = reference.removeprefix("docker.io/").removeprefix("library/")
    return short if ":" in short.rpartition("/")[2] else f"{short}:latest"


def _parts(reference: str) -> tuple[str, str | None]:
    """The repository, and the tag or digest: the library takes a reference without one for all tags."""
    if "@" in reference:
        repository, _, digest = reference.partition("@")
        return repository, digest
    folder, slash, last = reference.rpartition("/")
    name, _, tag = last.partition(":")
    return f"{folder}{slash}{name}", tag or "latest"


def _chunks(file: Any) -> Iterator[bytes]:
    while part := file.read(CHUNK):
        yield part
