"""Releases of a little web service, to be deployed by tests: real archives that run on any host with Python."""

import gzip
import hashlib
import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

API = """\
#!/usr/bin/env python3
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

VERSION = {version!r}
HEALTHY = {healthy!r}


class Api(BaseHTTPRequestHandler):
    def do_GET(self):
        body = VERSION.encode()
        self.send_response(200 if HEALTHY else 500)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


print("api", VERSION, "starts", flush=True)
ThreadingHTTPServer((os.environ.get("HOST", "127.0.0.1"), int(os.environ.get("PORT", "8080"))), Api).serve_forever()
"""

MakeRelease = Callable[..., Path]
"""``make_release(version, healthy=True)``: the path of the release's ``.tar.gz``."""


def build_release(folder: Path, version: str, *, healthy: bool = True) -> Path:
    """Write ``api-<version>.tar.gz``: ``bin/api`` serves the version at /health, or answers 500 when not healthy.

    The same version gives the same bytes, and so the same digest.
    """
    path = folder / f"api-{version}.tar.gz"
    with (
        path.open("wb") as raw,
        gzip.GzipFile(fileobj=raw, mode="wb", mtime=0, filename="") as packed,  # no time and no name in its header
        tarfile.open(fileobj=packed, mode="w") as archive,
    ):
        _add(archive, "bin/api", API.format(version=version, healthy=healthy).encode(), mode=0o755)
        _add(archive, "VERSION", version.encode(), mode=0o644)
    return path


def digest_of(artifact: Path) -> str:
    """The artifact's digest as a manifest writes it."""
    return f"sha256:{hashlib.sha256(artifact.read_bytes()).hexdigest()}"


@pytest.fixture
def make_release(tmp_path: Path) -> MakeRelease:
    """Build releases in the test's own folder."""

    def make(version: str, healthy: bool = True) -> Path:
        return build_release(tmp_path, version, healthy=healthy)

    return make


def _add(archive: tarfile.TarFile, name: str, content: bytes, *, mode: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    entry.mode = mode
    archive.addfile(entry, io.BytesIO(content))
