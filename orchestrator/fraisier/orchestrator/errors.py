"""Errors with an exit code: each is one message that names what, where and the way out."""

from enum import IntEnum


class ExitCode(IntEnum):
    """What a command's exit status says."""

    OK = 0
    FAILED = 1
    INVALID = 2
    UNREACHABLE = 3
    REFUSED = 4
    ROLLOUT_FAILED = 5
    ROLLED_BACK = 6
    CANCELLED = 7
    CHANGES = 8
    INTERRUPTED = 130


class CommandError(Exception):
    """A command cannot do what it was asked.

    Attributes:
        code: the exit status.
    """

    code = ExitCode.FAILED


class Invalid(CommandError):
    """The environment or the command line does not do."""

    code = ExitCode.INVALID


class Unreachable(CommandError):
    """NATS or Temporal does not answer."""

    code = ExitCode.UNREACHABLE


class Refused(CommandError):
    """It makes no sense now: another rollout is open, there is none, nobody works, or the verb does not fit."""

    code = ExitCode.REFUSED
