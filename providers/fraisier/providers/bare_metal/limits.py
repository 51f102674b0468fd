"""A command that its host bounds by itself, so that none that hangs stays there, whoever is still connected."""

import math
import re
from collections.abc import Iterable
from importlib.resources import files

LATE = 124
"""The status of a command that was ended because its time was over."""

GRACE_S = 1
"""How long a command that hangs may take to end when it is asked to, in seconds."""


def compact(name: str) -> str:
    """One of the shell files without its comments and its indentation, which a host would read for nothing."""
    return re.sub(r"^ *(#.*\n)?|\n(?=\n)", "", (files(__package__) / name).read_text(), flags=re.MULTILINE)


LIMIT = compact("limit.sh")


def limited(argv: Iterable[str], seconds: float) -> list[str]:
    """An argument list that runs another one for so many seconds, rounded up; then that one ends with `LATE`.

    >>> limited(["sleep", "600"], 2.5)[3:]
    ['limited', '3', 'sleep', '600']
    """
    bounded = f'{LIMIT}\ntime_limit=$1 grace={GRACE_S}\nshift\nlimited "$@"'
    return ["sh", "-c", bounded, "limited", str(max(1, math.ceil(seconds))), *argv]
