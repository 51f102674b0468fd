"""Runs a command that must not outlive whoever started it: when that one is gone, all of its group is killed.

It is run as a file, so it knows nothing of Fraisier. Its input is a pipe that its starter holds open and that nobody
writes to: the kernel closes it, whatever the starter died of, on any Unix.
"""

import os
import signal
import subprocess
import sys
import threading

NOT_STARTED = 127
SIGNALLED = 128


def main() -> int:
    """Run the command that the arguments are, and end as it did, in a shell's way of telling."""
    # It waits for what the command makes of it; a handler, unlike an ignored signal, is not inherited.
    signal.signal(signal.SIGTERM, lambda *_: None)
    threading.Thread(target=_until_alone, daemon=True).start()
    try:
        status = subprocess.run(sys.argv[1:], stdin=subprocess.DEVNULL, check=False).returncode
    except (OSError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return NOT_STARTED
    return status if status >= 0 else SIGNALLED - status


def _until_alone() -> None:
    os.read(sys.stdin.fileno(), 1)
    os.killpg(os.getpid(), signal.SIGKILL)  # it was made the leader of a group


if __name__ == "__main__":
    sys.exit(main())
