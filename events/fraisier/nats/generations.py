"""Fencing generations: numbers that grow for ever, minted by a key-value bucket."""

import asyncio
import logging
from typing import TYPE_CHECKING

import nats.errors
from nats.js import JetStreamContext
from nats.js.errors import APIError, BucketNotFoundError, NoStreamResponseError
from nats.js.kv import KeyValue

from fraisier.nats.away import raise_if_hopeless
from fraisier.nats.config import StreamConfig
from fraisier.nats.errors import NatsConnectionError, PermissionDenied
from fraisier.nats.subjects import check_token

if TYPE_CHECKING:
    from fraisier.nats.client import NatsClient

logger = logging.getLogger(__name__)

BUCKET = "fraisier-generations"
STREAM = f"KV_{BUCKET}"
WAIT_S = 1.0


async def mint_generation(client: "NatsClient", service: str, *, note: str = "") -> int:
    """A number higher than every one minted before: the revision of a put. Waits while NATS is away.

    Args:
        client: connected.
        service: whose generation; the key.
        note: why, kept as the key's value.

    Raises:
        PermissionDenied: this user may mint none.
        ConnectionError: the connection was closed for good.
    """
    check_token("service", service)
    while True:
        try:
            bucket = await open_generations(client.jetstream)
            return await bucket.put(service, note.encode())
        except (NoStreamResponseError, APIError, nats.errors.Error, asyncio.TimeoutError, OSError) as error:
            refused = client.refusal("$JS.API.", f"$KV.{BUCKET}")
            if refused is not None:
                raise PermissionDenied(f"this NATS user may not mint generations in {BUCKET}: {refused}") from error
            if isinstance(error, NatsConnectionError):
                raise
            raise_if_hopeless(client, error, f"$KV.{BUCKET}.{service}")
            logger.warning("a generation waits for NATS: %s", str(error) or type(error).__name__)
        await asyncio.sleep(WAIT_S)


async def open_generations(js: JetStreamContext, config: StreamConfig | None = None) -> KeyValue:
    """The bucket; made where there is none, with as many replicas as the streams, by default the environment's."""
    try:
        return await js.key_value(BUCKET)
    except BucketNotFoundError:
        replicas = (config or StreamConfig()).replicas
        return await js.create_key_value(bucket=BUCKET, history=5, replicas=replicas)
