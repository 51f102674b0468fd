"""Measurements."""

from typing import Annotated

from pydantic import Field

from fraisier.nats.catalogue.payloads import EventSpec, Payload


class Measured(Payload):
    """A measurement."""

    value: Annotated[float | None, Field(description="what was measured")] = None


SPECS = (
    EventSpec("metrics.deployment_duration", "How long a deployment took.", (Measured,)),
    EventSpec("metrics.error_rate", "The share of requests that failed, from 0 to 1.", (Measured,)),
    EventSpec("metrics.resource_usage", "What a service or its host uses.", (Measured,)),
    EventSpec("metrics.latency", "How long answers take.", (Measured,)),
    EventSpec("metrics.throughput", "How much is done in a time.", (Measured,)),
)
