"""Events over NATS JetStream: a library in its own right, which knows nothing of Temporal or of providers."""

from fraisier.nats.artifacts import Artifact, ArtifactError, ArtifactStore
from fraisier.nats.bus import NatsEventBus
from fraisier.nats.catalogue.cdevents import to_cdevent
from fraisier.nats.client import NatsClient
from fraisier.nats.config import NatsConfig, get_nats_config, is_nats_enabled
from fraisier.nats.durability import check_durability
from fraisier.nats.errors import (
    EventConflict,
    EventError,
    EventInvalid,
    NatsConnectionError,
    NotDurable,
    PermissionDenied,
    StreamDrift,
    StreamLimitExceeded,
    WebhookRefused,
)
from fraisier.nats.events import (
    DatabaseEvents,
    DeploymentEvents,
    Event,
    HealthCheckEvents,
    InvalidEvent,
    MetricsEvents,
    StoredEvent,
    derived_event_id,
    new_event,
)
from fraisier.nats.freezes import Freeze, read_freeze, set_freeze
from fraisier.nats.generations import mint_generation
from fraisier.nats.handlers import EventHandlers
from fraisier.nats.installing import install
from fraisier.nats.provider import NatsEventProvider
from fraisier.nats.subscribers import EventFilter, EventSubscriberRegistry, HandlersFailed, get_subscriber_registry

__all__ = [
    "Artifact",
    "ArtifactError",
    "ArtifactStore",
    "DatabaseEvents",
    "DeploymentEvents",
    "Event",
    "EventConflict",
    "EventError",
    "EventFilter",
    "EventHandlers",
    "EventInvalid",
    "EventSubscriberRegistry",
    "Freeze",
    "HandlersFailed",
    "HealthCheckEvents",
    "InvalidEvent",
    "MetricsEvents",
    "NatsClient",
    "NatsConfig",
    "NatsConnectionError",
    "NatsEventBus",
    "NatsEventProvider",
    "NotDurable",
    "PermissionDenied",
    "StoredEvent",
    "StreamDrift",
    "StreamLimitExceeded",
    "WebhookRefused",
    "check_durability",
    "derived_event_id",
    "get_nats_config",
    "get_subscriber_registry",
    "install",
    "is_nats_enabled",
    "mint_generation",
    "new_event",
    "read_freeze",
    "set_freeze",
    "to_cdevent",
]
