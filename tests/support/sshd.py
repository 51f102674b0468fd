"""OpenSSH's own server on loopback, run by whoever runs the tests: for what only the real one does."""

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

START_S = 20.0
ADDRESS = "127.0.0.1"


@dataclass(frozen=True)
class Sshd:
    """A server that lets its own user in.

    Attributes:
        folder: its keys: ``host_key``, and ``client_key``, which opens it.
        port: where it listens on loopback.
        known_hosts_line: the line that makes it known.
    """

    folder: Path
    port: int
    known_hosts_line: str

    @property
    def username(self) -> str:
        return getpass.getuser()

    def log(self) -> str:
        """What it has logged."""
        return (self.folder / "log").read_text()


def keygen(*arguments: str) -> None:
    """Run ``ssh-keygen``, silently."""
    subprocess.run(["ssh-keygen", "-q", *arguments], check=True, stdout=subprocess.DEVNULL)


@contextmanager
def running_sshd(folder: Path, *settings: str) -> Iterator[Sshd]:
    """A server for the block.

    Args:
        folder: for its keys and its log.
        settings: lines of its configuration that go before the usual ones.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for key in ("host_key", "client_key"):
        if not (folder / key).exists():
            keygen("-t", "ed25519", "-N", "", "-C", key, "-f", str(folder / key))
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # where it locks itself in before the login
    port = _free_port()
    (folder / "config").write_text(
        "\n".join(
            [
                *settings,
                f"ListenAddress {ADDRESS}:{port}",
                f"HostKey {folder}/host_key",
                f"AuthorizedKeysFile {folder}/client_key.pub",
                "StrictModes no",
                "PasswordAuthentication no",
                "KbdInteractiveAuthentication no",
                "UsePAM no",
                f"PidFile {folder}/pid",
                "LogLevel VERBOSE",
                "",
            ]
        )
    )
    program = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin") or pytest.fail("no sshd here: `make test`")
    with (folder / "log").open("ab") as log:
        server = subprocess.Popen([program, "-D", "-e", "-f", str(folder / "config")], stderr=log, stdin=log)
    try:
        _wait(server, folder, port)
        kind, key = (folder / "host_key.pub").read_text().split()[:2]
        yield Sshd(folder, port, f"[{ADDRESS}]:{port} {kind} {key}\n")
    finally:
        server.terminate()
        server.wait(START_S)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind((ADDRESS, 0))
        port: int = found.getsockname()[1]
        return port


def _wait(server: "subprocess.Popen[bytes]", folder: Path, port: int) -> None:
    deadline = time.monotonic() + START_S
    while True:
        said = (folder / "log").read_text()
        assert server.poll() is None, f"sshd ended: {said}"
        assert time.monotonic() < deadline, f"sshd does not answer: {said}"
        if f"port {port}" in said:
            return
        time.sleep(0.02)
