"""A server that does not answer, or refuses: what to tell people, and when waiting is of no use."""

import asyncio
from typing import TYPE_CHECKING, NoReturn

import nats.errors
from nats.js.errors import APIError, NoStreamResponseError

from fraisier.nats.errors import EventError, EventInvalid, NatsConnectionError, PermissionDenied, StreamLimitExceeded

if TYPE_CHECKING:
    from fraisier.nats.client import NatsClient

_ALREADY_THERE = (10071, 10164)
"""JetStream's codes for "the last sequence is not the expected one": something is stored under the subject."""

_LIMIT = 10077
"""JetStream's code for three different limits; only the description tells which."""

_TOO_BIG = 10054
"""JetStream's code for "message size exceeds maximum allowed"."""

_NOT_YET = (10158, 10167)
"""JetStream's codes for "duplicate message id is in process", which a cluster says while an earlier send of the same
event waits for its majority, and for "too many requests"."""

_NOT_READY = 500


def already_there(error: APIError) -> bool:
    """Whether a stream refused a message because there is one under its subject."""
    if error.err_code == _LIMIT:
        return "per subject" in (error.description or "")
    return error.err_code in _ALREADY_THERE


def raise_refusal(error: APIError, event_type: str, stream: str) -> NoReturn:
    """Raise what a stream's refusal of an event means.

    Raises:
        StreamLimitExceeded: the stream is full.
        EventInvalid: the event is too large for it.
        nats.errors.Error: the server is not ready; it will be.
        EventError: anything else.
    """
    if error.err_code == _LIMIT:
        raise StreamLimitExceeded(stream, error.description or "") from error
    if error.err_code == _TOO_BIG:
        raise EventInvalid(f"{event_type} is too large for {stream}: {error.description}") from error
    if error.err_code in _NOT_YET or (error.code and error.code >= _NOT_READY):
        raise nats.errors.Error(str(error)) from error
    raise EventError(f"{event_type} was refused by {stream}: {error.description}") from error


def why(client: "NatsClient", error: Exception, stream: str) -> str:
    """What is the matter, for people who wait."""
    if isinstance(error, NoStreamResponseError):
        return f"{stream} has no leader yet, or is gone: then bring it back from its backup"
    if isinstance(error, (nats.errors.TimeoutError, asyncio.TimeoutError)) and client.is_connected:
        return (
            "it is there but acknowledges nothing. If that goes on: is its disk full (df -h)? Make room and "
            "restart it, for JetStream does not go on by itself"
        )
    return str(error) or type(error).__name__


def raise_if_hopeless(client: "NatsClient", error: Exception, subject: str) -> None:
    """Raise what no waiting mends.

    Args:
        client: whose server did not answer.
        error: what came instead of an answer.
        subject: what was asked.

    Raises:
        PermissionDenied: the server refused the subject to this user.
        ConnectionError: the connection was closed for good.
    """
    refused = client.refusal(subject)
    if refused is not None:
        deed = "ask" if subject.startswith("$JS.") else "publish to"
        raise PermissionDenied(f"this NATS user may not {deed} {subject}: {refused}") from error
    if client.closed.is_set():
        raise NatsConnectionError(
            f"the connection to NATS was closed for good: {client.last_error or error}. "
            "Restart this process, or raise NATS_MAX_RECONNECT_ATTEMPTS (-1 tries for ever)"
        ) from error
