"""Handlers for every day: log, notify, count."""

import asyncio
import logging
import os
from collections import Counter
from collections.abc import Callable

import httpx

from fraisier.nats.config import HandlerConfig
from fraisier.nats.events import Event

logger = logging.getLogger("fraisier.events")

WEBHOOK_TIMEOUT_S = 10.0
WEBHOOK_ATTEMPTS = 3

recorded: Counter[tuple[str, str, str]] = Counter()
"""What the metric recorders counted, by event type, region and service."""


class EventHandlers:
    """Handlers to register as they are."""

    @staticmethod
    def log_event(event: Event) -> None:
        """Log the event in one line, unless ``ENABLE_EVENT_LOGGING`` is off."""
        if HandlerConfig().event_logging:
            logger.info(
                "%s region=%s service=%s deployment=%s target=%s",
                event.event_type,
                event.region,
                event.service,
                event.deployment_id,
                event.target or "-",
            )

    @staticmethod
    async def notify_on_failure(event: Event) -> None:
        """Post a failure to ``WEBHOOK_URL``, unless ``ENABLE_WEBHOOK_NOTIFICATIONS`` is off or there is no address.

        Events that tell of no failure are left alone.

        Raises:
            httpx.HTTPError: the webhook did not take it after three attempts.
        """
        url = os.environ.get("WEBHOOK_URL")
        failure = event.event_type.endswith(("failed", "timeout", "rolled_back"))
        if not failure or not url or not HandlerConfig().webhook_notifications:
            return
        async with httpx.AsyncClient(timeout=WEBHOOK_TIMEOUT_S) as client:
            for attempt in range(1, WEBHOOK_ATTEMPTS + 1):
                try:
                    answer = await client.post(
                        url, content=event.to_json(), headers={"Content-Type": "application/cloudevents+json"}
                    )
                    answer.raise_for_status()
                except httpx.HTTPError:
                    if attempt == WEBHOOK_ATTEMPTS:
                        raise
                    await asyncio.sleep(attempt)
                else:
                    return

    @staticmethod
    def create_metric_recorder(event_type: str) -> Callable[[Event], None]:
        """A handler that counts events of a type, unless ``ENABLE_METRICS_RECORDING`` is off."""

        def record(event: Event) -> None:
            if event.event_type == event_type and HandlerConfig().metrics_recording:
                recorded[event.event_type, event.region, event.service] += 1

        return record
