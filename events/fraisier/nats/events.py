"""Event types and the envelope: CloudEvents 1.0 in JSON, as they lie in the streams."""

import json
import os
import time
import uuid
from dataclasses import dataclass
from datetime import datetime, timezone
from enum import Enum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import from_json, to_json

from fraisier.nats.catalogue.checking import check_payload, published_version, read_version, schema_uri
from fraisier.nats.errors import EventInvalid
from fraisier.nats.subjects import Subject, split_type

SPEC_VERSION = "1.0"
SOURCE = "fraisier"
TYPE_PREFIX = "dev.fraisier."
NO_SERVICE = "unknown"

VOLATILE = frozenset({"attempts", "detail", "duration_s", "latency_ms", "output", "since", "timestamp"})
"""Keys of `data` that may differ between two attempts at the same step; everything else may not."""

_IDS = uuid.UUID("6ba7b811-9dad-11d1-80b4-00c04fd430c8")


class EventType(str, Enum):
    """Base of the four groups; `str` of a member is the type itself."""

    def __str__(self) -> str:
        return str(self.value)


class DeploymentEvents(EventType):
    """Deployments, and the rollouts that drive them."""

    TRIGGERED = "deployment.triggered"
    STARTED = "deployment.started"
    COMPLETED = "deployment.completed"
    FAILED = "deployment.failed"
    ROLLED_BACK = "deployment.rolled_back"
    METRICS_RECORDED = "deployment.metrics_recorded"
    WAVE_STARTED = "deployment.wave_started"
    GATE_PASSED = "deployment.gate_passed"
    GATE_FAILED = "deployment.gate_failed"
    GATE_INCONCLUSIVE = "deployment.gate_inconclusive"
    PAUSED = "deployment.paused"
    RESUMED = "deployment.resumed"
    ROLLBACK_REQUESTED = "deployment.rollback_requested"
    CANCEL_REQUESTED = "deployment.cancel_requested"
    RETRY_REQUESTED = "deployment.retry_requested"
    SKIP_REQUESTED = "deployment.skip_requested"
    APPROVED = "deployment.approved"
    REJECTED = "deployment.rejected"
    PROMOTED = "deployment.promoted"
    ADJUSTED = "deployment.adjusted"
    OVERRIDDEN = "deployment.overridden"
    VERB_SENT = "deployment.verb_sent"
    VERB_REFUSED = "deployment.verb_refused"
    CANCELLED = "deployment.cancelled"


class HealthCheckEvents(EventType):
    """Health checks."""

    CHECK_STARTED = "health.check_started"
    CHECK_PASSED = "health.check_passed"
    CHECK_FAILED = "health.check_failed"
    CHECK_TIMEOUT = "health.check_timeout"
    CHECK_RETRIED = "health.check_retried"


class DatabaseEvents(EventType):
    """Databases and their migrations."""

    MIGRATION_STARTED = "database.migration_started"
    MIGRATION_COMPLETED = "database.migration_completed"
    MIGRATION_FAILED = "database.migration_failed"
    MIGRATION_ROLLED_BACK = "database.migration_rolled_back"
    SCHEMA_CHANGED = "database.schema_changed"
    BACKUP_STARTED = "database.backup_started"
    BACKUP_COMPLETED = "database.backup_completed"
    BACKUP_FAILED = "database.backup_failed"


class MetricsEvents(EventType):
    """Measurements."""

    DEPLOYMENT_DURATION = "metrics.deployment_duration"
    ERROR_RATE = "metrics.error_rate"
    RESOURCE_USAGE = "metrics.resource_usage"
    LATENCY = "metrics.latency"
    THROUGHPUT = "metrics.throughput"


