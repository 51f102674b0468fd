"""The loop between the streams and the registry: durable pull consumers, acknowledged after the handlers."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING

import nats.errors
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.errors import APIError

from fraisier.nats.errors import EventInvalid
from fraisier.nats.events import Event
from fraisier.nats.streams import STREAMS
from fraisier.nats.subscribers import HandlersFailed

if TYPE_CHECKING:
    from nats.aio.msg import Msg

    from fraisier.nats.bus import NatsEventBus

logger = logging.getLogger(__name__)

BATCH = 32
FETCH_S = 5
"""Short, because a fetch that a server's death cut off waits its whole time."""

ACK_WAIT_S = 60
DELIVERIES = 5
REDELIVERY_S = 2.0
PAUSE_S = 1.0


class Consumers:
    """One durable consumer a stream.

    Args:
        bus: its client is connected.
        handle: called with each event; an exception leaves it unacknowledged, so that it comes again.
        durable: the consumers' name.
    """

    def __init__(self, bus: "NatsEventBus", handle: Callable[[Event], Awaitable[None]], *, durable: str) -> None:
        self._bus = bus
        self._handle = handle
        self._durable = durable
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = asyncio.Event()

    async def start(self) -> None:
        """Create the consumers and begin."""
        await self._bus.ensure_streams()
        for stream in STREAMS.values():
            subscription = await self._subscribe(stream)
            self._tasks.append(asyncio.create_task(self._run(stream, subscription), name=f"consume {stream}"))

    async def stop(self) -> None:
        """End after what is being handled."""
        self._stopping.set()
        await asyncio.gather(*self._tasks)

    async def _subscribe(self, stream: str) -> JetStreamContext.PullSubscription:
        config = ConsumerConfig(
            durable_name=self._durable,
            ack_policy=AckPolicy.EXPLICIT,
            deliver_policy=DeliverPolicy.NEW,
            ack_wait=ACK_WAIT_S,
            max_deliver=DELIVERIES,
        )
        js = self._bus.client.jetstream
        await js.add_consumer(stream, config)
        return await js.pull_subscribe_bind(stream=stream, durable=self._durable)

    async def _run(self, stream: str, subscription: JetStreamContext.PullSubscription) -> None:
        while not self._stopping.is_set():
            fetch = asyncio.create_task(subscription.fetch(BATCH, timeout=FETCH_S))
            stop = asyncio.create_task(self._stopping.wait())
            await asyncio.wait({fetch, stop}, return_when=asyncio.FIRST_COMPLETED)
            stop.cancel()
            if not fetch.done():
                fetch.cancel()
                with suppress(asyncio.CancelledError, nats.errors.Error):
                    await fetch
                return
            try:
                for message in fetch.result():
                    await self._one(message)
            except (nats.errors.TimeoutError, asyncio.TimeoutError):
                continue  # nothing came in time
            except (APIError, nats.errors.Error) as error:
                logger.warning("reading %s waits for NATS: %s", stream, str(error) or type(error).__name__)
                await asyncio.sleep(PAUSE_S)

    async def _one(self, message: "Msg") -> None:
        delivered = message.metadata.num_delivered or 1
        try:
            await self._handle(Event.from_json(message.data, sequence=message.metadata.sequence.stream))
        except EventInvalid:
            logger.exception("%s is no event and is left aside", message.subject)
            await message.term()
        except HandlersFailed as failed:
            if delivered >= DELIVERIES:
                logger.error("%s is given up after %d deliveries: %s", message.subject, delivered, failed)  # noqa: TRY400
                await message.term()
            else:
                await message.nak(delay=REDELIVERY_S * delivered)
        else:
            await message.ack()
