"""Watching a rollout: its status asked again and again, and its events as they are stored."""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from fraisier.nats import Event, NatsEventBus
from fraisier.orchestrator.errors import Unreachable
from fraisier.workflows.status import RolloutStatus

if TYPE_CHECKING:
    from fraisier.orchestrator.steering import Steering

logger = logging.getLogger(__name__)

EVERY_S = 0.4


async def watch(client: "Steering", bus: NatsEventBus, service: str) -> AsyncIterator[RolloutStatus | Event]:
    """Every change of the status and every event of the newest rollout of a service, until it has ended."""
    status = await client.status(service)
    after = dict.fromkeys(("deployment", "health", "database"), 0)
    yield status
    end = asyncio.ensure_future(client.result(service))  # however it ends, and at once
    try:
        while True:
            ended = end.done()
            before, status = status, await _patiently(client, service)
            for event in await _news(bus, status, after):
                yield event
            if status != before:
                yield status
            if ended:
                return
            await asyncio.wait({end}, timeout=EVERY_S)
    finally:
        end.cancel()
        await asyncio.gather(end, return_exceptions=True)


async def _patiently(client: "Steering", service: str) -> RolloutStatus:
    """The status, however long the next worker takes to come."""
    while True:
        try:
            return await client.status(service)
        except Unreachable as error:
            logger.warning("%s", error)


async def _news(bus: NatsEventBus, status: RolloutStatus, after: dict[str, int]) -> list[Event]:
    news: list[Event] = []
    for domain, last in after.items():
        stored = bus.read(domain, service=status.service, deployment_id=status.rollout_id, start_sequence=last + 1)
        async for event in stored:
            after[domain] = event.sequence or 0
            if isinstance(event, Event):
                news.append(event)
    return sorted(news, key=lambda event: event.time)
