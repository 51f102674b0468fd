"""Looks into an artifact before it is sent: nothing in it may end up outside its release's folder."""

import asyncio
import hashlib
import posixpath
import tarfile
from collections.abc import Collection, Mapping
from functools import lru_cache
from pathlib import Path, PurePosixPath

from fraisier.providers.errors import ArtifactRejected
from fraisier.providers.models import Release

CHUNK = 1024 * 1024
SET_ID = 0o6000

LINKS_FOLLOWED = 40
"""After so many links to links a kernel gives up."""


def check_artifact(release: Release, *, target: str) -> Path:
    """The release's artifact, once its digest and every entry in it are in order.

    It is read once for all hosts. This blocks: call it in a thread.

    Raises:
        ArtifactRejected: it is missing, has another digest, is no ``.tar.gz``, or holds something unsafe.
    """
    path = release.artifact
    if path is None:
        raise ArtifactRejected(
            f"{release.service} {release.version} has no artifact: bare metal needs release.artifact",
            target=target,
            step="stage",
        )
    try:
        stat = path.stat()
        _checked(path, release.digest, stat.st_mtime_ns, stat.st_size)
    except (OSError, tarfile.TarError, EOFError, ValueError) as error:
        raise ArtifactRejected(f"{path.name}: {error}", target=target, step="stage") from error
    return path


async def checked_artifact(release: Release, *, target: str) -> Path:
    """As `check_artifact`, in one thread for however many hosts ask for the same one at a time."""
    key = (release.artifact, release.digest)
    if key not in _under_way:
        _under_way[key] = checking = asyncio.ensure_future(asyncio.to_thread(check_artifact, release, target=target))
        checking.add_done_callback(lambda _: _under_way.pop(key))
    try:
        return await asyncio.shield(_under_way[key])
    except ArtifactRejected as error:  # of whoever asked first
        raise ArtifactRejected(str(error), target=target, step="stage") from error


_under_way: dict[tuple[Path | None, str], asyncio.Future[Path]] = {}


@lru_cache(maxsize=32)
def _checked(path: Path, digest: str, _modified_ns: int, _size: int) -> None:
    _check_digest(path, digest)
    check_entries(path)


def check_entries(path: Path) -> int:
    """Look at every entry of an archive; how much they take unpacked, in bytes. This blocks.

    Raises:
        OSError: it cannot be read.
        EOFError: it ends too early.
        ValueError: it holds something unsafe.
        tarfile.TarError: it is no ``.tar.gz``.
    """
    links: dict[str, str] = {}
    size = 0
    with tarfile.open(path, "r:gz") as archive:
        for entry in archive:
            problem = _problem(entry, links)
            if problem:
                raise ValueError(f"{entry.name!r} {problem}")
            if entry.issym():
                links[posixpath.normpath(entry.name)] = entry.linkname
            size += entry.size
    for name, aim in links.items():
        if _leads_out(name, links):
            raise ValueError(f"{name!r} is a link to {aim!r}, outside the release's folder")
    return size


def unpacked_size(path: Path) -> int:
    """What is in an archive, in bytes; 0 for one that only other providers than bare metal understand. This blocks."""
    try:
        return check_entries(path)
    except (OSError, EOFError, ValueError, tarfile.TarError):
        return 0


def _check_digest(path: Path, digest: str) -> None:
    found = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            found.update(chunk)
    if digest != f"sha256:{found.hexdigest()}":
        raise ValueError(f"its digest is sha256:{found.hexdigest()}, not {digest}")


def _problem(entry: tarfile.TarInfo, links: Collection[str]) -> str:
    if _escapes(entry.name):
        return "is outside the release's folder"
    if any(str(parent) in links for parent in PurePosixPath(posixpath.normpath(entry.name)).parents):
        return "would be written through a link"
    if entry.islnk() and (_escapes(entry.linkname) or posixpath.normpath(entry.linkname) in links):
        return f"is a hard link to {entry.linkname!r}, outside the release's folder"
    if not (entry.isreg() or entry.isdir() or entry.issym() or entry.islnk()):
        return "is neither file, folder nor link"
    return "would run as another user (set-id bit)" if entry.mode & SET_ID else ""


def _escapes(name: str) -> bool:
    return name.startswith("/") or posixpath.normpath(name).split("/")[0] == ".."


def _leads_out(link: str, links: Mapping[str, str]) -> bool:
    """Whether a link leads out of the folder, by way of the others too.

    >>> _leads_out("a", {"a": "b/../..", "b": "c/d"})
    False
    >>> _leads_out("a", {"a": "b/..", "b": "."})
    True
    """
    at: list[str] = []
    ahead = link.split("/")
    followed = 0
    while ahead:
        part = ahead.pop(0)
        if part == ".." and not at:
            return True
        if part == "..":
            at.pop()
        elif part not in ("", "."):
            at.append(part)
            aim = links.get("/".join(at))
            if aim is not None:
                followed += 1
                if aim.startswith("/") or followed > LINKS_FOLLOWED:
                    return True
                at.pop()
                ahead = [*aim.split("/"), *ahead]
    return False
