"""The ways to publish: one event, many, and by name for each domain."""

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fraisier.nats.acks import PUBLISHES
from fraisier.nats.config import RegionalConfig
from fraisier.nats.errors import EventInvalid
from fraisier.nats.events import NO_SERVICE, Event, StoredEvent, new_event
from fraisier.nats.subjects import split_type

if TYPE_CHECKING:
    from nats.aio.msg import Msg


@dataclass
class Sent:
    """An event on its way.

    Attributes:
        event: the event.
        subject: where it goes.
        answer: will hold the server's answer; None when it could not be sent.
    """

    event: Event
    subject: str
    answer: "asyncio.Future[Msg] | None" = None


class Publisher(ABC):
    """What can store one event can store many, and events of every domain by name."""

    @abstractmethod
    async def publish_event(self, event: Event) -> StoredEvent:
        """Store an event and return when the server has it."""

    @abstractmethod
    async def _begin(self, event: Event) -> Sent:
        """Send an event."""

    @abstractmethod
    async def _end(self, sent: Sent) -> StoredEvent | None:
        """Where it is stored; None when it must be tried again."""

    async def publish_events(
        self, events: Iterable[Event] | AsyncIterable[Event], *, window: int = PUBLISHES
    ) -> AsyncIterator[StoredEvent]:
        """Publish many, with a window of them on their way at once, and give what became of each, in order.

        The next event is taken only when there is room, so a source without end costs no memory. Leaving the loop
        gives up what is on its way: it may be stored or not, and publishing it again is safe.

        Args:
            events: in the order in which the results are wanted.
            window: how many are on their way at most; more than 200 only wait for each other.

        Raises:
            EventError: as `publish_event`, for the first one in order that cannot be stored.
        """
        under_way: deque[Sent] = deque()
        try:
            async for event in _one_by_one(events):
                under_way.append(await self._begin(event))
                if len(under_way) >= window:
                    yield await self._stored(under_way.popleft())
            while under_way:
                yield await self._stored(under_way.popleft())
        finally:
            for sent in under_way:
                if sent.answer is not None:
                    sent.answer.cancel()

    async def _stored(self, sent: Sent) -> StoredEvent:
        return await self._end(sent) or await self.publish_event(sent.event)

    async def publish_deployment_event(
        self, event_type: str, deployment_id: str, data: dict[str, Any] | None = None, region: str | None = None
    ) -> StoredEvent:
        """Publish a ``deployment.*`` event; its service is ``data["service"]``, its region by default NATS_REGION."""
        return await self._publish_named("deployment", event_type, deployment_id, data, region)

    async def publish_health_event(
        self, event_type: str, deployment_id: str, data: dict[str, Any] | None = None, region: str | None = None
    ) -> StoredEvent:
        """Publish a ``health.*`` event."""
        return await self._publish_named("health", event_type, deployment_id, data, region)

    async def publish_database_event(
        self, event_type: str, deployment_id: str, data: dict[str, Any] | None = None, region: str | None = None
    ) -> StoredEvent:
        """Publish a ``database.*`` event."""
        return await self._publish_named("database", event_type, deployment_id, data, region)

    async def publish_metrics_event(
        self, event_type: str, deployment_id: str, data: dict[str, Any] | None = None, region: str | None = None
    ) -> StoredEvent:
        """Publish a ``metrics.*`` event."""
        return await self._publish_named("metrics", event_type, deployment_id, data, region)

    async def _publish_named(
        self, domain: str, event_type: str, deployment_id: str, data: dict[str, Any] | None, region: str | None
    ) -> StoredEvent:
        kind = str(event_type)
        if split_type(kind)[0] != domain:
            raise EventInvalid(f"{kind} is not a {domain} event")
        payload = data or {}
        return await self.publish_event(
            new_event(
                kind,
                deployment_id=deployment_id,
                region=region or RegionalConfig().region,
                service=str(payload.get("service") or NO_SERVICE),
                data=payload,
            )
        )


async def _one_by_one(events: Iterable[Event] | AsyncIterable[Event]) -> AsyncIterator[Event]:
    if isinstance(events, AsyncIterable):
        async for event in events:
            yield event
        return
    for event in events:
        yield event
