"""A real image registry of a test's own, that asks for a password."""

import asyncio
import base64
import json
import os
import shutil
import time
from asyncio.subprocess import Process
from pathlib import Path

import httpx
import pytest

from tests.providers.ssh_bench import free_port

USER, PASSWORD = "puller", "not-a-secret"
HASH = "$2b$05$gqSIWPkk.H.Z5rfv2MSxqeTBsR3QTrdvMCSGh2TEO621KWBCNGyES"
START_S = 60.0


class Registry:
    """``docker-registry`` on loopback, with its blobs in a folder.

    Args:
        folder: holds all of it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.host = f"127.0.0.1:{free_port()}"
        self._process: Process | None = None

    async def start(self) -> None:
        """Start it and wait until it asks for the password."""
        program = shutil.which("docker-registry")
        if program is None:
            pytest.fail("there is no docker-registry: `make setup-tests` installs it")
        (self.folder / "htpasswd").write_text(f"{USER}:{HASH}\n")
        config = {
            "version": 0.1,
            "log": {"accesslog": {"disabled": True}},
            "storage": {"filesystem": {"rootdirectory": str(self.folder / "blobs")}},
            "auth": {"htpasswd": {"realm": "test", "path": str(self.folder / "htpasswd")}},
            "http": {"addr": self.host},
        }
        (self.folder / "config.yml").write_text(json.dumps(config))
        with (self.folder / "log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                program, "serve", str(self.folder / "config.yml"), stdout=log, stderr=log
            )
        deadline = time.monotonic() + START_S
        while await self._status() != httpx.codes.UNAUTHORIZED:
            log_end = (self.folder / "log").read_text()[-2000:]
            assert self._process.returncode is None, log_end
            assert time.monotonic() < deadline, log_end
            await asyncio.sleep(0.05)

    async def stop(self) -> None:
        """End it; what it holds stays."""
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()
            await self._process.wait()

    def layers(self, repository: str, reference: str) -> list[Path]:
        """The files of an image's layers."""
        root = self.folder / "blobs" / "docker" / "registry" / "v2"
        kind = "revisions/sha256" if reference.startswith("sha256:") else "tags"
        link = root / "repositories" / repository / "_manifests" / kind / reference.removeprefix("sha256:")
        digest = (link / ("link" if kind != "tags" else "current/link")).read_text()
        manifest = json.loads(self._blob(root, digest).read_text())
        return [self._blob(root, one["digest"]) for one in manifest["layers"]]

    async def _status(self) -> int:
        try:
            async with httpx.AsyncClient(trust_env=False) as client:
                return (await client.get(f"http://{self.host}/v2/")).status_code
        except httpx.TransportError:
            return 0

    @staticmethod
    def _blob(root: Path, digest: str) -> Path:
        number = digest.removeprefix("sha256:")
        return root / "blobs" / "sha256" / number[:2] / number / "data"


def log_in(folder: Path, host: str, *, password: str = PASSWORD) -> None:
    """Write a ``config.json`` as ``docker login`` does."""
    folder.mkdir(exist_ok=True)
    auth = base64.b64encode(f"{USER}:{password}".encode()).decode()
    (folder / "config.json").write_text(json.dumps({"auths": {host: {"auth": auth}}}))


def log_in_by_helper(folder: Path, host: str) -> Path:
    """Write a ``config.json`` that names a helper, and the helper; the folder to have on PATH."""
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"credHelpers": {host: "fraisier-test"}}))
    told = json.dumps({"ServerURL": host, "Username": USER, "Secret": PASSWORD})
    helper = folder / "docker-credential-fraisier-test"
    helper.write_text(f"#!/bin/sh\n[ \"$1\" = get ] && echo '{told}'\n")
    helper.chmod(0o755)
    return folder


def path_with(folder: Path) -> str:
    """PATH with a folder before all others."""
    return f"{folder}{os.pathsep}{os.environ['PATH']}"
