"""Kills what the commands of an `SshHost` have left, once its own stdin ends: the host is stopped, or its process dead.

Each line that it reads is a command that began, by its process ID, or that has ended, with a minus before it. A command
has a session of its own, and what it leaves stays in that, whatever process groups are made.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path


def processes() -> dict[int, int]:
    """All processes with their sessions, each by its ID."""
    names = [path.name for path in Path("/proc").glob("[0-9]*")]
    if not names:  # no Linux
        names = subprocess.run(["ps", "-A", "-o", "pid="], capture_output=True, text=True, check=True).stdout.split()
    found = {}
    for pid in map(int, names):
        try:
            found[pid] = os.getsid(pid)
        except OSError:
            continue  # it has ended, or is somebody else's
    return found


def reap(began: set[int], ended: set[int]) -> None:
    """Kill all that is in the sessions of these commands, until nothing new is found there."""
    killed: set[int] = set()
    while True:
        found = processes()
        # As long as something is in a session, its number is nobody's: one that is there again is another's.
        sessions = began - {pid for pid in ended if pid in found}
        left = {pid for pid, session in found.items() if session in sessions} - killed
        if not left:
            return
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        killed |= left


def main() -> None:
    """Read to the end, then reap."""
    lines = [int(line) for line in sys.stdin]
    reap({pid for pid in lines if pid > 0}, {-pid for pid in lines if pid < 0})


if __name__ == "__main__":
    main()
