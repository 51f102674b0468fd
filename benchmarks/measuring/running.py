"""Runs one side and measures it: seconds from start to exit, CPU seconds, and memory at its peak (Linux)."""

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from typing_extensions import Self

EVERY_S = 0.1
LIMIT_S = 900
GRACE_S = 5
SHOWN = 2000
TICKS = os.sysconf("SC_CLK_TCK")
PAGE_MB = os.sysconf("SC_PAGE_SIZE") / (1 << 20)
QUIET, QUIET_WITHIN_S = 0.15, 5
IDLE = (3, 4)


@dataclass(frozen=True)
class Measured:
    """What a run cost on the controller's side.

    Attributes:
        seconds: from its start to its exit.
        cpu: CPU seconds of its processes.
        memory_mb: the highest sum over its processes, looked at every 100 ms; pages that forks share count for each.
    """

    seconds: float
    cpu: float
    memory_mb: float


def environment() -> dict[str, str]:
    """This process's, in which Python keeps what it compiled, as it does wherever it is installed."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def run(command: list[str], env: Mapping[str, str]) -> Measured:
    """Run a command to its end; one that fails ends the benchmark with what it said."""
    with tempfile.TemporaryFile() as said:
        began = time.perf_counter()
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, env=dict(env))
        limit = threading.Timer(LIMIT_S, process.kill)
        limit.start()
        try:
            with WatchedMemory(process.pid) as memory:
                _, status, used = os.wait4(process.pid, 0)  # `Popen.wait` with a timeout looks every 50 ms only
            seconds = time.perf_counter() - began
            process.returncode = os.waitstatus_to_exitcode(status)
        finally:
            limit.cancel()
            _end(process)
        if process.returncode != 0:
            said.seek(0)
            told = said.read().decode(errors="replace")[-SHOWN:]
            sys.exit(f"{' '.join(command)[:200]} ended with {process.returncode}:\n{told}")
        return Measured(seconds, used.ru_utime + used.ru_stime, memory.peak_mb)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process that an interrupted benchmark no longer waits for; one that does not heed it is killed."""
    process.terminate()
    try:
        process.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class WatchedMemory:
    """Watches the memory of a process and its descendants while the block runs.

    Args:
        pid: the process.
    """

    def __init__(self, pid: int) -> None:
        self.peak_mb = 0.0
        self._pid = pid
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while True:
            self.peak_mb = max(self.peak_mb, sum(_resident_mb(pid) for pid in _family(self._pid)))
            if self._over.wait(EVERY_S):
                return


def cpu_of(pid: int) -> float:
    """CPU seconds that a process has used until now."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def wait_until_quiet() -> bool:
    """Wait until nothing else uses the machine much, for some seconds at most; whether it is so."""
    deadline = time.monotonic() + QUIET_WITHIN_S
    while time.monotonic() < deadline:
        before = _busy()
        time.sleep(1)
        if (_busy() - before) / (os.cpu_count() or 1) < QUIET:
            return True
    return False


def _family(pid: int) -> Iterator[int]:
    yield pid
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return
    for child in children:
        yield from _family(int(child))


def _resident_mb(pid: int) -> float:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_MB
    except (OSError, IndexError):
        return 0.0


def _busy() -> float:
    """CPU seconds that the whole machine has worked until now."""
    spent = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return (sum(spent) - sum(spent[field] for field in IDLE)) / TICKS
