"""The loop between the streams and the registry: durable pull consumers, acknowledged after the handlers."""

import asyncio
import functools
import logging
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING

import nats.errors
from nats.js import JetStreamContext
from nats.js.api import ConsumerConfig, ConsumerInfo, DeliverPolicy
from nats.js.errors import APIError, NotFoundError

from fraisier.nats.dead_letters import DeadLetters
from fraisier.nats.delivery import Delivery, Submit
from fraisier.nats.durables import ACK_WAIT_S, OURS, SOURCES, WINDOW, consumer_config
from fraisier.nats.errors import NatsConnectionError, PermissionDenied
from fraisier.nats.handling import NotStarted
from fraisier.nats.metrics import EVENT_LATENCY
from fraisier.nats.pull import Pull
from fraisier.nats.streams import DEAD_LETTERS
from fraisier.nats.waiting import pause

if TYPE_CHECKING:
    from nats.aio.msg import Msg

    from fraisier.nats.bus import NatsEventBus

logger = logging.getLogger(__name__)

BATCH = 100

FETCH_S = 2
"""Short, because a fetch that a server's death cut off waits its whole time."""

BEAT_S = 1.5
"""How often the server is told of each event in hand that it is still being worked on."""

FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 5.0

_AWAY = (APIError, nats.errors.Error, asyncio.TimeoutError, NatsConnectionError, OSError)


