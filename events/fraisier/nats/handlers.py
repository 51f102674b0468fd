"""Handlers for every day: log, notify, count. Their switches are read once a process."""

import functools
import logging
import math
from collections.abc import Callable
from fnmatch import fnmatchcase

from fraisier.nats.config import HandlerConfig
from fraisier.nats.events import Event
from fraisier.nats.metrics import DURATION, EVENTS
from fraisier.nats.webhook import post

logger = logging.getLogger("fraisier.events")


@functools.cache
def handler_config() -> HandlerConfig:
    """The handlers' configuration, read from the environment when it is first asked for."""
    return HandlerConfig()


@functools.cache
def _warn_of_no_webhook() -> None:
    logger.warning("WEBHOOK_URL is not set: failures are notified to nobody")


SERIES = 2000
"""Combinations of type, region and service that are counted by themselves; whoever publishes could name more."""

_series: set[tuple[str, str, str]] = set()


def _labels(event: Event) -> tuple[str, str, str]:
    labels = (event.event_type, event.region, event.service)
    if labels not in _series:
        if len(_series) >= SERIES:
            return ("other", "other", "other")
        _series.add(labels)
    return labels


class EventHandlers:
    """Handlers to register as they are."""

    @staticmethod
    def log_event(event: Event) -> None:
        """Log the event in one line, unless ``ENABLE_EVENT_LOGGING`` is off."""
        if handler_config().event_logging:
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
            WebhookRefused: the webhook did not take it.
        """
        config = handler_config()
        if not config.webhook_notifications or not event.event_type.endswith(("failed", "timeout", "rolled_back")):
            return
        if config.webhook_url is None:
            _warn_of_no_webhook()
            return
        await post(event, config)

    @staticmethod
    def create_metric_recorder(event_type: str) -> Callable[[Event], None]:
        """A handler that counts events of a type in Prometheus, unless ``ENABLE_METRICS_RECORDING`` is off.

        It also records their ``data["duration_s"]``. An event that comes twice counts twice. Beyond 2,000 combinations
        of type, region and service what is new counts as ``other``.

        Args:
            event_type: the type; ``*``, ``?`` and ``[…]`` are wildcards.
        """
        wanted = str(event_type)

        def record(event: Event) -> None:
            if not fnmatchcase(event.event_type, wanted) or not handler_config().metrics_recording:
                return
            labels = _labels(event)
            EVENTS.labels(*labels).inc()
            duration = event.data.get("duration_s")
            if isinstance(duration, (int, float)) and 0 <= duration < math.inf:
                DURATION.labels(*labels).observe(duration)

        return record
