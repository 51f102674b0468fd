"""What can go wrong with events.

::

    EventError
    ├── EventInvalid         a body or a name that is no event of ours
    ├── EventConflict        another event is stored under the same ID
    ├── PermissionDenied     the server refuses this user the subject
    ├── StreamLimitExceeded  a stream is full; nothing is dropped, nothing more is taken
    ├── StreamDrift          a stream is not as configured
    └── WebhookRefused       a webhook did not take a notification
    ConnectionError (the builtin)
    └── NatsConnectionError  no server answered
    ValueError
    └── ConfigInvalid        a variable of the environment cannot be used
"""

from typing import ClassVar


class EventError(Exception):
    """Base of the event errors.

    Attributes:
        mendable: whether trying again helps once somebody has mended the server, with nothing else changed.
    """

    mendable: ClassVar[bool] = False


class EventInvalid(EventError):
    """A body or a name that is no event of ours."""


class EventConflict(EventError):
    """Another event is stored under the same ID."""


class PermissionDenied(EventError):
    """The server refuses this user the subject."""


class StreamLimitExceeded(EventError):
    """A stream is full.

    Attributes:
        stream: its name.
    """

    mendable = True

    def __init__(self, stream: str, why: str) -> None:
        self.stream = stream
        super().__init__(
            f"stream limit exceeded: {stream}: {why}. Nothing was dropped. Look at the disk (df -h), lower "
            f"NATS_*_EVENTS_RETENTION, raise NATS_STREAM_MAX_SIZE, or purge: nats stream purge {stream}"
        )


class StreamDrift(EventError):
    """A stream exists and cannot be made as configured."""

    mendable = True


class NotDurable(EventError):
    """A server acknowledges what it has not on its disk yet, or does not tell."""


class WebhookRefused(EventError):
    """A webhook did not take a notification."""


class ConfigInvalid(ValueError):
    """A variable has a value that cannot be used; the message names each, and shows no value that may be secret."""


class NatsConnectionError(ConnectionError):
    """No server answered."""

    mendable: ClassVar[bool] = True