class Consumers:
    """One durable consumer a stream.

    Args:
        bus: its client is connected.
        submit: called with each event, and with the name of the one handler that it is for, if it is.
        durable: the consumers' name.
    """

    def __init__(self, bus: "NatsEventBus", submit: Submit, *, durable: str) -> None:
        self._stopping = asyncio.Event()
        self._letters = DeadLetters(bus)
        delivery = Delivery(submit, self._letters)
        self._bus = bus
        self._readers = [
            _Reader(bus, stream, deliver=deliver, stopping=self._stopping, durable=durable, subjects=subjects)
            for stream, subjects in SOURCES
            for deliver in (delivery.replay if stream == DEAD_LETTERS else delivery.event,)
        ]
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Create the consumers and begin."""
        await self._bus.ensure_streams_exist()
        await self._letters.ensure()
        for reader in self._readers:
            await reader.subscribe()
        self._tasks = [asyncio.create_task(reader.run(), name=f"consume {reader.stream}") for reader in self._readers]

    async def stop(self) -> None:
        """End after what is being handled; cancelled, end that too."""
        self._stopping.set()
        try:
            if self._tasks:  # else `start` is still at it, and what it starts ends at once
                await asyncio.wait(self._tasks)
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)


class _Reader:
    def __init__(
        self,
        bus: "NatsEventBus",
        stream: str,
        *,
        deliver: Callable[["Msg", int], "asyncio.Future[None]"],
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
        self._in_hand: dict[int, tuple[Msg, asyncio.Future[None]]] = {}
        self._handled: deque[tuple[Msg, bool]] = deque()
        self._some_handled = asyncio.Event()
        self._room = asyncio.Event()
        self._pull: Pull | None = None
        self._seen: int | None = None
        self._stream_made: datetime | None = None

    async def subscribe(self) -> None:
        """Create the consumer where there is none, and settle where there is one."""
        js = self._bus.client.jetstream
        self._losses = self._bus.client.losses
        info = await self._consumer(js)
        self._stream_made = await self._made(js)
        self._unsettled = bool(info.num_ack_pending)
        if self._seen is None:
            self._seen = info.ack_floor.stream_seq if info.ack_floor else 0
        await self._close()
        pull = Pull(self._bus.client.connection, self.stream, self._durable, self._take)
        await pull.open()
        self._pull = pull

    async def _consumer(self, js: JetStreamContext) -> ConsumerInfo:
        """The consumer as it is, or made; where users may make none, somebody has done it for them."""
        wanted = consumer_config(self._durable, self._subjects)
        try:
            try:
                found: ConsumerInfo = await js.consumer_info(self.stream, self._durable)
            except NotFoundError:
                return await js.add_consumer(self.stream, await self._from_here(js, wanted))
            if all(getattr(found.config, key) == getattr(wanted, key) for key in OURS):
                return found
            # Where it began is not to be changed.
            kept = found.config
            return await js.add_consumer(
                self.stream, replace(wanted, deliver_policy=kept.deliver_policy, opt_start_seq=kept.opt_start_seq)
            )
        except (nats.errors.TimeoutError, asyncio.TimeoutError):
            refused = self._bus.client.refusal("$JS.API.CONSUMER.")
            if refused is None:
                raise
            raise PermissionDenied(
                f"this NATS user may not use or make the consumer {self._durable} of {self.stream}: {refused}. "
                f"An installer makes it: fraisier events install --durable {self._durable}"
            ) from None

    async def _from_here(self, js: JetStreamContext, wanted: ConsumerConfig) -> ConsumerConfig:
        """One that begins where we are: somebody who removed ours while we were reading shall make us skip nothing."""
        if self._seen is None:
            return wanted
        start = min(self._in_hand, default=self._seen + 1)
        if await self._made(js) != self._stream_made:
            start = self._seen = 1  # another stream of the same name: it counts from 1 again
        logger.warning("the consumer %s of %s is gone; a new one begins at %d", self._durable, self.stream, start)
        return replace(wanted, deliver_policy=DeliverPolicy.BY_START_SEQUENCE, opt_start_seq=start)

    async def _made(self, js: JetStreamContext) -> datetime | None:
        """When the stream was made; None where this user may not ask."""
        try:
            return (await js.stream_info(self.stream)).created
        except (nats.errors.TimeoutError, asyncio.TimeoutError):
            if self._bus.client.refusal("$JS.API.STREAM.INFO.") is None:
                raise
            return None

    async def run(self) -> None:
        """Fetch and handle until told to stop."""
        helpers = [asyncio.create_task(self._beat()), asyncio.create_task(self._answer())]
        try:
            await self._read()
            if self._in_hand:
                await asyncio.wait([end for _, end in self._in_hand.values()])
            await asyncio.sleep(0)  # the last ones' callbacks
            await self._answer_handled()
        finally:
            for task in [*helpers, *(end for _, end in self._in_hand.values())]:
                task.cancel()
            await asyncio.gather(*helpers, return_exceptions=True)
            await self._close()

    async def _close(self) -> None:
        pull, self._pull = self._pull, None
        if pull is not None:
            with suppress(*_AWAY):
                await pull.close()

    async def _read(self) -> None:
        seconds = FIRST_PAUSE_S
        while not self._stopping.is_set():
            try:
                await self._settle()
                await self._some()
                seconds = FIRST_PAUSE_S
                continue
            except (*_AWAY, PermissionDenied) as error:
                logger.warning("reading %s waits for NATS: %s", self.stream, str(error) or type(error).__name__)
            except Exception:
                # A reader that ended would look like a stream in which nothing happens.
                logger.exception("reading %s begins anew", self.stream)
            await pause(seconds, self._stopping)
            seconds = min(seconds * 2, LONGEST_PAUSE_S)
            await self._close()

    async def _settle(self) -> None:
        """Let what was delivered to nobody become due again, so that it comes before what is newer."""
        if self._pull is None or self._losses != self._bus.client.losses:
            await self.subscribe()
        if self._unsettled:
            await pause(ACK_WAIT_S + 1, self._stopping)
            self._unsettled = False

    async def _some(self) -> None:
        if len(self._in_hand) > WINDOW - BATCH:
            # Until there is room for a whole batch: a request for each single one would cost more than its handling.
            self._room.clear()
            await self._room.wait()
        assert self._pull is not None  # noqa: S101 (`_settle` made it)
        ask = asyncio.create_task(self._pull.ask(BATCH, FETCH_S))
        stop = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait({ask, stop}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stop.cancel()
            if not ask.done():
                ask.cancel()
                await asyncio.gather(ask, return_exceptions=True)
        if not ask.cancelled():
            ask.result()

    def _take(self, message: "Msg") -> None:
        sequence = message.metadata.sequence.stream
        self._seen = max(self._seen or 0, sequence)
        # One that comes again while it is in hand is the same event: the first one's ack will do for both.
        if sequence not in self._in_hand:
            end = self._deliver(message, sequence)
            self._in_hand[sequence] = (message, end)
            end.add_done_callback(functools.partial(self._ended, message, sequence))

    def _ended(self, message: "Msg", sequence: int, end: "asyncio.Future[None]") -> None:
        del self._in_hand[sequence]
        if len(self._in_hand) <= WINDOW - BATCH:
            self._room.set()
        error = NotStarted() if end.cancelled() else end.exception()
        if error is None or isinstance(error, NotStarted):
            self._handled.append((message, error is None))
            self._some_handled.set()
        else:
            # Neither acknowledged nor lost: it comes again.
            known = isinstance(error, _AWAY)
            logger.warning("%s of %s comes again: %r", sequence, self.stream, error, exc_info=None if known else error)

    async def _answer(self) -> None:
        while True:
            await self._some_handled.wait()
            self._some_handled.clear()
            await self._answer_handled()

    async def _answer_handled(self) -> None:
        """Acknowledge what was handled, and give back what was not started."""
        while self._handled:
            message, handled = self._handled.popleft()
            try:
                await (message.ack() if handled else message.nak())
            except _AWAY as error:
                logger.warning("an answer to %s was lost, it comes again: %s", message.subject, error)
                continue
            if handled:
                self._latency.observe((datetime.now(timezone.utc) - message.metadata.timestamp).total_seconds())

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(BEAT_S)
            for message, _ in list(self._in_hand.values()):
                with suppress(*_AWAY):
                    await message.in_progress()
