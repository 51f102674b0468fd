"""Bare-metal hosts for the session: containers that boot systemd and are reached by SSH, as a fleet is."""

import secrets
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.docker_engine import Engine
from tests.support.testbed import host_image

COUNT = 3
BOOT_S = 60.0
LIKE_A_HOST = {
    "1": ("--volume", "/sys/fs/cgroup:/sys/fs/cgroup:ro"),
    "2": ("--volume", "/sys/fs/cgroup:/sys/fs/cgroup:rw", "--cgroupns", "host"),
}
"""How systemd gets its control groups, by their version."""


@dataclass(frozen=True)
class SystemdHost:
    """A host that can be deployed to, and asked for the truth.

    Attributes:
        host: the address that its sshd answers at.
        port: its sshd's port.
        container: its container, for questions that do not go by SSH.
        username: who deploys: owns /opt/api and may start, stop and restart api.service with sudo.
        key_path: the private key that opens it.
        known_hosts: the file that holds its host key.
    """

    host: str
    port: int
    container: str
    username: str
    key_path: Path
    known_hosts: Path

    def run(self, *argv: str, check: bool = True) -> str:
        """Run a command on the host as root, not by way of SSH, and return what it prints."""
        done = subprocess.run(["docker", "exec", self.container, *argv], capture_output=True, text=True, check=False)
        assert not check or done.returncode == 0, f"{' '.join(argv)}: {done.stdout}{done.stderr}"
        return done.stdout


@pytest.fixture(scope="session")
def systemd_hosts(docker_engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[SystemdHost]]:
    """Three hosts, the same for the whole session; `clean_hosts` gives them back as they were."""
    folder = tmp_path_factory.mktemp("hosts")
    key = _make_key(folder)
    image = host_image(docker_engine)
    fleet = f"fraisier-test-{secrets.token_hex(4)}"
    names = [f"{fleet}-{number}" for number in range(1, COUNT + 1)]
    try:
        with ThreadPoolExecutor(COUNT) as pool:
            hosts = list(pool.map(lambda place: _boot(docker_engine, image, *place, key), enumerate(names, start=1)))
        (folder / "known_hosts").write_text("".join(_known_host(host) for host in hosts))
        yield hosts
    finally:
        docker_engine.run("rm", "--force", "--volumes", *names, check=False)


@pytest.fixture
def clean_hosts(systemd_hosts: list[SystemdHost]) -> list[SystemdHost]:
    """The hosts with nothing deployed and the service stopped."""
    for host in systemd_hosts:
        host.run("systemctl", "stop", "--job-mode=replace-irreversibly", "api.service")
        host.run("systemctl", "reset-failed")
        host.run("find", "/opt/api", "-mindepth", "1", "-delete")
    return systemd_hosts


def _make_key(folder: Path) -> Path:
    key = folder / "id_ed25519"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", str(key)], check=True)
    return key


def _boot(engine: Engine, image: str, number: int, name: str, key: Path) -> SystemdHost:
    address = f"127.0.11.{number}"
    port = _free_port(address)  # one that stays its own when it reboots
    engine.run(
        "run", "--detach", "--name", name, "--hostname", f"host{number}", "--publish", f"{address}:{port}:22",
        "--cap-add", "SYS_ADMIN", "--cap-add", "NET_ADMIN",
        "--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined",
        "--tmpfs", "/run", "--tmpfs", "/tmp", *LIKE_A_HOST[engine.cgroups], image,
    )  # fmt: skip
    host = SystemdHost(address, port, name, "deploy", key, key.with_name("known_hosts"))
    _wait_for_systemd(host)
    _authorise(engine, host)
    _wait_for_ssh(host)
    return host


def reboot(host: SystemdHost) -> None:
    """Pull the plug, and wait until the host is there again."""
    subprocess.run(["docker", "restart", "--time", "0", host.container], check=True, stdout=subprocess.DEVNULL)
    _wait_for_systemd(host)
    _wait_for_ssh(host)


def _free_port(address: str) -> int:
    with socket.socket() as found:
        found.bind((address, 0))
        port: int = found.getsockname()[1]
        return port


def _wait_for_systemd(host: SystemdHost) -> None:
    deadline = time.monotonic() + BOOT_S
    while (state := host.run("systemctl", "is-system-running", check=False).strip()) != "running":
        failed = host.run("systemctl", "--failed", check=False)
        assert state != "degraded", f"{host.container} booted with failures: {failed}"
        assert time.monotonic() < deadline, f"{host.container} is still {state or 'silent'}: {failed}"
        time.sleep(0.2)


def _authorise(engine: Engine, host: SystemdHost) -> None:
    public = host.key_path.with_suffix(".pub").read_bytes()
    write = "umask 077 && cat > ~/.ssh/authorized_keys"
    engine.run("exec", "--interactive", "--user", "deploy", host.container, "bash", "-lc", write, stdin=public)


def _wait_for_ssh(host: SystemdHost) -> None:
    deadline = time.monotonic() + BOOT_S
    while not _greets(host):
        assert time.monotonic() < deadline, f"{host.container}: no sshd answers at {host.host}:{host.port}"
        time.sleep(0.1)


def _greets(host: SystemdHost) -> bool:
    try:
        with socket.create_connection((host.host, host.port), timeout=2) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def _known_host(host: SystemdHost) -> str:
    """The host's key as the host itself holds it, so that nothing is trusted on first use."""
    kind, key = host.run("cat", "/etc/ssh/ssh_host_ed25519_key.pub").split()[:2]
    return f"[{host.host}]:{host.port} {kind} {key}\n"
