"""The four streams: created or brought up to date, never emptied."""

from nats.js import JetStreamContext
from nats.js.api import DiscardPolicy, RetentionPolicy, StorageType
from nats.js.api import StreamConfig as JsStreamConfig
from nats.js.errors import APIError, NotFoundError

from fraisier.nats.config import StreamConfig
from fraisier.nats.errors import StreamDrift
from fraisier.nats.subjects import DOMAINS, ROOT

STREAMS = {domain: f"{domain.upper()}_EVENTS" for domain in DOMAINS}
"""The stream of each domain."""

HOUR_S = 3600
DUPLICATE_WINDOW_S = 3600.0
"""Within it the server itself recognises a repeated publish; after it the write-once subject does."""


def wanted_streams(config: StreamConfig) -> list[JsStreamConfig]:
    """The streams as they shall be.

    All but the metrics' are write-once logs: one message a subject, and a second one is refused.
    """
    return [_wanted(domain, config) for domain in DOMAINS]


def _wanted(domain: str, config: StreamConfig) -> JsStreamConfig:
    once = domain != "metrics"
    hours: int = getattr(config, f"{domain}_events_retention_hours")
    return JsStreamConfig(
        name=STREAMS[domain],
        subjects=[f"{ROOT}.{domain}.>"],
        retention=RetentionPolicy.LIMITS,
        storage=StorageType.FILE,
        discard=DiscardPolicy.NEW,
        discard_new_per_subject=once,
        max_msgs_per_subject=1 if once else -1,
        max_age=hours * HOUR_S,
        max_bytes=config.max_size,
        num_replicas=config.replicas,
        duplicate_window=DUPLICATE_WINDOW_S,
        deny_delete=True,
        allow_direct=True,
    )


async def ensure_streams(js: JetStreamContext, config: StreamConfig) -> None:
    """Create what is missing and update what may change.

    Raises:
        StreamDrift: a stream differs in something that cannot be updated, or the server refuses it.
    """
    for wanted in wanted_streams(config):
        try:
            found = await js.stream_info(str(wanted.name))
        except NotFoundError:
            await _refused(js.add_stream(wanted), wanted)
            continue
        if _differs(found.config, wanted):
            await _refused(js.update_stream(wanted), wanted)


_COMPARED = (
    "subjects", "retention", "storage", "discard", "max_msgs_per_subject", "max_age", "max_bytes", "num_replicas",
    "deny_delete", "allow_direct",
)  # fmt: skip


def _differs(found: JsStreamConfig, wanted: JsStreamConfig) -> bool:
    return any(getattr(found, key) != getattr(wanted, key) for key in _COMPARED)


async def _refused(call: object, wanted: JsStreamConfig) -> None:
    try:
        await call  # type: ignore[misc]
    except APIError as error:
        raise StreamDrift(
            f"stream {wanted.name} cannot be made as configured: {error.description}. "
            f"Compare with: nats stream info {wanted.name}"
        ) from error
