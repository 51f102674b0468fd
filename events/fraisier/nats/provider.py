"""`NatsEventProvider`: the mixin that lets any provider tell what it does."""

from typing import Any

from fraisier.nats.bus import NatsEventBus, StoredEvent
from fraisier.nats.events import (
    NO_SERVICE,
    DatabaseEvents,
    DeploymentEvents,
    EventType,
    HealthCheckEvents,
    MetricsEvents,
    new_event,
)


class NatsEventProvider:
    """Emits events over a bus, or nothing where there is no bus.

    Args:
        event_bus: the bus; None emits nothing and everything else works.
        region: the region of all events.
    """

    def __init__(self, *, event_bus: NatsEventBus | None = None, region: str = "default") -> None:
        self.event_bus = event_bus
        self.region = region

    async def emit(
        self,
        event_type: str,
        *,
        deployment_id: str,
        service: str = NO_SERVICE,
        data: dict[str, Any] | None = None,
        target: str | None = None,
        step: str | None = None,
    ) -> StoredEvent | None:
        """Emit an event and return when it is stored; None without a bus.

        Args:
            event_type: such as ``deployment.started``.
            deployment_id: the deployment, or the rollout it is part of.
            service: what it is about.
            data: the event's payload.
            target: the host or engine.
            step: makes the ID the same for every attempt at this step.
        """
        if self.event_bus is None:
            return None
        payload = {"service": service, **(data or {})}
        return await self.event_bus.publish_event(
            new_event(
                event_type,
                deployment_id=deployment_id,
                region=self.region,
                service=service,
                data=payload,
                target=target,
                step=step,
            )
        )

    async def emit_deployment_started(self, deployment_id: str, **event: Any) -> StoredEvent | None:
        """Emit ``deployment.started``; keywords as for `emit`."""
        return await self._emit(DeploymentEvents.STARTED, deployment_id, event)

    async def emit_deployment_completed(self, deployment_id: str, **event: Any) -> StoredEvent | None:
        """Emit ``deployment.completed``."""
        return await self._emit(DeploymentEvents.COMPLETED, deployment_id, event)

    async def emit_deployment_failed(self, deployment_id: str, **event: Any) -> StoredEvent | None:
        """Emit ``deployment.failed``."""
        return await self._emit(DeploymentEvents.FAILED, deployment_id, event)

    async def emit_deployment_rolled_back(self, deployment_id: str, **event: Any) -> StoredEvent | None:
        """Emit ``deployment.rolled_back``."""
        return await self._emit(DeploymentEvents.ROLLED_BACK, deployment_id, event)

    async def emit_health_check_started(self, deployment_id: str, **event: Any) -> StoredEvent | None:
        """Emit ``health.check_started``."""
        return await self._emit(HealthCheckEvents.CHECK_STARTED, deployment_id, event)

    async def emit_health_check_passed(self, deployment_id: str, **event: Any) -> StoredEvent | None:
        """Emit ``health.check_passed``."""
        return await self._emit(HealthCheckEvents.CHECK_PASSED, deployment_id, event)

    async def emit_health_check_failed(self, deployment_id: str, **event: Any) -> StoredEvent | None:
        """Emit ``health.check_failed``."""
        return await self._emit(HealthCheckEvents.CHECK_FAILED, deployment_id, event)

    async def emit_health_check_timeout(self, deployment_id: str, **event: Any) -> StoredEvent | None:
        """Emit ``health.check_timeout``."""
        return await self._emit(HealthCheckEvents.CHECK_TIMEOUT, deployment_id, event)

    async def emit_health_check_retried(self, deployment_id: str, **event: Any) -> StoredEvent | None:
        """Emit ``health.check_retried``."""
        return await self._emit(HealthCheckEvents.CHECK_RETRIED, deployment_id, event)

    async def emit_migration_started(self, deployment_id: str, **event: Any) -> StoredEvent | None:
        """Emit ``database.migration_started``."""
        return await self._emit(DatabaseEvents.MIGRATION_STARTED, deployment_id, event)

    async def emit_migration_completed(self, deployment_id: str, **event: Any) -> StoredEvent | None:
        """Emit ``database.migration_completed``."""
        return await self._emit(DatabaseEvents.MIGRATION_COMPLETED, deployment_id, event)

    async def emit_migration_failed(self, deployment_id: str, **event: Any) -> StoredEvent | None:
        """Emit ``database.migration_failed``."""
        return await self._emit(DatabaseEvents.MIGRATION_FAILED, deployment_id, event)

    async def emit_metrics(
        self, deployment_id: str, event_type: str = MetricsEvents.RESOURCE_USAGE, **event: Any
    ) -> StoredEvent | None:
        """Emit a ``metrics.*`` event, by default ``metrics.resource_usage``."""
        return await self._emit(event_type, deployment_id, event)

    async def _emit(self, event_type: str | EventType, deployment_id: str, event: dict[str, Any]) -> StoredEvent | None:
        return await self.emit(str(event_type), deployment_id=deployment_id, **event)
