"""The event catalogue: every type of the four domains, the versions of its payload, and what it means.

A type that is not in it may be published all the same; then its payload is whatever the publisher gives.
"""

from collections.abc import Mapping
from types import MappingProxyType

from fraisier.nats.catalogue import database, deployment, health, metrics
from fraisier.nats.catalogue.payloads import EventSpec, Outcome, Payload

__all__ = ["CATALOGUE", "EventSpec", "Outcome", "Payload"]

CATALOGUE: Mapping[str, EventSpec] = MappingProxyType(
    {spec.event_type: spec for domain in (deployment, health, database, metrics) for spec in domain.SPECS}
)
"""All types, by name."""
