"""Who asked for what: read back from the events that each start and each verb left."""

from collections.abc import AsyncIterator
from datetime import datetime

from pydantic import BaseModel

from fraisier.nats import Event, NatsEventBus
from fraisier.workflows.evidence import VERB_EVENTS

WHAT = {"deployment.triggered": "start"} | {event_type: verb.value for verb, event_type in VERB_EVENTS.items()}
"""The events that somebody asked for, and the word for each."""


class AuditEntry(BaseModel):
    """One thing that somebody asked for.

    Attributes:
        what: ``start`` or a verb.
        by: who; empty when a signal did not say.
        reason: why; empty when it was not said.
    """

    time: datetime
    service: str
    rollout_id: str
    version: str
    what: str
    by: str = ""
    reason: str = ""


async def read_audit(bus: NatsEventBus, service: str) -> AsyncIterator[AuditEntry]:
    """Everything that was asked of a service's rollouts, oldest first, for as long as the stream keeps it."""
    async for event in bus.read("deployment", service=service):
        if isinstance(event, Event) and event.event_type in WHAT:
            yield AuditEntry(
                time=event.time,
                service=service,
                rollout_id=event.deployment_id or "",
                version=event.data.get("version", ""),
                what=WHAT[event.event_type],
                by=event.data.get("by") or event.data.get("actor", ""),
                reason=event.data.get("reason", ""),
            )
