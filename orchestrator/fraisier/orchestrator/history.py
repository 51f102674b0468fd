"""What was rolled out: read back from the events that each rollout's beginning and end left."""

from collections.abc import AsyncIterator
from datetime import datetime

from pydantic import BaseModel

from fraisier.nats import Event, NatsEventBus
from fraisier.workflows.evidence import GLOBAL

BEGUN = "deployment.triggered"
ENDS = {
    "deployment.completed": "succeeded",
    "deployment.failed": "failed",
    "deployment.rolled_back": "rolled_back",
    "deployment.cancelled": "cancelled",
}
"""The events of a whole rollout that end it, and how."""


class PastRollout(BaseModel):
    """A rollout from its beginning to its end.

    Attributes:
        outcome: how it ended; empty while it has not.
        by: who started it.
        reason: why it did not succeed.
        without: what a success went without, for people.
    """

    rollout_id: str
    service: str
    version: str
    release_digest: str
    by: str
    started_at: datetime
    ended_at: datetime | None = None
    outcome: str = ""
    reason: str = ""
    without: str = ""


async def read_history(bus: NatsEventBus, service: str) -> AsyncIterator[PastRollout]:
    """Every rollout of a service, newest first, for as long as the stream keeps it: longer than Temporal does."""
    found: dict[str, PastRollout] = {}
    async for event in bus.read("deployment", region=GLOBAL, service=service):
        if not isinstance(event, Event):
            continue
        rollout = event.deployment_id or ""
        if event.event_type == BEGUN:
            found[rollout] = PastRollout(
                rollout_id=rollout,
                service=service,
                version=event.data.get("version", ""),
                release_digest=event.data.get("release_digest", ""),
                by=event.data.get("actor", ""),
                started_at=event.time,
            )
        elif event.event_type in ENDS and rollout in found:
            found[rollout].ended_at = event.time
            found[rollout].outcome = ENDS[event.event_type]
            found[rollout].reason = event.data.get("reason", "")
            found[rollout].without = event.data.get("without", "")
    for one in reversed(found.values()):
        yield one
