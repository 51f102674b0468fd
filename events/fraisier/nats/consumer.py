"""The loop between the streams and the registry: durable pull consumers, acknowledged after the handlers."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime, timezone
from typing import TYPE_CHECKING

import nats.errors
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.errors import APIError

from fraisier.nats.dead_letters import REPLAYS, DeadLetters
from fraisier.nats.delivery import Delivery, Handle
from fraisier.nats.errors import NatsConnectionError
from fraisier.nats.handling import NotStarted
from fraisier.nats.metrics import EVENT_LATENCY
from fraisier.nats.streams import DEAD_LETTERS, STREAMS
from fraisier.nats.subjects import ROOT

if TYPE_CHECKING:
    from nats.aio.msg import Msg

    from fraisier.nats.bus import NatsEventBus

logger = logging.getLogger(__name__)

BATCH = 100
WINDOW = 1000
"""Events of one stream that are held here at most, so that a slow handler costs no memory without end."""

FETCH_S = 2
"""Short, because a fetch that a server's death cut off waits its whole time."""

ACK_WAIT_S = 5
BEAT_S = 1.5
"""How often the server is told of each event in hand that it is still being worked on."""

FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 5.0

_AWAY = (APIError, nats.errors.Error, asyncio.TimeoutError, NatsConnectionError, OSError)


class Consumers:
    """One durable consumer a stream.

    Args:
        bus: its client is connected.
        handle: called with each event, and with the name of the one handler that it is for, if it is.
        durable: the consumers' name.
    """

    def __init__(self, bus: "NatsEventBus", handle: Handle, *, durable: str) -> None:
        self._stopping = asyncio.Event()
        self._letters = DeadLetters(bus)
        delivery = Delivery(handle, self._letters)
        self._bus = bus
        self._readers = [
            _Reader(bus, stream, deliver=deliver, stopping=self._stopping, durable=durable, subjects=subjects)
            for stream, subjects, deliver in (
                *((stream, f"{ROOT}.{domain}.>", delivery.event) for domain, stream in STREAMS.items()),
                (DEAD_LETTERS, REPLAYS, delivery.replay),
            )
        ]
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Create the consumers and begin."""
        await self._bus.ensure_streams()
        await self._letters.ensure()
        for reader in self._readers:
            await reader.subscribe()
        self._tasks = [asyncio.create_task(reader.run(), name=f"consume {reader.stream}") for reader in self._readers]

    async def stop(self) -> None:
        """End after what is being handled."""
        self._stopping.set()
        await asyncio.gather(*self._tasks)


class _Reader:
    def __init__(
        self,
        bus: "NatsEventBus",
        stream: str,
        *,
        deliver: Callable[["Msg", int], Awaitable[None]],
        stopping: asyncio.Event,
        durable: str,
        subjects: str,
    ) -> None:
        self.stream = stream
        self._bus = bus
        self._deliver = deliver
        self._stopping = stopping
        self._durable = durable
        self._subjects = subjects
        self._latency = EVENT_LATENCY.labels(stream)
        self._in_hand: dict[int, tuple[Msg, asyncio.Task[None]]] = {}
        self._subscription: JetStreamContext.PullSubscription | None = None

    async def subscribe(self) -> None:
        """Create the consumer where there is none, and settle where there is one."""
        js = self._bus.client.jetstream
        config = ConsumerConfig(
            durable_name=self._durable,
            filter_subject=self._subjects,
            ack_policy=AckPolicy.EXPLICIT,
            deliver_policy=DeliverPolicy.NEW,
            ack_wait=ACK_WAIT_S,
            # For ever: what is given up is given up by us, with a dead letter, never silently by the server.
            max_deliver=-1,
            max_ack_pending=WINDOW,
        )
        self._losses = self._bus.client.losses
        info = await js.add_consumer(self.stream, config)
        self._unsettled = bool(info.num_ack_pending)
        if self._subscription is not None:
            with suppress(*_AWAY):
                await self._subscription.unsubscribe()
        self._subscription = await js.pull_subscribe_bind(stream=self.stream, durable=self._durable)

    async def run(self) -> None:
        """Fetch and handle until told to stop."""
        beat = asyncio.create_task(self._beat())
        pause = FIRST_PAUSE_S
        while not self._stopping.is_set():
            try:
                await self._settle()
                await self._some()
                pause = FIRST_PAUSE_S
            except _AWAY as error:
                logger.warning("reading %s waits for NATS: %s", self.stream, str(error) or type(error).__name__)
                await self._wait(pause)
                pause = min(pause * 2, LONGEST_PAUSE_S)
                self._subscription = None
        await asyncio.gather(*(task for _, task in self._in_hand.values()))
        beat.cancel()
        await asyncio.gather(beat, return_exceptions=True)
        if self._subscription is not None:
            with suppress(*_AWAY):
                await self._subscription.unsubscribe()

    async def _settle(self) -> None:
        """Let what was delivered to nobody become due again, so that it comes before what is newer."""
        if self._subscription is None or self._losses != self._bus.client.losses:
            await self.subscribe()
        if self._unsettled:
            await self._wait(ACK_WAIT_S + 1)
            self._unsettled = False

    async def _some(self) -> None:
        room = WINDOW - len(self._in_hand)
        if room <= 0:
            await asyncio.wait({task for _, task in self._in_hand.values()}, return_when=asyncio.FIRST_COMPLETED)
            return
        for message in await self._fetch(min(BATCH, room)):
            sequence = message.metadata.sequence.stream
            # One that comes again while it is in hand is the same event: the first one's ack will do for both.
            if sequence not in self._in_hand:
                task = asyncio.create_task(self._one(message, sequence))
                self._in_hand[sequence] = (message, task)

    async def _fetch(self, count: int) -> "list[Msg]":
        assert self._subscription is not None  # noqa: S101 (`_settle` made it)
        fetch = asyncio.create_task(self._subscription.fetch(count, timeout=FETCH_S))
        stop = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait({fetch, stop}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stop.cancel()
        if not fetch.done():
            fetch.cancel()
            await asyncio.gather(fetch, return_exceptions=True)
            return []
        try:
            return fetch.result()
        except (nats.errors.TimeoutError, asyncio.TimeoutError):
            if not self._bus.client.is_connected:
                raise
            return []  # nothing came in time

    async def _one(self, message: "Msg", sequence: int) -> None:
        try:
            await self._deliver(message, sequence)
            await message.ack()
            self._latency.observe((datetime.now(timezone.utc) - message.metadata.timestamp).total_seconds())
        except NotStarted:
            with suppress(*_AWAY):
                await message.nak()
        except _AWAY as error:
            # Neither acknowledged nor lost: it comes again.
            logger.warning("%s of %s comes again: %s", sequence, self.stream, str(error) or type(error).__name__)
        finally:
            del self._in_hand[sequence]

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(BEAT_S)
            for message, _ in list(self._in_hand.values()):
                with suppress(*_AWAY):
                    await message.in_progress()

    async def _wait(self, seconds: float) -> None:
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)
