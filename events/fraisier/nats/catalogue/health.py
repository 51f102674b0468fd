"""Health checks."""

from typing import Annotated

from pydantic import Field

from fraisier.nats.catalogue.payloads import EventSpec, Outcome, Payload

INCIDENT_DETECTED = "dev.cdevents.incident.detected.0.3.0"


class Checked(Outcome):
    """A check's verdict, so far or in the end."""

    attempts: Annotated[int | None, Field(description="how many probes were sent")] = None


SPECS = (
    EventSpec("health.check_started", "A health check has begun.", (Payload,)),
    EventSpec("health.check_passed", "The service is healthy; gates open on this.", (Checked,)),
    EventSpec("health.check_failed", "The service is not healthy.", (Checked,), {"target": INCIDENT_DETECTED}),
    EventSpec(
        "health.check_timeout", "The service gave no healthy answer in time.", (Checked,), {"target": INCIDENT_DETECTED}
    ),
    EventSpec("health.check_retried", "A check that failed is tried once more.", (Checked,)),
)