class Event(BaseModel):
    """An event.

    Attributes:
        event_id: unique for ever; derived for orchestrated steps, a UUIDv7 for everybody else's.
        event_type: ``<domain>.<event>``, such as ``deployment.started``.
        region: where it happened; also who may publish it.
        service: what it is about.
        deployment_id: the deployment, or the rollout that it is part of.
        target: the host or engine, where it is about one.
        time: when it happened, by the publisher's clock, in UTC. Nothing is decided by it.
        source: who published it.
        data: the event's own payload.
        data_version: the payload's version; by default the catalogue's of today, or 1 for a type that is not in it.
        traceparent: W3C trace context, carried along.
        sequence: where it lies in its stream, for events that were read from one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    event_id: str
    event_type: str
    region: str
    service: str = NO_SERVICE
    deployment_id: str
    target: str | None = None
    time: datetime = Field(default_factory=lambda: datetime.now(timezone.utc))
    source: str = SOURCE
    data: dict[str, Any] = Field(default_factory=dict)
    data_version: int = Field(default_factory=lambda given: published_version(given["event_type"]))
    traceparent: str | None = None
    sequence: int | None = None

    @property
    def domain(self) -> str:
        """The part of the type that picks the stream."""
        return split_type(self.event_type)[0]

    @property
    def subject(self) -> str:
        """Where it is published."""
        domain, event = split_type(self.event_type)
        return str(Subject(domain, self.region, self.service, self.deployment_id, event, self.event_id))

    def to_json(self) -> bytes:
        """The event as a CloudEvents 1.0 structured-mode body."""
        body: dict[str, Any] = {
            "specversion": SPEC_VERSION,
            "id": self.event_id,
            "source": self.source,
            "type": TYPE_PREFIX + self.event_type,
            "time": self.time,
            "datacontenttype": "application/json",
            "dataschema": schema_uri(self.event_type, self.data_version),
            "region": self.region,
            "service": self.service,
            "deploymentid": self.deployment_id,
            "data": self.data,
        }
        if self.target is not None:
            body["subject"] = self.target
        if self.traceparent is not None:
            body["traceparent"] = self.traceparent
        return to_json(body, fallback=str)

    @classmethod
    def from_json(cls, body: bytes, *, sequence: int | None = None) -> "Event":
        """Read a body that `to_json` or any CloudEvents SDK wrote.

        Raises:
            EventInvalid: it is not JSON, not CloudEvents 1.0, not an event of ours, or its payload is not what the
                catalogue says of its type and version.
        """
        try:
            raw = from_json(body)
            if raw["specversion"] != SPEC_VERSION:
                raise EventInvalid(f"CloudEvents {raw['specversion']} is not understood, only {SPEC_VERSION}")
            kind = str(raw["type"])
            if not kind.startswith(TYPE_PREFIX):
                raise EventInvalid(f"type {kind!r} does not start with {TYPE_PREFIX}")
            event_type = kind.removeprefix(TYPE_PREFIX)
            event = cls(
                event_id=raw["id"],
                event_type=event_type,
                region=raw["region"],
                service=raw["service"],
                deployment_id=raw["deploymentid"],
                target=raw.get("subject"),
                time=raw["time"],
                source=raw["source"],
                data=raw.get("data") or {},
                data_version=read_version(event_type, raw.get("dataschema")),
                traceparent=raw.get("traceparent"),
                sequence=sequence,
            )
            split_type(event_type)
            check_payload(event_type, event.data_version, event.data)
        except (ValueError, KeyError, TypeError, ValidationError) as error:
            raise EventInvalid(f"not a CloudEvents body of ours: {type(error).__name__}: {error}") from error
        return event

    @classmethod
    def from_message(cls, subject: str, body: bytes, *, sequence: int) -> "Event":
        """Read a message, whose body must be what its subject says: the server permits subjects, not bodies.

        Raises:
            EventInvalid: it is no event of ours, or another subject's.
        """
        event = cls.from_json(body, sequence=sequence)
        if event.subject != subject:
            raise EventInvalid(f"the body belongs to {event.subject}")
        return event

    def check_payload(self) -> None:
        """Check the payload, as it is stored, against the catalogue.

        Raises:
            EventInvalid: its version is not known, or it is not what the version says.
        """
        check_payload(self.event_type, self.data_version, to_json(self.data, fallback=str))

    def claims(self) -> dict[str, Any]:
        """What two attempts at the same event must agree on."""
        steady = {key: value for key, value in json.loads(self.to_json())["data"].items() if key not in VOLATILE}
        return {
            "type": self.event_type,
            "source": self.source,
            "region": self.region,
            "service": self.service,
            "deployment": self.deployment_id,
            "target": self.target,
            "data": steady,
        }


@dataclass(frozen=True)
class StoredEvent:
    """Where an event lies.

    Attributes:
        stream: the stream's name.
        sequence: its sequence there.
        duplicate: whether it had been stored before this publish.
    """

    stream: str
    sequence: int
    duplicate: bool = False


class InvalidEvent(BaseModel):
    """A stored message that cannot be read as an event: its subject, where it lies, and why not."""

    model_config = ConfigDict(frozen=True)

    subject: str
    sequence: int
    reason: str


def derived_event_id(*, rollout_id: str, region: str, target: str | None, step: str, event_type: str) -> str:
    """The ID of an orchestrated step's event: the same for every attempt at it, for ever (a UUIDv5)."""
    return str(uuid.uuid5(_IDS, "\n".join((rollout_id, region, target or "", step, str(event_type)))))


def new_event_id() -> str:
    """A UUIDv7 (RFC 9562): unique, and sorted by time."""
    millis = time.time_ns() // 1_000_000
    value = (millis << 80) | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF << 76) | (0x7 << 76)
    value = value & ~(0x3 << 62) | (0x2 << 62)
    digits = f"{value:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def new_event(
    event_type: str,
    *,
    deployment_id: str,
    region: str,
    service: str = NO_SERVICE,
    data: dict[str, Any] | None = None,
    target: str | None = None,
    step: str | None = None,
) -> Event:
    """Make an event: with a `step` its ID is derived from it, without one it is new each time."""
    kind = str(event_type)
    event_id = (
        derived_event_id(rollout_id=deployment_id, region=region, target=target, step=step, event_type=kind)
        if step is not None
        else new_event_id()
    )
    return Event(
        event_id=event_id,
        event_type=kind,
        region=region,
        service=service,
        deployment_id=deployment_id,
        target=target,
        data=data or {},
    )
