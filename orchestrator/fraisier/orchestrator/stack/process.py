"""Starts and ends processes that outlive the one that started them, and never mistakes another for them."""

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict

POLL_S = 0.05
KILL_WAIT_S = 5.0


class Process(BaseModel):
    """A process by its number and its birth, since numbers are used again.

    Attributes:
        pid: its number.
        birth: when it began, as the system writes it; the same for the process's whole life.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    pid: int
    birth: str

    @property
    def alive(self) -> bool:
        """Whether this very process still runs."""
        _reap(self.pid)
        return birth_of(self.pid) == self.birth


def spawn(argv: Sequence[str], *, env: Mapping[str, str], log: Path) -> Process:
    """Start a process in a session of its own, all its output in a log file that only its owner reads.

    Raises:
        OSError: it cannot be run.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    pid = os.posix_spawn(
        argv[0],
        list(argv),
        env,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), flags, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
    )
    return Process(pid=pid, birth=birth_of(pid) or "ended at once")


async def end(process: Process, *, grace_s: float) -> None:
    """Ask a process to end, and kill it when `grace_s` seconds were not enough. Idempotent."""
    for number, patience_s in ((signal.SIGTERM, grace_s), (signal.SIGKILL, KILL_WAIT_S)):
        if not process.alive:
            return
        os.kill(process.pid, number)
        await _gone(process, patience_s)


async def _gone(process: Process, patience_s: float) -> None:
    deadline = time.monotonic() + patience_s
    # Not our child perhaps, so there is nothing to wait on but its number.
    while process.alive and time.monotonic() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(POLL_S)


def birth_of(pid: int) -> str | None:
    """When the process with this number began, or None when there is none or it has ended."""
    stat = Path(f"/proc/{pid}/stat")
    if not Path("/proc/self/stat").exists():
        return _birth_by_ps(pid)
    try:
        # The name in parentheses may hold anything, so fields are counted from its end.
        fields = stat.read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, ticks = fields[0], fields[19]
    return None if state in "ZX" else f"{ticks}@{_boot()}"


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _birth_by_ps(pid: int) -> str | None:
    said = subprocess.run(["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    state, _, began = said.stdout.strip().partition(" ")
    return None if not began or state.startswith("Z") else began.strip()


def _reap(pid: int) -> None:
    """Take an ended child's status, so that it does not linger while its parent lives."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return  # started by an earlier command: the system reaps it
