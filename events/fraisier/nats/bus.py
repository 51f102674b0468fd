"""The event bus: publish once for ever, find, read back."""

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import TYPE_CHECKING

import nats.errors
from nats.js.errors import APIError, NoStreamResponseError, NotFoundError

from fraisier.nats.config import StreamConfig
from fraisier.nats.errors import (
    EventConflict,
    EventError,
    NatsConnectionError,
    PermissionDenied,
    StreamDrift,
    StreamLimitExceeded,
)
from fraisier.nats.events import Event, InvalidEvent, StoredEvent
from fraisier.nats.metrics import STREAM_BYTES, STREAM_EVENTS, STREAM_LIMIT
from fraisier.nats.publishing import PUBLISHES, Publisher
from fraisier.nats.reading import Batch, read_batch
from fraisier.nats.streams import DEAD_LETTERS, STREAMS, ensure_streams
from fraisier.nats.subjects import subject_filter

if TYPE_CHECKING:
    from nats.aio.msg import Msg
    from nats.js import JetStreamContext

    from fraisier.nats.client import NatsClient

__all__ = ["NatsEventBus", "StoredEvent"]

logger = logging.getLogger(__name__)

FIRST_WAIT_S = 0.2
LONGEST_WAIT_S = 5.0
_ALREADY_THERE = (10071, 10164)
"""JetStream's codes for "the last sequence is not the expected one": something is stored under the subject."""

