"""The freeze of all services: one key that every rollout reads before it starts a region."""

import asyncio
import logging
from datetime import datetime, timezone
from typing import TYPE_CHECKING

import nats.errors
from nats.js import JetStreamContext
from nats.js.errors import APIError, BucketNotFoundError, NoStreamResponseError, NotFoundError
from nats.js.kv import KeyValue
from pydantic import BaseModel, ConfigDict, ValidationError

from fraisier.nats.away import raise_if_hopeless
from fraisier.nats.config import StreamConfig
from fraisier.nats.errors import EventInvalid, NatsConnectionError, PermissionDenied

if TYPE_CHECKING:
    from fraisier.nats.client import NatsClient

logger = logging.getLogger(__name__)

BUCKET = "fraisier-freeze"
STREAM = f"KV_{BUCKET}"
KEY = "all"
KEPT = 64
"""How many of its changes the bucket keeps."""

WAIT_S = 1.0


class Freeze(BaseModel):
    """Whether regions of any service may start, and who said so.

    Attributes:
        on: whether none may.
        by: who said it.
        since: when, by the sender's clock, in UTC.
        reason: why.
    """

    model_config = ConfigDict(frozen=True)

    on: bool
    by: str = ""
    since: datetime
    reason: str = ""


async def set_freeze(client: "NatsClient", *, on: bool, by: str, reason: str = "") -> Freeze:
    """Let no region of any service start, nor its next batch, or let them again; a batch that runs goes on.

    Args:
        client: connected.
        on: whether none may start.
        by: who says so.
        reason: why; everybody who waits is told.

    Raises:
        PermissionDenied: this user may not.
        NatsConnectionError: NATS is away.
    """
    freeze = Freeze(on=on, by=by, since=datetime.now(timezone.utc).replace(microsecond=0), reason=reason)
    try:
        bucket = await open_freezes(client.jetstream)
        await bucket.put(KEY, freeze.model_dump_json().encode())
    except (NoStreamResponseError, APIError, nats.errors.Error, asyncio.TimeoutError) as error:
        raise_if_refused(client, error)
        raise NatsConnectionError(f"the freeze could not be stored: {error}; try again") from error
    return freeze


async def read_freeze(client: "NatsClient") -> Freeze | None:
    """What was said last; None when nobody ever froze anything. Waits while NATS is away.

    Raises:
        PermissionDenied: this user may not read it.
        EventInvalid: somebody has stored something else under the key.
    """
    while True:
        try:
            stored = await client.jetstream.get_last_msg(STREAM, f"$KV.{BUCKET}.{KEY}")
        except NotFoundError:
            return None
        except (APIError, nats.errors.Error, asyncio.TimeoutError, OSError) as error:
            raise_if_refused(client, error)
            raise_if_hopeless(client, error, STREAM)
            logger.warning("the freeze cannot be read, NATS is away: %s", str(error) or type(error).__name__)
            await asyncio.sleep(WAIT_S)
            continue
        try:
            return Freeze.model_validate_json(stored.data or b"")
        except ValidationError as error:
            why = f"{BUCKET} holds no freeze under {KEY}; set it anew with fraisier freeze on or off"
            raise EventInvalid(why) from error


async def open_freezes(js: JetStreamContext, config: StreamConfig | None = None) -> KeyValue:
    """The bucket; made where there is none, with as many replicas as the streams, by default the environment's."""
    try:
        return await js.key_value(BUCKET)
    except BucketNotFoundError:
        replicas = (config or StreamConfig()).replicas
        return await js.create_key_value(bucket=BUCKET, history=KEPT, replicas=replicas)


def raise_if_refused(client: "NatsClient", error: Exception) -> None:
    """Raise that the server refused, where it said so."""
    refused = client.refusal("$JS.API.", f"$KV.{BUCKET}")
    if refused is not None:
        raise PermissionDenied(
            f"this NATS user may not use the freeze in {BUCKET}: {refused}. In the production set-up `freezers` set "
            "it and workers read it (docs/production.md)"
        ) from error
    if isinstance(error, NatsConnectionError):
        raise error
