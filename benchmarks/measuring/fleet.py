"""Hosts to deploy to: OpenSSH servers on loopback addresses of their own, with roots in memory where there is room."""

import contextlib
import getpass
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

NETWORK = "127.1.0."
PORT = 2222
MOST = 254
"""Addresses of the network that hosts can have."""
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 (a hundred real hosts do not share one disk, so these do not either)
ROOM_BYTES = 3 << 30
STARTED_WITHIN_S = 20
SSHD_OPTIONS = """\
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
StrictModes no
MaxStartups 1000
UseDNS no
PrintMotd no
PrintLastLog no
LogLevel ERROR
Subsystem sftp internal-sftp
"""


@dataclass(frozen=True)
class Fleet:
    """Running hosts and what opens them.

    Attributes:
        addresses: one a host, all on `PORT`.
        folder: holds a folder a host, the home of whoever logs in, so that
            no shell reads the start files of whoever runs the benchmark.
        username: who logs in: whoever runs the benchmark.
    """

    addresses: tuple[str, ...]
    folder: Path
    key: Path
    known_hosts: Path
    username: str

    def root(self, address: str) -> Path:
        """The host's folder."""
        return self.folder / address


@contextlib.contextmanager
def running_fleet(count: int) -> Iterator[Fleet]:
    """So many hosts for as long as the block runs."""
    roomy = SHARED_MEMORY.is_dir() and shutil.disk_usage(SHARED_MEMORY).free > ROOM_BYTES
    with tempfile.TemporaryDirectory(dir=SHARED_MEMORY if roomy else None, prefix="fraisier-bench-") as name:
        folder = Path(name)
        fleet = _prepared(folder, tuple(f"{NETWORK}{number}" for number in range(1, count + 1)))
        servers: dict[str, subprocess.Popen[bytes]] = {}
        try:
            for address in fleet.addresses:
                servers[address] = _start(fleet, address)
            _wait_for(fleet, servers)
            yield fleet
        finally:
            for server in servers.values():
                server.terminate()
            for server in servers.values():
                server.wait()


def sshd_version() -> str:
    """What the hosts run."""
    return subprocess.run(["ssh", "-V"], capture_output=True, text=True, check=True).stderr.strip()


def _prepared(folder: Path, addresses: tuple[str, ...]) -> Fleet:
    for name in ("client_key", "host_key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    public = " ".join((folder / "host_key.pub").read_text().split()[:2])
    (folder / "known_hosts").write_text("".join(f"[{address}]:{PORT} {public}\n" for address in addresses))
    for address in addresses:
        (folder / address).mkdir()
        (folder / f"{address}.conf").write_text(
            f"ListenAddress {address}:{PORT}\nPidFile {folder / address}.pid\nHostKey {folder / 'host_key'}\n"
            f"AuthorizedKeysFile {folder / 'client_key.pub'}\nSetEnv HOME={folder / address}\n{SSHD_OPTIONS}"
        )
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    return Fleet(addresses, folder, folder / "client_key", folder / "known_hosts", getpass.getuser())


def _start(fleet: Fleet, address: str) -> subprocess.Popen[bytes]:
    program = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        sys.exit("there is no sshd: apt-get install openssh-server (it need not run)")
    command = [program, "-D", "-e", "-f", str(fleet.folder / f"{address}.conf")]
    with (fleet.folder / f"{address}.log").open("wb") as said:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=said)


def _wait_for(fleet: Fleet, servers: dict[str, subprocess.Popen[bytes]]) -> None:
    deadline = time.monotonic() + STARTED_WITHIN_S
    while late := [address for address in servers if not (fleet.folder / f"{address}.pid").exists()]:
        if time.monotonic() > deadline or all(servers[address].poll() is not None for address in late):
            said = (fleet.folder / f"{late[0]}.log").read_text(errors="replace").strip()
            sys.exit(
                f"sshd has not started on {', '.join(late)}; {late[0]} said:\n{said}\n"
                f"another benchmark may hold port {PORT} of 127.1.0.x: run one at a time"
            )
        time.sleep(0.05)
