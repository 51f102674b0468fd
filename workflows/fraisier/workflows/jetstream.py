"""The real `EventLog` and `ArtifactSource`, over `fraisier.nats`. Only workers import this."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from fraisier.nats import (
    ArtifactStore,
    Event,
    EventInvalid,
    InvalidEvent,
    NatsClient,
    NatsEventBus,
    PermissionDenied,
    mint_generation,
    new_event,
    read_freeze,
)
from fraisier.nats.subjects import Subject, subject_filter
from fraisier.workflows.gate_steps import Fact
from fraisier.workflows.plans import StoredArtifact
from fraisier.workflows.ports import Hint
from fraisier.workflows.steps import EventInput


class JetStreamLog:
    """The streams, as activities see them.

    Args:
        bus: a bus whose client is connected.
        client: that client.
    """

    def __init__(self, bus: NatsEventBus, client: NatsClient) -> None:
        self._bus = bus
        self._client = client

    async def publish(self, event: EventInput) -> int:
        """Store an event once for ever and return its sequence; waits while NATS is away."""
        return (await self._bus.publish_event(_new(event))).sequence

    async def stored(self, event: EventInput) -> dict[str, Any] | None:
        """What the event says that is stored under an event's ID; None when there is none."""
        found = await self._bus.find(_new(event))
        return found.data if found is not None else None

    async def mint_generation(self, service: str, note: str) -> int:
        """A fencing generation higher than every one minted for the service before."""
        return await mint_generation(self._client, service, note=note)

    async def last_sequence(self, event_type: str) -> int:
        """The last sequence of the stream that holds this event type, 0 when it is empty."""
        return await self._bus.last_sequence(_domain(event_type))

    async def frozen(self) -> str:
        """Who froze all services, since when and why; empty when nobody did. What cannot be read counts as a freeze."""
        try:
            freeze = await read_freeze(self._client)
        except (EventInvalid, PermissionDenied) as error:
            return f"nobody knows whether all services are frozen: {error}"
        if freeze is None or not freeze.on:
            return ""
        why = f": {freeze.reason}" if freeze.reason else ""
        return f"all services are frozen by {freeze.by or 'somebody'} since {freeze.since:%F %H:%M} UTC{why}"

    async def facts(
        self, *, event_type: str, rollout_id: str, service: str, after: int, alone: bool = False
    ) -> AsyncIterator[Fact]:
        """All stored events of the type's domain, of one rollout, after a sequence, in order; then it ends."""
        stored = self._bus.read(
            _domain(event_type),
            service=service,
            deployment_id=rollout_id,
            event=_event(event_type) if alone else "*",
            start_sequence=after + 1,
        )
        async for event in stored:
            yield _unreadable(event) if isinstance(event, InvalidEvent) else _fact(event)

    async def recent(self, *, event_type: str, service: str, over: timedelta) -> AsyncIterator[Fact]:
        """All events of a type and a service, of whatever publisher, that were stored in the last `over`, in order."""
        since = datetime.now(timezone.utc) - over
        stored = self._bus.read(_domain(event_type), service=service, event=_event(event_type), since=since)
        async for event in stored:
            yield _unreadable(event) if isinstance(event, InvalidEvent) else _fact(event)

    def hints(
        self, *, event_type: str, rollout_id: str, service: str, alone: bool = False
    ) -> AbstractAsyncContextManager[Hint]:
        """A hint for the same events."""
        event = _event(event_type) if alone else "*"
        subject = subject_filter(_domain(event_type), service=service, deployment_id=rollout_id, event=event)
        return self._bus.hints(subject)


class ArtifactCache:
    """Artifacts by digest in a folder of this worker, fetched from the object store once.

    Args:
        store: the object store.
        folder: where files are kept.
    """

    def __init__(self, store: ArtifactStore, folder: Path) -> None:
        self._store = store
        self._folder = folder

    async def fetch(self, artifact: StoredArtifact) -> Path:
        """The artifact as a local file, verified by digest."""
        return await self._store.fetch(artifact.digest, self._folder)


def _new(event: EventInput) -> Event:
    return new_event(
        event.event_type,
        deployment_id=event.rollout_id,
        region=event.region,
        service=event.service,
        data=event.data,
        step=event.step,
    )


def _domain(event_type: str) -> str:
    return event_type.split(".", 1)[0]


def _event(event_type: str) -> str:
    return event_type.partition(".")[2]


def _fact(event: Event) -> Fact:
    return Fact(
        event_type=event.event_type,
        region=event.region,
        service=event.service,
        rollout_id=event.deployment_id,
        sequence=event.sequence or 0,
        target=event.target,
        data=event.data,
    )


def _unreadable(event: InvalidEvent) -> Fact:
    """What the subject says of a message whose body says nothing: the gate names it, and never counts it."""
    subject = Subject.parse(event.subject)
    return Fact(
        event_type=subject.event_type,
        region=subject.region,
        service=subject.service,
        rollout_id=subject.deployment_id,
        sequence=event.sequence,
        problem=event.reason,
    )
