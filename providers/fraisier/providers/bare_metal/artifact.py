"""Looks into an artifact before it is sent: nothing in it may end up outside its release's folder."""

import hashlib
import posixpath
import tarfile
from functools import lru_cache
from pathlib import Path, PurePosixPath

from fraisier.providers.errors import ArtifactRejected
from fraisier.providers.models import Release

CHUNK = 1024 * 1024
SET_ID = 0o6000


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


@lru_cache(maxsize=32)
def _checked(path: Path, digest: str, _modified_ns: int, _size: int) -> None:
    _check_digest(path, digest)
    check_entries(path)


def check_entries(path: Path) -> None:
    """Look at every entry of an archive. This blocks.

    Raises:
        OSError: it cannot be read.
        EOFError: it ends too early.
        ValueError: it holds something unsafe.
        tarfile.TarError: it is no ``.tar.gz``.
    """
    links: set[str] = set()
    with tarfile.open(path, "r:gz") as archive:
        for entry in archive:
            problem = _problem(entry, links)
            if problem:
                raise ValueError(f"{entry.name!r} {problem}")
            if entry.issym():
                links.add(posixpath.normpath(entry.name))


def _check_digest(path: Path, digest: str) -> None:
    found = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            found.update(chunk)
    if digest != f"sha256:{found.hexdigest()}":
        raise ValueError(f"its digest is sha256:{found.hexdigest()}, not {digest}")


def _problem(entry: tarfile.TarInfo, links: set[str]) -> str:
    if _escapes(entry.name):
        return "is outside the release's folder"
    if any(str(parent) in links for parent in PurePosixPath(posixpath.normpath(entry.name)).parents):
        return "would be written through a link"
    if entry.issym() and _escapes(posixpath.join(posixpath.dirname(entry.name), entry.linkname)):
        return f"is a link to {entry.linkname!r}, outside the release's folder"
    if entry.islnk() and (_escapes(entry.linkname) or posixpath.normpath(entry.linkname) in links):
        return f"is a hard link to {entry.linkname!r}, outside the release's folder"
    if not (entry.isreg() or entry.isdir() or entry.issym() or entry.islnk()):
        return "is neither file, folder nor link"
    return "would run as another user (set-id bit)" if entry.mode & SET_ID else ""


def _escapes(name: str) -> bool:
    return name.startswith("/") or posixpath.normpath(name).split("/")[0] == ".."
