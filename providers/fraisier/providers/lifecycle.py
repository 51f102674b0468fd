"""What every provider tells about its steps, and the story of a health check, the same for all of them."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from fraisier.nats import NatsEventProvider, new_event
from fraisier.providers.errors import LAST_LINES, CommandFailed
from fraisier.providers.health import Probe, Sighting, watch
from fraisier.providers.local_command import Heard
from fraisier.providers.migrations.models import MigrationOrder, MigrationResult
from fraisier.providers.models import HealthCheck, HealthResult, ReleaseRef, Step, StepResult
from fraisier.providers.traffic.driver import open_driver
from fraisier.providers.traffic.models import Traffic

FORWARD_HEALTH = "health"
"""The step whose verdict completes or fails the target's deployment; a check after a rollback does neither."""

Tail = Callable[[], Awaitable[str]]
"""The last lines that the service wrote, or nothing."""


class LifecycleProvider(NatsEventProvider):
    """Base of the providers: emits a step's events under the step's own identity, so that a retry repeats none."""

    async def tell(self, step: Step, event_type: str, release: ReleaseRef | None, **more: Any) -> bool:
        """Emit an event of a step; returns when it is acknowledged: whether it had been told before.

        Args:
            step: whose event it is.
            event_type: such as ``deployment.started``.
            release: what it is about; None when nothing runs any more.
            more: what else stands in its data.
        """
        stored = await self.emit(event_type, **self._told(step, release, more))
        return stored is not None and stored.duplicate

    async def fence(self, step: Step) -> None:
        """Make the step's token the highest that the target has seen.

        Raises:
            StaleToken: a newer attempt was here.
        """
        raise NotImplementedError

    async def drain(self, step: Step, traffic: Traffic) -> StepResult:
        """Take the target out of traffic; see `Provider.drain`."""
        await self.fence(step)
        async with open_driver(traffic, step) as driver:
            return await driver.drain(traffic.server(step.target), traffic.drain_timeout.total_seconds())

    async def undrain(self, step: Step, traffic: Traffic) -> StepResult:
        """Put the target back into traffic; see `Provider.undrain`."""
        await self.fence(step)
        async with open_driver(traffic, step) as driver:
            return await driver.undrain(traffic.server(step.target), traffic.undrain_timeout.total_seconds())

    async def run_hook(
        self,
        step: Step,
        argv: tuple[str, ...],
        *,
        timeout_s: float,  # noqa: ARG002 (the protocol's argument)
        heard: Heard,  # noqa: ARG002 (the protocol's argument)
    ) -> str:
        """Refuse: only a host runs commands."""
        raise CommandFailed(
            f"{step.target}: a hook cannot run here, which is no host: give it `on: worker`",
            target=step.target,
            step=step.name,
            command=argv[0],
            exit_status=None,
        )

    async def run_migration(
        self,
        order: MigrationOrder,
        *,
        heard: Heard,  # noqa: ARG002 (the protocol's argument)
    ) -> MigrationResult:
        """Refuse: only a host runs commands."""
        raise CommandFailed(
            f"{order.step.target}: it is no host that could run the migrations of {order.database}",
            target=order.step.target,
            step=order.step.name,
            command=order.argv[0],
            exit_status=None,
        )

    async def conclude_health(
        self, step: Step, release: ReleaseRef, check: HealthCheck, *, probe: Probe, tail: Tail
    ) -> HealthResult:
        """Check a target's health and tell about it; a verdict that was stored before is returned as it is."""
        begun_before = await self.tell(step, "health.check_started", release)
        result = await self._stored_verdict(step, release) if begun_before else None
        if result is None:
            result = await watch(probe, check, retried=partial(self._tell_retried, step, release))
            if not result.healthy:
                result = result.model_copy(update={"detail": _with_tail(result.detail, await tail())})
            await self._tell_verdict(step, release, result)
        if step.name == FORWARD_HEALTH:
            outcome = "deployment.completed" if result.healthy else "deployment.failed"
            await self.tell(step, outcome, release, detail=result.detail)
        return result

    async def _tell_retried(self, step: Step, release: ReleaseRef, failures: int, seen: Sighting) -> None:
        # The first, second, fourth, eighth, …: a service that starts slowly makes few events.
        if failures & (failures - 1) == 0:
            told = self._told(step, release, {"failures": failures, "detail": seen.detail})
            await self.emit("health.check_retried", **{**told, "step": f"{told['step']}.{failures}"})

    async def _tell_verdict(self, step: Step, release: ReleaseRef, result: HealthResult) -> None:
        await self.tell(
            step,
            _verdict_event(result),
            release,
            detail=result.detail,
            attempts=result.attempts,
            duration_s=result.duration_s,
        )

    async def _stored_verdict(self, step: Step, release: ReleaseRef) -> HealthResult | None:
        if self.event_bus is None:
            return None
        for result in (
            HealthResult(healthy=True),
            HealthResult(healthy=False),
            HealthResult(healthy=False, timed_out=True),
        ):
            asked = new_event(_verdict_event(result), region=self.region, **self._told(step, release, {}))
            stored = await self.event_bus.find(asked)
            if stored is not None:
                kept = {key: stored.data[key] for key in ("detail", "attempts", "duration_s") if key in stored.data}
                return HealthResult(healthy=result.healthy, timed_out=result.timed_out, **kept)
        return None

    def _told(self, step: Step, release: ReleaseRef | None, more: dict[str, Any]) -> dict[str, Any]:
        data = {
            "service": step.service,
            "version": release.version if release else None,
            "release_digest": release.digest if release else None,
            "generation": step.token.generation,
            "scope": "target",
            **more,
        }
        return {
            "deployment_id": step.rollout_id,
            "service": step.service,
            "target": step.target,
            "step": f"{step.token.generation}.{step.name}",
            "data": data,
        }


async def nothing_runs() -> Sighting:
    """What a probe sees where no container is in place."""
    return Sighting(passed=False, answered=False, detail="no container is in place")


def _verdict_event(result: HealthResult) -> str:
    if result.healthy:
        return "health.check_passed"
    return "health.check_timeout" if result.timed_out else "health.check_failed"


def _with_tail(detail: str, tail: str) -> str:
    return f"{detail}{LAST_LINES}{tail}" if tail else detail
