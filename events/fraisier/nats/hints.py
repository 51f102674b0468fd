"""Hints to look at a stream: core subscriptions, which prove nothing."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import nats.errors

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.aio.msg import Msg

logger = logging.getLogger(__name__)


@asynccontextmanager
async def hints(connection: "Client", subject: str) -> AsyncIterator[asyncio.Event]:
    """An event that is set whenever something is published to `subject`.

    A hint to look, never evidence: a subscriber also sees what the stream refused, and misses what comes before the
    other servers of a cluster know of it.
    """
    hint = asyncio.Event()

    async def wake(_: "Msg") -> None:
        hint.set()

    subscription = await connection.subscribe(subject, cb=wake)
    try:
        yield hint
    finally:
        try:
            await subscription.unsubscribe()
        except nats.errors.Error as error:
            logger.debug("a hint's subscription was gone already: %s", error)
