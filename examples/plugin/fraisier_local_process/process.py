"""A process that outlives whoever started it, and is known again by its ID and its start."""

import os
import shlex
import signal
import subprocess
import time
from pathlib import Path

from fraisier.providers.models import Model

GRACE_S = 5.0
LOOK_EVERY_S = 0.02


class Process(Model):
    """A process.

    Attributes:
        pid: its ID, which is also its group's.
        began: when the system says that it began: another process of this ID began at another time.
    """

    pid: int
    began: str

    @property
    def is_alive(self) -> bool:
        """Whether it runs."""
        return _began(self.pid) == self.began


def start(argv: tuple[str, ...], folder: Path, log: Path) -> Process:
    """Start a process; what it says goes to `log`."""
    # By way of a shell that ends at once: nobody here is its parent then, and nobody has to wait for it.
    line = f"setsid {shlex.join(argv)} </dev/null >>{shlex.quote(str(log))} 2>&1 & echo $!"
    told = subprocess.run(["sh", "-c", line], cwd=folder, stdout=subprocess.PIPE, text=True, check=True)
    pid = int(told.stdout)
    return Process(pid=pid, began=_began(pid))


def stop(process: Process) -> None:
    """End a process and all of its group, and wait until it is gone."""
    deadline = time.monotonic() + GRACE_S
    sent = signal.SIGTERM
    while process.is_alive:
        if time.monotonic() > deadline:
            sent = signal.SIGKILL
        try:
            os.killpg(process.pid, sent)
        except ProcessLookupError:
            return
        time.sleep(LOOK_EVERY_S)


def _began(pid: int) -> str:
    """When a process began; nothing when it is not there, or dead and not yet waited for."""
    said = subprocess.run(["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    state, _, began = said.stdout.strip().partition(" ")
    return "" if state.startswith("Z") else began.strip()
