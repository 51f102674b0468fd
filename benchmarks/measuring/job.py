"""What is deployed: a release of 1 MiB, the job that every side does with it, and the look at what it left behind."""

import gzip
import hashlib
import io
import json
import random
import tarfile
from dataclasses import dataclass
from pathlib import Path

from measuring.fleet import PORT, Fleet

FILES, FILE_BYTES = 40, 26_000
KEPT = 3
APP = b"""\
#!/bin/sh
here=${0%/*}/..
case $1 in
  version) read -r version <"$here/VERSION"; echo "$version" ;;
  check) read -r version <"$here/VERSION"; [ -n "$version" ] ;;
  restart) echo "$$" >"$here/../../restarted" ;;
  stop) ;;
esac
"""


@dataclass(frozen=True)
class Release:
    """A release, packed."""

    version: str
    artifact: Path
    digest: str


def build_release(folder: Path, version: str) -> Release:
    """Pack about 1 MiB that does not compress."""
    chance = random.Random(version)  # noqa: S311 (filler)
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        _add(archive, "VERSION", f"{version}\n".encode(), 0o644)
        _add(archive, "bin/app", APP, 0o755)
        for number in range(FILES):
            _add(archive, f"lib/{number:02}.bin", chance.randbytes(FILE_BYTES), 0o644)
    data = gzip.compress(packed.getvalue(), 1, mtime=0)
    artifact = folder / f"bench-{version}.tar.gz"
    artifact.write_bytes(data)
    return Release(version, artifact, hashlib.sha256(data).hexdigest())


def _add(archive: tarfile.TarFile, name: str, data: bytes, mode: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(data), mode
    archive.addfile(entry, io.BytesIO(data))


def write_order(folder: Path, fleet: Fleet, count: int, side: str, release: Release) -> Path:
    """What a peer's script is told, as JSON: the hosts, who logs in, the release."""
    order = {
        "hosts": {address: str(fleet.root(address) / side) for address in fleet.addresses[:count]},
        "port": PORT,
        "username": fleet.username,
        "key": str(fleet.key),
        "known_hosts": str(fleet.known_hosts),
        "version": release.version,
        "artifact": str(release.artifact),
        "digest": release.digest,
        "script": (Path(__file__).parents[1] / "peers" / "job.sh").read_text(),
    }
    path = folder / f"order-{side}.json"
    path.write_text(json.dumps(order))
    return path


def check_hosts(fleet: Fleet, count: int, side: str, release: Release) -> None:
    """Look on the hosts' disks: every one must run the release, whole, and keep few others.

    Raises:
        AssertionError: naming the first host that does not.
    """
    for address in fleet.addresses[:count]:
        root = fleet.root(address) / side
        current = root / "current"
        assert (current / "VERSION").read_text().strip() == release.version, f"{side} at {address}: another version"
        assert (current / f"lib/{FILES - 1}.bin").stat().st_size == FILE_BYTES, f"{side} at {address}: not whole"
        assert len(list((root / "releases").iterdir())) <= KEPT, f"{side} at {address}: old releases are left"


def restarts(fleet: Fleet, count: int, side: str) -> list[int]:
    """When each host last restarted its service; unchanged by a run that changes nothing."""
    return [(fleet.root(address) / side / "restarted").stat().st_mtime_ns for address in fleet.addresses[:count]]
