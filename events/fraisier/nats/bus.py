"""The event bus: publish once for ever, find, read back."""

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import TYPE_CHECKING, TypeVar

import nats.errors
from nats.js.api import Header
from nats.js.errors import APIError, NoStreamResponseError, NotFoundError

from fraisier.nats.acks import Acks, ack_of
from fraisier.nats.away import already_there, raise_if_hopeless, raise_refusal, why
from fraisier.nats.config import StreamConfig
from fraisier.nats.errors import EventConflict, EventInvalid, NatsConnectionError, StreamDrift
from fraisier.nats.events import Event, InvalidEvent, StoredEvent
from fraisier.nats.hints import hints
from fraisier.nats.metrics import STREAM_BYTES, STREAM_EVENTS, STREAM_LIMIT
from fraisier.nats.publishing import Publisher, Sent
from fraisier.nats.reading import Batch, read_batch
from fraisier.nats.streams import DEAD_LETTERS, STREAMS, ensure_streams
from fraisier.nats.subjects import subject_filter

if TYPE_CHECKING:
    from nats.aio.msg import Msg
    from nats.js import JetStreamContext

    from fraisier.nats.client import NatsClient

__all__ = ["NatsEventBus", "StoredEvent"]

logger = logging.getLogger(__name__)

R = TypeVar("R")

FIRST_WAIT_S = 0.2
LONGEST_WAIT_S = 5.0
_PASSING = (NoStreamResponseError, nats.errors.Error, asyncio.TimeoutError, OSError)
"""What passes when NATS is back."""


class NotStored(EventConflict):
    """The server has an event's ID, and under its subject there is nothing."""


