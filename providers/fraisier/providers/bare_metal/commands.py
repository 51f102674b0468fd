"""What a command on a host is given, and what came of it."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Completed:
    """A command that ended, whatever its status.

    Attributes:
        output: the start of what it wrote to stdout.
        tail: the end of what it wrote to stderr.
    """

    exit_status: int
    output: str
    tail: str


@dataclass(frozen=True)
class Stdin:
    """What a command reads.

    Attributes:
        opening: the beginning.
        payload: a file that goes on from there, sent once the command has printed `cue`; without one a line is.
        cue: the line that asks for the payload; without it nothing is sent.
        held: it stays open while the command runs, which ends when it is closed.
    """

    opening: bytes = b""
    payload: Path | None = None
    cue: bytes = b""
    held: bool = False


CUE = b"fraisier send"
NOTHING = Stdin()
HELD = Stdin(cue=CUE, held=True)
