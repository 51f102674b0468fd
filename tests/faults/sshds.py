"""Hosts that OpenSSH's own servers let into."""

import asyncio
import contextlib
import getpass
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

READY_S = 60.0
CONFIG = """\
ListenAddress 127.0.0.1:{port}
HostKey {own}/host_key
AuthorizedKeysFile {own}/authorized
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
PidFile {own}/pid
SetEnv HOME={own}/home
ForceCommand cd {own}/home && exec /bin/sh -c "$SSH_ORIGINAL_COMMAND"
"""


def find_sshd() -> str | None:
    """OpenSSH's server; None where it is not installed."""
    return shutil.which("sshd", path="/usr/sbin:/usr/local/sbin")


class Sshds:
    """A server a host, whose user is whoever runs this.

    Args:
        folder: that `tests.faults.hosts.prepare` has filled.
        names: the hosts.
    """

    def __init__(self, folder: Path, names: list[str]) -> None:
        self._folder, self._names = folder, names
        self._running: list[subprocess.Popen[bytes]] = []
        self.username = getpass.getuser()
        self.unlock()
        ports = json.loads((folder / "ports.json").read_text())
        for name in names:
            (folder / name / "home").mkdir(exist_ok=True)
            (folder / name / "sshd_config").write_text(CONFIG.format(port=ports[name], own=folder / name))

    async def start(self) -> None:
        """Start them all, and wait until they listen."""
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # where they lock themselves in before a login
        program = find_sshd()
        assert program is not None
        for name in self._names:
            own = self._folder / name
            with (own / "sshd.log").open("wb") as log:
                command = [program, "-D", "-e", "-f", str(own / "sshd_config")]
                self._running.append(subprocess.Popen(command, stdin=log, stderr=log))  # noqa: ASYNC220
        end = time.monotonic() + READY_S
        while not all("Server listening" in (self._folder / name / "sshd.log").read_text() for name in self._names):
            assert time.monotonic() < end, "the sshds do not listen"
            await asyncio.sleep(0.05)

    async def kill(self) -> None:
        """Kill them with all their logins; what was begun there goes on."""
        for server in self._running:
            for pid in [*_logins(server.pid), server.pid]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            await asyncio.to_thread(server.wait)
        self._running.clear()

    def lock(self, name: str) -> None:
        """Let nobody in any more."""
        (self._folder / name / "authorized").write_text("")

    def unlock(self) -> None:
        """Let our key in everywhere."""
        for name in self._names:
            shutil.copy(self._folder / "client_key.pub", self._folder / name / "authorized")


def _logins(pid: int) -> Iterator[int]:
    """The processes of a server's logins, not what they run."""
    for child in _text(f"/proc/{pid}/task/{pid}/children").split():
        if _text(f"/proc/{child}/comm").startswith("sshd"):
            yield from _logins(int(child))
            yield int(child)


def _text(file: str) -> str:
    try:
        return Path(file).read_text()
    except OSError:
        return ""
