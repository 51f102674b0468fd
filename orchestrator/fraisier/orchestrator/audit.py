"""Who asked for what: read back from the events that each start and each verb left."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field

from fraisier.nats import Event, NatsEventBus
from fraisier.workflows.evidence import VERB_EVENTS, VERB_REFUSED

WHAT = {"deployment.triggered": "start"} | {event_type: verb.value for verb, event_type in VERB_EVENTS.items()}
"""The events that somebody asked for, and the word for each."""

ABOUT = ("gate", "wave", "regions", "override")
"""What else an event says of what was asked for, beside the changes of `adjust`."""


class AuditEntry(BaseModel):
    """One thing that somebody asked for.

    Attributes:
        what: ``start`` or a verb.
        by: who; empty when a signal did not say.
        reason: why; empty when it was not said.
        about: what exactly: the changes of `adjust`, the regions, the gate that was voted on.
        refused: why it had no effect; empty when it had one.
    """

    time: datetime
    service: str
    rollout_id: str
    version: str
    what: str
    by: str = ""
    reason: str = ""
    about: dict[str, Any] = Field(default_factory=dict)
    refused: str = ""


async def read_audit(bus: NatsEventBus, service: str) -> AsyncIterator[AuditEntry]:
    """Everything that was asked of a service's rollouts, oldest first, for as long as the stream keeps it."""
    async for event in bus.read("deployment", service=service):
        if isinstance(event, Event) and (event.event_type in WHAT or event.event_type == VERB_REFUSED):
            yield AuditEntry(
                time=event.time,
                service=service,
                rollout_id=event.deployment_id or "",
                version=event.data.get("version", ""),
                what=WHAT.get(event.event_type) or event.data.get("verb", ""),
                by=event.data.get("by") or event.data.get("actor", ""),
                reason=event.data.get("reason", ""),
                about={key: event.data[key] for key in ABOUT if key in event.data} | (event.data.get("change") or {}),
                refused=event.data.get("refusal", ""),
            )
