"""Making at the server what everybody else only uses, so that they need no permission to make anything."""

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

import nats.errors

from fraisier.nats.artifacts import STREAM as ARTIFACTS
from fraisier.nats.artifacts import open_artifacts
from fraisier.nats.dead_letters import DeadLetters
from fraisier.nats.durables import SOURCES, consumer_config
from fraisier.nats.errors import PermissionDenied
from fraisier.nats.freezes import STREAM as FREEZES
from fraisier.nats.freezes import open_freezes
from fraisier.nats.generations import STREAM as GENERATIONS
from fraisier.nats.generations import open_generations
from fraisier.nats.streams import DEAD_LETTERS, ensure_streams

if TYPE_CHECKING:
    from fraisier.nats.bus import NatsEventBus


async def install(bus: "NatsEventBus", durables: Iterable[str] = ()) -> None:
    """Make the streams, the buckets and the consumers of registries, or bring them up to date. Idempotent.

    Args:
        bus: its client is connected, as a user who may make streams and consumers.
        durables: the names under which registries are started; each has its consumers made.

    Raises:
        PermissionDenied: this user may not.
        StreamDrift: a stream cannot be made as configured.
    """
    try:
        await _install(bus, durables)
    except (nats.errors.TimeoutError, asyncio.TimeoutError) as error:
        refused = bus.client.refusal("$JS.API.")
        if refused is None:
            raise
        raise PermissionDenied(f"this NATS user may not install: {refused}") from error


async def _install(bus: "NatsEventBus", durables: Iterable[str]) -> None:
    js = bus.client.jetstream
    await ensure_streams(js, bus.streams, shrink=True)
    await DeadLetters(bus).ensure()
    await open_generations(js, bus.streams)
    await open_freezes(js, bus.streams)
    await open_artifacts(js, bus.streams)
    for name in (DEAD_LETTERS, GENERATIONS, FREEZES, ARTIFACTS):
        found = (await js.stream_info(name)).config
        if found.num_replicas != bus.streams.replicas:
            await js.update_stream(replace(found, num_replicas=bus.streams.replicas))
    for durable in durables:
        for stream, subjects in SOURCES:
            await js.add_consumer(stream, consumer_config(durable, subjects))