class NatsEventBus(Publisher):
    """Publishes events and reads them back.

    Args:
        client: connected before the first use.
        streams: the streams' configuration; from the environment by default.
    """

    def __init__(self, client: "NatsClient", streams: StreamConfig | None = None) -> None:
        self.client = client
        self._streams = streams
        self._ensured: object = None
        self._ensuring = asyncio.Lock()
        self._acks_of_connection: Acks | None = None

    @property
    def streams(self) -> StreamConfig:
        """The streams' configuration."""
        if self._streams is None:
            self._streams = StreamConfig()
        return self._streams

    async def ensure_streams(self) -> None:
        """Create the four streams, or bring them to what is configured, also where that keeps less than before.

        Raises:
            StreamDrift: a stream cannot be made as configured.
        """
        async with self._ensuring:
            await self._ensure(shrink=True)

    async def ensure_streams_exist(self) -> None:
        """Create missing streams and let the others grow to what is configured, once a connection.

        Publishing and reading do this by themselves: no process with another environment makes a stream smaller.

        Raises:
            StreamDrift: a stream cannot be made as configured.
        """
        if self._ensured is self.client.connection:
            return
        async with self._ensuring:
            if self._ensured is not self.client.connection:
                await self._ensure(shrink=False)

    async def _ensure(self, *, shrink: bool) -> None:
        try:
            made = await ensure_streams(self._js, self.streams, shrink=shrink)
            if 0 < len(made) < len(STREAMS):  # where none is there, nothing ever was
                logger.warning("%s was gone, and was made anew, empty: what it held is lost", " and ".join(made))
        except (nats.errors.TimeoutError, asyncio.TimeoutError):
            refused = self.client.refusal("$JS.API.STREAM.")
            if refused is None:
                raise
            # A region's key may publish and no more: whoever set the server up made the streams.
            logger.warning("this NATS user may not look after the streams, they are taken as they are")
        self._ensured = self.client.connection

    async def publish_event(self, event: Event) -> StoredEvent:
        """Store an event and return when the server has it.

        While NATS is away it goes on trying; cancel it to give up. A repeated publish of the same event is success.

        Raises:
            EventConflict: another event is stored under this ID.
            EventInvalid: a name cannot stand in a subject, the payload is not what the catalogue says of its type, or
                it is larger than the server takes.
            PermissionDenied: this user may not publish there.
            StreamLimitExceeded: the stream is full.
            ConnectionError: the connection was closed for good.
        """
        wait = FIRST_WAIT_S
        while True:
            stored = await self._end(await self._begin(event))
            if stored is not None:
                return stored
            await asyncio.sleep(wait * random.uniform(0.5, 1))  # noqa: S311 (jitter)
            wait = min(wait * 2, LONGEST_WAIT_S)

    async def find(self, event: Event) -> Event | None:
        """The stored event with this event's subject, as the stream's leader has it; None when there is none.

        Raises:
            EventInvalid: what is stored cannot be read.
            PermissionDenied: this user may not read there.
            ConnectionError: the connection was closed for good.
        """
        stream = STREAMS[event.domain]
        try:
            message = await self._patiently(
                lambda: self._js.get_msg(stream, subject=event.subject), f"$JS.API.STREAM.MSG.GET.{stream}"
            )
        except NotFoundError:
            return None
        return Event.from_json(message.data or b"", sequence=message.seq)

    async def read(
        self,
        domain: str,
        *,
        region: str = "*",
        service: str = "*",
        deployment_id: str = "*",
        event: str = "*",
        start_sequence: int = 1,
        since: datetime | None = None,
    ) -> AsyncIterator[Event | InvalidEvent]:
        """Everything that is stored up to now, in order; then it ends.

        It keeps no state at the server, so a restart or a new leader in mid-read costs a pause and nothing else.

        Args:
            domain: ``deployment``, ``health``, ``database`` or ``metrics``.
            region: a region, or ``*`` for any; likewise `service`, `deployment_id` and `event`.
            service: see `region`.
            deployment_id: see `region`.
            event: the event without its domain.
            start_sequence: where to begin.
            since: begin with what was stored at this time or later, by the server's clock, instead; a time with a
                zone. It needs a server of version 2.11 or later.
        """
        subject = subject_filter(domain, region=region, service=service, deployment_id=deployment_id, event=event)
        start: int | datetime = since or max(start_sequence, 1)
        last = False
        while not last:
            batch = await self._batch(STREAMS[domain], subject, start)
            last = batch.last
            for message in batch.messages:
                start = message.sequence + 1
                yield message.event()

    async def last_sequence(self, domain: str) -> int:
        """The last sequence of a domain's stream, 0 when nothing was ever stored."""
        stream = STREAMS[domain]
        info = await self._patiently(lambda: self._js.stream_info(stream), f"$JS.API.STREAM.INFO.{stream}")
        return info.state.last_seq

    async def measure_streams(self) -> None:
        """Set the metrics of the streams' sizes."""
        for stream in (*STREAMS.values(), DEAD_LETTERS):
            with contextlib.suppress(NotFoundError):
                info = await self._js.stream_info(stream)
                STREAM_BYTES.labels(stream).set(info.state.bytes)
                STREAM_EVENTS.labels(stream).set(info.state.messages)
                STREAM_LIMIT.labels(stream).set(info.config.max_bytes or 0)

    def hints(self, subject: str) -> AbstractAsyncContextManager[asyncio.Event]:
        """An event that is set whenever something is published to `subject`: a hint to look, never evidence."""
        return hints(self.client.connection, subject)

    @property
    def _js(self) -> "JetStreamContext":
        return self.client.jetstream

    @property
    def _acks(self) -> Acks:
        connection = self.client.connection
        if self._acks_of_connection is None or self._acks_of_connection.connection is not connection:
            self._acks_of_connection = Acks(connection, self.client.timeout)
        return self._acks_of_connection

    async def _begin(self, event: Event) -> Sent:
        event.check_payload()
        sent = Sent(event, event.subject)
        try:
            await self.ensure_streams_exist()
            # A dict of its own each time: nats-py adds to it.
            sent.answer = await self._acks.send(sent.subject, event.to_json(), {Header.MSG_ID.value: event.event_id})
        except nats.errors.MaxPayloadError as error:
            raise EventInvalid(f"{event.event_type} is too large for the server: see max_payload ({error})") from error
        except NatsConnectionError:
            raise
        except _PASSING as error:
            self._wait_or_raise(error, sent)
        return sent

    async def _end(self, sent: Sent) -> StoredEvent | None:
        if sent.answer is None:
            return None
        try:
            return await self._settled(sent, await sent.answer)
        except _PASSING as error:
            self._wait_or_raise(error, sent)
            return None

    async def _settled(self, sent: Sent, answer: "Msg") -> StoredEvent:
        event, stream = sent.event, STREAMS[sent.event.domain]
        try:
            ack = ack_of(answer)
        except NoStreamResponseError:
            raise
        except APIError as error:
            if already_there(error):
                return await self._stored_before(event)
            raise_refusal(error, event.event_type, stream)
        if ack.stream != stream:
            raise StreamDrift(
                f"{sent.subject} went to the stream {ack.stream}, which has taken the subjects of {stream}"
            )
        if not ack.duplicate:
            return StoredEvent(stream=ack.stream, sequence=ack.seq)
        try:
            return await self._stored_before(event)
        except NotStored:
            # The server knows the ID from another subject, or from before a purge: the subject alone decides.
            headers = {Header.EXPECTED_LAST_SUBJECT_SEQUENCE.value: "0"}
            return await self._settled(sent, await (await self._acks.send(sent.subject, event.to_json(), headers)))

    async def _stored_before(self, event: Event) -> StoredEvent:
        stored = await self.find(event)
        if stored is None:
            raise NotStored(
                f"event {event.event_id} is not stored under {event.subject}, though it was refused as such"
            )
        if stored.claims() != event.claims():
            raise EventConflict(
                f"event {event.event_id} ({event.event_type}) is stored with another content, "
                f"sequence {stored.sequence} of {STREAMS[event.domain]}"
            )
        return StoredEvent(stream=STREAMS[event.domain], sequence=stored.sequence or 0, duplicate=True)

    def _wait_or_raise(self, error: Exception, sent: Sent) -> None:
        raise_if_hopeless(self.client, error, sent.subject)
        told = why(self.client, error, STREAMS[sent.event.domain])
        logger.warning("publish of %s waits for NATS: %s", sent.event.event_type, told)
        if isinstance(error, NoStreamResponseError):
            self._ensured = None

    async def _batch(self, stream: str, subject: str, start: int | datetime) -> Batch:
        def ask() -> Awaitable[Batch]:
            return read_batch(self.client.connection, stream, subject, start, timeout=self.client.timeout)

        return await self._patiently(ask, f"$JS.API.DIRECT.GET.{stream}")

    async def _patiently(self, ask: Callable[[], Awaitable[R]], subject: str) -> R:
        """Ask the server, and again while it is away."""
        wait = FIRST_WAIT_S
        while True:
            try:
                await self.ensure_streams_exist()
                return await ask()
            except (NatsConnectionError, NotFoundError):
                raise
            except (APIError, nats.errors.Error, asyncio.TimeoutError, OSError) as error:
                raise_if_hopeless(self.client, error, subject)
                logger.warning("%s waits for NATS: %s", subject, str(error) or type(error).__name__)
            await asyncio.sleep(wait)
            wait = min(wait * 2, LONGEST_WAIT_S)
