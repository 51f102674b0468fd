"""What can go wrong at a target.

::

    ProviderError
    ├── ConnectFailed          (may be tried again)
    ├── CommandUnknown         (may be tried again: the connection was lost, the effect is not known)
    ├── TargetBusy             (may be tried again: another step holds the target's lock)
    ├── HostKeyRejected
    ├── AuthenticationFailed
    ├── SshConfigInvalid
    ├── CommandFailed
    ├── PreflightFailed
    ├── ArtifactRejected
    ├── ReleaseMissing
    ├── SecretMissing
    ├── TrafficRefused
    ├── DatabaseRefused
    └── StaleToken

Every message names the target, what happened and the way out. No field ever holds a secret.
"""

from typing import ClassVar

LAST_LINES = "; its last lines:\n"
"""Stands in a message between what went wrong and the last lines that the target wrote."""


class ProviderError(Exception):
    """Base of every error of a provider.

    Attributes:
        target: the host or engine.
        step: the step under way, or an empty string.
    """

    retryable: ClassVar[bool] = False
    """Whether the same step may succeed later with nothing changed by people."""

    def __init__(self, message: str, *, target: str, step: str = "") -> None:
        super().__init__(message)
        self.target = target
        self.step = step


class ConnectFailed(ProviderError):
    """The target did not answer in time or refused the connection."""

    retryable = True


class HostKeyRejected(ProviderError):
    """The host's key, or the engine's certificate, is unknown or is not the one on file."""


class AuthenticationFailed(ProviderError):
    """No credential opened the target."""


class SshConfigInvalid(ProviderError):
    """OpenSSH's configuration on the worker is not there or cannot be read."""


class CommandFailed(ProviderError):
    """A command ended with a status other than 0.

    Attributes:
        command: the argument list, joined for people; secrets never stand in it.
        exit_status: what the command returned.
        tail: the last lines of its output, at most 4 KB.
    """

    def __init__(
        self, message: str, *, target: str, command: str, exit_status: int | None, tail: str = "", step: str = ""
    ) -> None:
        super().__init__(message, target=target, step=step)
        self.command = command
        self.exit_status = exit_status
        self.tail = tail


class CommandUnknown(CommandFailed):
    """The connection was lost during a command: it may have had its effect or not."""

    retryable = True


class PreflightFailed(ProviderError):
    """The target cannot take the release; nothing was changed.

    Attributes:
        reasons: all that was found wrong, one sentence each.
    """

    def __init__(self, *, target: str, reasons: tuple[str, ...]) -> None:
        super().__init__(f"{target}: " + "; ".join(reasons), target=target, step="preflight")
        self.reasons = reasons


class ArtifactRejected(ProviderError):
    """The artifact is missing, has another digest, or holds something that may not be unpacked."""


class ReleaseMissing(ProviderError):
    """The release to return to is not kept on the target any more."""


class SecretMissing(ProviderError):
    """A secret is not where its reference says."""


class TrafficRefused(ProviderError):
    """A proxy did not take a target out of its traffic, or did not take it back in."""


class DatabaseRefused(ProviderError):
    """A database does not let a migration take its lock or keep its record there."""


class TargetBusy(ProviderError):
    """Another step held the target's lock for too long."""

    retryable = True


class StaleToken(ProviderError):
    """A newer attempt has already acted on the target: this one may not."""
