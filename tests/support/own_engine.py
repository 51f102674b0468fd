"""A Docker engine of a test's own, beside the machine's: it may be killed, stopped, and asked over TLS.

Its tests are not marked ``docker``: they wait for nobody who uses the machine's.
"""

import io
import ipaddress
import json
import os
import secrets
import shutil
import signal
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.support.docker_engine import docker

START_S = 120.0
TOOLS = ("sh", "cat", "echo", "httpd", "mkdir", "sleep")
SERVE = """\
trap 'exit 0' TERM
mkdir -p /www && echo {version} >/www/health && echo api {version} starts
httpd -f -p "${{PORT:-8080}}" -h /www & wait
"""


class OwnEngine:
    """``dockerd`` with folders, a socket and a bridge of its own.

    Args:
        folder: holds all of it; a short path, for the socket's sake.
        arguments: more arguments for dockerd.
    """

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.folder = folder
        self.socket = folder / "docker.sock"
        self.url = f"unix://{self.socket}"
        self._bridge = f"frt{secrets.token_hex(4)}"
        self._arguments = arguments
        self._process: subprocess.Popen[bytes] | None = None

    def run(self, *arguments: str, stdin: bytes | None = None, check: bool = True) -> str:
        """Run ``docker`` at this engine."""
        return docker(("--host", self.url, *arguments), stdin=stdin, check=check)

    def start(self) -> None:
        """Start it and wait until it answers."""
        program = shutil.which("dockerd") or shutil.which("dockerd", path="/usr/sbin:/sbin")
        if program is None:
            pytest.fail("there is no dockerd: `make setup-tests` installs it")
        if os.geteuid() != 0:
            pytest.skip("only root may start an engine of its own")
        if not self._process:
            self._lay_bridge()
        # Its own bridge, and no firewall: with --bridge=none a second dockerd removes the first one's docker0.
        own = ("--data-root", "data", "--exec-root", "exec", "--pidfile", "pid")
        network = ("--bridge", self._bridge, "--iptables=false", "--ip6tables=false", "--ip-masq=false")
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [program, *(self._here(one) for one in own), *network, "--host", self.url, *self._arguments],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_S
        while not self.run("version", check=False).count("Server"):
            assert self._process.poll() is None, self._log()
            assert time.monotonic() < deadline, self._log()
            time.sleep(0.1)

    def kill(self) -> None:
        """End it as a crash would, with its containerd."""
        self._signal(signal.SIGKILL)
        assert self._process is not None
        self._process.wait()
        written = self.folder / "exec" / "containerd" / "containerd.pid"
        containerd = int(written.read_text())
        with suppress(ProcessLookupError):
            os.kill(containerd, signal.SIGKILL)
        while _runs(containerd):
            time.sleep(0.01)
        written.unlink(missing_ok=True)  # where nobody buries the dead, dockerd would take it for alive

    def hang(self) -> None:
        """Let it answer nothing more."""
        self._signal(signal.SIGSTOP)

    def wake(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def revive(self) -> None:
        """Have it answer again, whatever a test has done to it."""
        if self._process is not None and self._process.poll() is None:
            self.wake()
        else:
            self.start()

    def end(self) -> None:
        """Remove all of it."""
        if self._process is not None and self._process.poll() is None:
            self.wake()
            self.run("rm", "--force", "--volumes", *self.run("ps", "--all", "--quiet").split(), check=False)
            self._process.terminate()
            self._process.wait()
        subprocess.run(["ip", "link", "delete", self._bridge], check=False)
        for mount in _mounts_below(self.folder):
            subprocess.run(["umount", "--lazy", mount], check=True)

    def web_image(self, version: str) -> str:
        """An image of a few hundred kilobytes that serves its version at /health, once a version."""
        name = f"own-api:{version}"
        if not self.run("images", "--quiet", name).strip():
            with tempfile.TemporaryDirectory() as folder:
                archive = pack(Path(folder) / "root.tar", version)
                command = json.dumps(["sh", "-c", SERVE.format(version=version)])
                self.run("import", "--change", f"CMD {command}", "-", name, stdin=archive.read_bytes())
        return name

    def _here(self, argument: str) -> str:
        return argument if argument.startswith("--") else str(self.folder / argument)

    def _signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def _lay_bridge(self) -> None:
        network = ipaddress.ip_network(f"10.{200 + secrets.randbelow(50)}.{secrets.randbelow(256)}.0/24")
        subprocess.run(["ip", "link", "add", "name", self._bridge, "type", "bridge"], check=True)
        address = f"{next(network.hosts())}/{network.prefixlen}"
        subprocess.run(["ip", "address", "add", address, "dev", self._bridge], check=True)
        subprocess.run(["ip", "link", "set", self._bridge, "up"], check=True)

    def _log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")[-3000:]


@contextmanager
def own_engine(*arguments: str) -> Iterator[OwnEngine]:
    """An engine of the block's own."""
    folder = Path(tempfile.mkdtemp(prefix="frt-"))
    engine = OwnEngine(folder, *arguments)
    try:
        engine.start()
        yield engine
    finally:
        engine.end()
        shutil.rmtree(folder)


def pack(archive: Path, version: str) -> Path:
    """Write a root file system with next to nothing in it: busybox, its names, and a version that makes it another."""
    busybox = shutil.which("busybox")
    if busybox is None:
        pytest.fail("there is no busybox: `make setup-tests` installs it")
    with tarfile.open(archive, "w") as packed:
        packed.add(busybox, "bin/busybox")
        for name in TOOLS:
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            packed.addfile(link)
        told = tarfile.TarInfo("version")
        told.size = len(version)
        packed.addfile(told, io.BytesIO(version.encode()))
    return archive


def _runs(process: int) -> bool:
    """Whether it has not ended, whoever has yet to be told."""
    try:
        stat = Path(f"/proc/{process}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def _mounts_below(folder: Path) -> list[str]:
    mounts = (line.split()[1] for line in Path("/proc/mounts").read_text().splitlines())
    return [one for one in mounts if one.startswith(f"{folder}/")]
