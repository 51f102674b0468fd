"""What can go wrong with the local stack.

::

    StackError
    ├── MemberFailed       a process of the stack ended or did not become ready
    └── StackNotRunning    there is no stack to talk to
"""

from pathlib import Path


class StackError(Exception):
    """Base of the local stack's errors."""


class MemberFailed(StackError):
    """A process of the stack ended, or did not become ready in time.

    Attributes:
        member: its name.
        log: its log file.
        port_taken: whether its log says that another program has its port.
    """

    def __init__(self, member: str, *, what: str, log: Path) -> None:
        super().__init__(f"{member} {what}. Its log {log} ends with:\n{(tail := _tail(log))}")
        self.member = member
        self.log = log
        self.port_taken = "address already in use" in tail


class StackNotRunning(StackError):
    """There is no stack to talk to."""


def _tail(log: Path, lines: int = 8) -> str:
    if not log.is_file():
        return "  (nothing)"
    last = log.read_text(errors="replace").splitlines()[-lines:]
    return "\n".join(f"  {line}" for line in last) or "  (nothing)"