_LIMIT = 10077
"""JetStream's code for three different limits; only the description tells which."""


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
        self._window = asyncio.Semaphore(PUBLISHES)

    @property
    def streams(self) -> StreamConfig:
        """The streams' configuration."""
        if self._streams is None:
            self._streams = StreamConfig()
        return self._streams

    async def ensure_streams(self) -> None:
        """Create or update the four streams, once a connection.

        Raises:
            StreamDrift: a stream cannot be made as configured.
        """
        if self._ensured is self.client.connection:
            return
        async with self._ensuring:
            if self._ensured is not self.client.connection:
                try:
                    await ensure_streams(self._js, self.streams)
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
            EventInvalid: a name cannot stand in a subject.
            PermissionDenied: this user may not publish there.
            StreamLimitExceeded: the stream is full.
            ConnectionError: the connection was closed for good.
        """
        subject, body = event.subject, event.to_json()
        wait = FIRST_WAIT_S
        while True:
            try:
                await self.ensure_streams()
                async with self._window:
                    return await self._publish(event, subject, body)
            except NatsConnectionError:
                raise
            except (NoStreamResponseError, nats.errors.Error, asyncio.TimeoutError, OSError) as error:
                self._give_up_if_hopeless(error, subject)
                logger.warning("publish of %s waits for NATS: %s", event.event_type, self._why(error))
                if isinstance(error, NoStreamResponseError):
                    self._ensured = None
            await asyncio.sleep(wait * random.uniform(0.5, 1))  # noqa: S311 (jitter)
            wait = min(wait * 2, LONGEST_WAIT_S)

    async def find(self, event: Event) -> Event | None:
        """The stored event with this event's subject, as the stream's leader has it; None when there is none.

        Raises:
            EventInvalid: what is stored cannot be read.
        """
        await self.ensure_streams()
        try:
            message = await self._js.get_msg(STREAMS[event.domain], subject=event.subject)
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
        await self.ensure_streams()
        return (await self._js.stream_info(STREAMS[domain])).state.last_seq

    async def measure_streams(self) -> None:
        """Set the metrics of the streams' sizes."""
        for stream in (*STREAMS.values(), DEAD_LETTERS):
            with contextlib.suppress(NotFoundError):
                info = await self._js.stream_info(stream)
                STREAM_BYTES.labels(stream).set(info.state.bytes)
                STREAM_EVENTS.labels(stream).set(info.state.messages)
                STREAM_LIMIT.labels(stream).set(info.config.max_bytes or 0)

    @asynccontextmanager
    async def hints(self, subject: str) -> AsyncIterator[asyncio.Event]:
        """An event that is set whenever something is published to `subject`.

        A hint to look, never evidence: a subscriber also sees what the stream refused.
        """
        hint = asyncio.Event()

        async def wake(_: "Msg") -> None:
            hint.set()

        subscription = await self.client.connection.subscribe(subject, cb=wake)
        try:
            yield hint
        finally:
            try:
                await subscription.unsubscribe()
            except nats.errors.Error as error:
                logger.debug("a hint's subscription was gone already: %s", error)

    @property
    def _js(self) -> "JetStreamContext":
        return self.client.jetstream

    async def _publish(self, event: Event, subject: str, body: bytes) -> StoredEvent:
        stream = STREAMS[event.domain]
        try:
            # A dict of its own each time: nats-py adds to it.
            ack = await self._js.publish(subject, body, headers={"Nats-Msg-Id": event.event_id})
        except NoStreamResponseError:
            raise
        except APIError as error:
            if error.err_code == _LIMIT and "per subject" not in (error.description or ""):
                raise StreamLimitExceeded(stream, error.description or "") from error
            if error.err_code == _LIMIT or error.err_code in _ALREADY_THERE:
                return await self._stored_before(event)
            if error.code and error.code >= 500:  # noqa: PLR2004 (the server is not ready)
                raise nats.errors.Error(str(error)) from error
            raise EventError(f"{subject} was refused: {error.description}") from error
        if ack.stream != stream:
            raise StreamDrift(f"{subject} went to the stream {ack.stream}, which has taken the subjects of {stream}")
        if ack.duplicate:
            return await self._stored_before(event)
        return StoredEvent(stream=ack.stream, sequence=ack.seq)

    async def _stored_before(self, event: Event) -> StoredEvent:
        stored = await self.find(event)
        if stored is None:
            raise EventConflict(f"event {event.event_id} is stored under another subject than {event.subject}")
        if stored.claims() != event.claims():
            raise EventConflict(
                f"event {event.event_id} ({event.event_type}) is stored with another content, "
                f"sequence {stored.sequence} of {STREAMS[event.domain]}"
            )
        return StoredEvent(stream=STREAMS[event.domain], sequence=stored.sequence or 0, duplicate=True)

    def _why(self, error: Exception) -> str:
        if isinstance(error, (nats.errors.TimeoutError, asyncio.TimeoutError)) and self.client.is_connected:
            return (
                "it is there but acknowledges nothing. If that goes on: is its disk full (df -h)? Make room and "
                "restart it, for JetStream does not go on by itself"
            )
        return str(error) or type(error).__name__

    def _give_up_if_hopeless(self, error: Exception, *subjects: str) -> None:
        refused = self.client.refusal(*subjects)
        if refused is not None:
            raise PermissionDenied(f"this NATS user may not publish to {subjects[0]}: {refused}") from error
        if self.client.closed.is_set():
            raise NatsConnectionError(
                f"the connection to NATS was closed for good: {self.client.last_error or error}. "
                "Restart this process, or raise NATS_MAX_RECONNECT_ATTEMPTS (-1 tries for ever)"
            ) from error

    async def _batch(self, stream: str, subject: str, start: int | datetime) -> Batch:
        wait = FIRST_WAIT_S
        while True:
            try:
                await self.ensure_streams()
                return await read_batch(self.client.connection, stream, subject, start, timeout=self.client.timeout)
            except NatsConnectionError:
                raise
            except (APIError, nats.errors.Error, asyncio.TimeoutError, OSError) as error:
                self._give_up_if_hopeless(error, f"$JS.API.DIRECT.GET.{stream}")
                logger.warning("reading %s waits for NATS: %s", stream, str(error) or type(error).__name__)
            await asyncio.sleep(wait)
            wait = min(wait * 2, LONGEST_WAIT_S)
