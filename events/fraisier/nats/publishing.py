"""The ways to publish: one event, many, and by name for each domain."""

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from typing import Any

from fraisier.nats.config import RegionalConfig
from fraisier.nats.errors import EventInvalid
from fraisier.nats.events import NO_SERVICE, Event, StoredEvent, new_event
from fraisier.nats.subjects import split_type

PUBLISHES = 200
"""Publishes on their way at once: a server that syncs each one lets the end of a longer queue time out."""


class Publisher(ABC):
    """What can store one event can store many, and events of every domain by name."""

    @abstractmethod
    async def publish_event(self, event: Event) -> StoredEvent:
        """Store an event and return when the server has it."""

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
        under_way: deque[asyncio.Task[StoredEvent]] = deque()
        try:
            async for event in _one_by_one(events):
                under_way.append(asyncio.create_task(self.publish_event(event)))
                if len(under_way) >= window:
                    yield await under_way.popleft()
            while under_way:
                yield await under_way.popleft()
        finally:
            for task in under_way:
                task.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)

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
