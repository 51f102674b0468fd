"""A host with a real sshd whose network is the machine's, and from which an engine's socket is used."""

import secrets
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.providers.ssh_bench import free_port
from tests.support.docker_engine import Engine
from tests.support.testbed import host_image

START_S = 60.0
LISTEN = "127.0.12.1"
SOCKET = "/srv/docker.sock"


@dataclass(frozen=True)
class EngineHost:
    """Where it is, and who may enter.

    Attributes:
        address: ``ssh://user@host:port``.
        closed: the same host by an sshd that forwards no sockets.
        key: opens it.
        known_hosts: holds its key, under both ports.
        socket: the engine's socket there.
    """

    address: str
    closed: str
    key: Path
    known_hosts: Path
    socket: str = SOCKET


@contextmanager
def running_engine_host(engine: Engine, docker_socket: Path, folder: Path) -> Iterator[EngineHost]:
    """The host for the block; whoever enters it may use the socket."""
    docker_socket.chmod(0o666)
    key, name = folder / "id_ed25519", f"fraisier-test-{secrets.token_hex(4)}"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    ports = free_port(), free_port()
    try:
        engine.run(
            "run", "--detach", "--init=false", "--name", name, "--network", "host",
            "--volume", f"{docker_socket}:{SOCKET}", host_image(engine), "sleep", "infinity",
        )  # fmt: skip
        _run(engine, name, "ssh-keygen -A >/dev/null && mkdir -p /run/sshd")
        write = "umask 077 && cat >~deploy/.ssh/authorized_keys && chown deploy ~deploy/.ssh/authorized_keys"
        _run(engine, name, write, stdin=key.with_suffix(".pub").read_bytes())
        for port, forwards in zip(ports, ("yes", "no"), strict=True):
            sshd = f"-o ListenAddress={LISTEN} -o PidFile=none -o AllowStreamLocalForwarding={forwards}"
            _run(engine, name, f"/usr/sbin/sshd -p {port} {sshd}")
            _wait(port)
        public = " ".join(_run(engine, name, "cat /etc/ssh/ssh_host_ed25519_key.pub").split()[:2])
        known_hosts = folder / "known_hosts"
        known_hosts.write_text("".join(f"[{LISTEN}]:{port} {public}\n" for port in ports))
        addresses = [f"ssh://deploy@{LISTEN}:{port}" for port in ports]
        yield EngineHost(addresses[0], addresses[1], key, known_hosts)
    finally:
        engine.run("rm", "--force", "--volumes", name, check=False)


def _run(engine: Engine, name: str, script: str, stdin: bytes = b"") -> str:
    return engine.run("exec", "--interactive", name, "sh", "-c", script, stdin=stdin)


def _wait(port: int) -> None:
    deadline = time.monotonic() + START_S
    while True:
        try:
            with socket.create_connection((LISTEN, port), timeout=2) as connection:
                if connection.recv(4) == b"SSH-":
                    return
        except OSError:
            pass
        assert time.monotonic() < deadline, f"no sshd answers at {LISTEN}:{port}"
        time.sleep(0.1)
