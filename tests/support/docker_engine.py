"""A Docker engine for the session: the one that answers, or one started by hand and ended after."""

import asyncio
import contextlib
import fcntl
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import pytest

from fraisier.orchestrator.launcher import find_server

START_S = 60.0


@dataclass(frozen=True)
class Engine:
    """A Docker engine that answers.

    Attributes:
        url: where it answers, as ``DOCKER_HOST`` writes it.
        cgroups: the version of its control groups, ``1`` or ``2``.
    """

    url: str
    cgroups: str

    def run(self, *arguments: str, stdin: bytes | None = None, check: bool = True) -> str:
        """Run ``docker`` with these arguments and return what it prints; a failure shows all that it said."""
        return docker(arguments, stdin=stdin, check=check)


def docker(arguments: Sequence[str], *, stdin: bytes | None = None, check: bool = True) -> str:
    """Run ``docker``; unless told otherwise, a failure is an AssertionError with its words."""
    done = subprocess.run(["docker", *arguments], input=stdin, capture_output=True, check=False)
    assert not check or done.returncode == 0, f"docker {' '.join(arguments)}: {done.stderr.decode(errors='replace')}"
    return done.stdout.decode(errors="replace")


@pytest.fixture(scope="session")
def docker_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """The machine's engine; where none answers and this is root, one of the session's own."""
    with running_engine(tmp_path_factory.mktemp("dockerd")) as engine:
        yield engine


@pytest.fixture(scope="session")
def compose_plugin(docker_engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The docker command has the machine's plugin, else the launcher's; also in the processes of tests."""
    with pytest.MonkeyPatch.context() as patched:
        if subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode != 0:
            folder = tmp_path_factory.mktemp("docker-config")
            (folder / "cli-plugins").mkdir()
            (folder / "cli-plugins" / "docker-compose").symlink_to(asyncio.run(find_server("docker-compose")).path)
            patched.setenv("DOCKER_CONFIG", str(folder))
        yield


@contextmanager
def running_engine(folder: Path) -> Iterator[Engine]:
    """An engine for the block; one that had to be started has its log in `folder` and is ended after.

    The processes that tests are spread over share it: whoever has started it ends it after all others are done.
    """
    with (Path(tempfile.gettempdir()) / f"fraisier-dockerd-{os.getuid()}.used").open("w") as used:
        fcntl.flock(used, fcntl.LOCK_SH)
        with contextlib.nullcontext() if _answers() else _started(folder / "dockerd.log", used):
            yield _engine()


def _answers() -> bool:
    return (
        bool(shutil.which("docker"))
        and subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0
    )


def _engine() -> Engine:
    endpoint = docker(["context", "inspect", "--format", "{{.Endpoints.docker.Host}}"]).strip()
    return Engine(
        url=os.environ.get("DOCKER_HOST", endpoint),
        cgroups=docker(["info", "--format", "{{.CgroupVersion}}"]).strip(),
    )


@contextmanager
def _started(log: Path, used: TextIO) -> Iterator[None]:
    dockerd = shutil.which("dockerd") or shutil.which("dockerd", path="/usr/sbin:/sbin")
    if dockerd is None or os.geteuid() != 0:
        pytest.fail("no Docker engine answers: `make test` installs one; or start yours and give this user access")
    with log.open("wb") as out:
        daemon = subprocess.Popen([dockerd], stdout=out, stderr=out, start_new_session=True)
    try:
        _wait(daemon, log)
        yield
    finally:
        fcntl.flock(used, fcntl.LOCK_EX)
        daemon.terminate()
        daemon.wait(START_S)


def _wait(daemon: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + START_S
    while not _answers():
        assert daemon.poll() is None, f"dockerd ended: {log.read_text()[-2000:]}"
        assert time.monotonic() < deadline, f"dockerd does not answer: {log.read_text()[-2000:]}"
        time.sleep(0.2)
