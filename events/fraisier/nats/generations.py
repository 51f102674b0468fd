"""Fencing generations: numbers that grow for ever, minted by a key-value bucket."""

import asyncio
import logging
from typing import TYPE_CHECKING

import nats.errors
from nats.js.errors import APIError, BucketNotFoundError, NoStreamResponseError

from fraisier.nats.errors import NatsConnectionError
from fraisier.nats.subjects import check_token

if TYPE_CHECKING:
    from fraisier.nats.client import NatsClient

logger = logging.getLogger(__name__)

BUCKET = "fraisier-generations"
WAIT_S = 1.0


async def mint_generation(client: "NatsClient", service: str, *, note: str = "") -> int:
    """A number higher than every one minted before: the revision of a put. Waits while NATS is away.

    Args:
        client: connected.
        service: whose generation; the key.
        note: why, kept as the key's value.
    """
    check_token("service", service)
    while True:
        try:
            js = client.jetstream
            try:
                bucket = await js.key_value(BUCKET)
            except BucketNotFoundError:
                bucket = await js.create_key_value(bucket=BUCKET, history=5)
            return await bucket.put(service, note.encode())
        except (NoStreamResponseError, APIError, nats.errors.Error, asyncio.TimeoutError, OSError) as error:
            if client.closed.is_set() or isinstance(error, NatsConnectionError):
                raise
            logger.warning("a generation waits for NATS: %s", str(error) or type(error).__name__)
        await asyncio.sleep(WAIT_S)
