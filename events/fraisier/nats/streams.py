"""The four streams: created or brought up to date, never emptied."""

from collections.abc import Awaitable
from dataclasses import replace
from enum import Enum
from typing import Any

from nats.js import JetStreamContext
from nats.js.api import DiscardPolicy, RetentionPolicy, StorageType
from nats.js.api import StreamConfig as JsStreamConfig
from nats.js.errors import APIError, NotFoundError

from fraisier.nats.config import StreamConfig
from fraisier.nats.errors import StreamDrift
from fraisier.nats.subjects import DOMAINS, ROOT

STREAMS = {domain: f"{domain.upper()}_EVENTS" for domain in DOMAINS}
"""The stream of each domain."""

DEAD_LETTERS = "FRAISIER_DEAD_LETTERS"
"""The stream of events that a handler could not handle."""

_NO_ROOM = 10047
"""JetStream's code for "insufficient storage resources available"."""

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


TUNABLE = ("max_age", "max_bytes", "num_replicas")
"""What the configuration sets: it follows the environment."""

FIXED = (
    "subjects", "retention", "storage", "discard", "discard_new_per_subject", "max_msgs_per_subject", "max_msgs",
    "deny_delete", "allow_direct", "mirror", "sources", "no_ack", "sealed", "allow_rollup_hdrs", "allow_msg_ttl",
    "republish", "subject_transform",
)  # fmt: skip
"""What the guarantees rest on: a stream that differs was changed by hand, and is not touched."""


async def ensure_streams(js: JetStreamContext, config: StreamConfig, *, shrink: bool) -> list[str]:
    """Create what is missing and bring sizes, ages and replicas up to date; whatever else was set stays.

    Args:
        js: of a user who may look after streams.
        config: what is wanted.
        shrink: also where less is wanted than there is; otherwise a stream only grows, for a process with another
            environment must not take from what others keep.

    Returns:
        The streams that were not there.

    Raises:
        StreamDrift: a stream differs in what the guarantees rest on, or the server refuses it.
    """
    made = []
    for wanted in wanted_streams(config):
        try:
            found = (await js.stream_info(str(wanted.name))).config
        except NotFoundError:
            await _refused(js.add_stream(wanted), wanted)
            made.append(str(wanted.name))
            continue
        _refuse_drift(found, wanted)
        tuned: dict[str, Any] = {
            key: _tuned(getattr(found, key), getattr(wanted, key), shrink=shrink) for key in TUNABLE
        }
        if any(getattr(found, key) != value for key, value in tuned.items()):
            await _refused(js.update_stream(replace(found, **tuned)), wanted)
    return made


def _tuned(found: float | None, wanted: float, *, shrink: bool) -> float:
    unlimited = found is None or found <= 0
    return wanted if shrink else found if unlimited and found is not None else max(found or 0, wanted)


def _refuse_drift(found: JsStreamConfig, wanted: JsStreamConfig) -> None:
    pairs = {key: (_plain(getattr(found, key)), _plain(getattr(wanted, key))) for key in FIXED}
    differences = [f"{key} is {is_now}, not {should}" for key, (is_now, should) in pairs.items() if is_now != should]
    if differences:
        raise StreamDrift(
            f"stream {wanted.name} is not as Fraisier made it: {'; '.join(differences)}. Events could be lost or "
            f"stored twice: look with `nats stream info {wanted.name}`, keep a copy with `nats stream backup`, and "
            "set it back with `nats stream edit`, or remove it so that it is made anew"
        )


def _plain(value: object) -> object:
    """An option that was never set and one that is empty are the same."""
    value = value.value if isinstance(value, Enum) else value
    return None if value in (None, False, -1, 0, "", [], ()) else value


async def _refused(call: Awaitable[object], wanted: JsStreamConfig) -> None:
    try:
        await call
    except APIError as error:
        if error.err_code == _NO_ROOM:
            raise StreamDrift(
                f"the NATS server has no room for stream {wanted.name} of {wanted.max_bytes} bytes, which it sets "
                "aside: free its disk, raise max_file_store in its jetstream block, or lower NATS_STREAM_MAX_SIZE"
            ) from error
        raise StreamDrift(
            f"stream {wanted.name} cannot be made as configured: {error.description}. "
            f"Compare with: nats stream info {wanted.name}"
        ) from error
