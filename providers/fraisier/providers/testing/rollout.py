"""What the contract's tests deploy to, and the steps that a workflow would send there."""

from datetime import timedelta
from typing import Any, Protocol

from fraisier.nats import Event, NatsEventBus
from fraisier.providers.base import Provider
from fraisier.providers.models import FencingToken, HealthCheck, Release, Step

ORDINALS = {
    "stage": 1,
    "drain": 2,
    "activate": 3,
    "rollback": 3,
    "health": 4,
    "verify": 4,
    "undrain": 5,
    "prune": 6,
}
QUICK: dict[str, Any] = {
    "interval": timedelta(milliseconds=100),
    "progress_deadline": timedelta(seconds=60),
    "healthy_after": 2,
}
"""A health check that asks often and is patient."""
IMPATIENT: dict[str, Any] = {**QUICK, "progress_deadline": timedelta(seconds=1)}
"""A health check that soon gives up."""


class Bench(Protocol):
    """A target of its own for one test, with nothing deployed, that can be asked for the truth."""

    service: str
    """The service's name, which no other bench has."""
    url: str
    """Where the service answers with its version, as seen from the target."""
    silent_url: str
    """Where nothing answers, as seen from the target."""

    def provider(self, event_bus: NatsEventBus | None = None) -> Provider:
        """A new provider for the target, not connected."""
        ...

    def release(self, version: str, *, healthy: bool = True) -> Release:
        """A release that serves its version; one that is not healthy answers with an error."""
        ...

    async def serving(self) -> str:
        """What the service itself answers, or nothing when none does."""
        ...

    async def instance(self) -> str:
        """Which run of the service it is: another one after each start."""
        ...


class Rollout:
    """Makes the steps of one rollout, as a workflow would.

    Args:
        bench: whose service it is.
        generation: the fencing generation of its steps.
        rollout_id: the rollout.
    """

    def __init__(self, bench: Bench, *, generation: int, rollout_id: str = "r1") -> None:
        self.bench = bench
        self.generation = generation
        self.rollout_id = rollout_id

    def step(self, name: str, attempt: int = 1) -> Step:
        """The step of this name, as an attempt at it is given it."""
        return Step(
            rollout_id=self.rollout_id,
            service=self.bench.service,
            region="test",
            target="t1",
            name=name,
            token=FencingToken(generation=self.generation, ordinal=ORDINALS[name], attempt=attempt),
        )

    async def deploy(self, provider: Provider, release: Release) -> None:
        """Bring a release to the target and see it healthy."""
        await provider.stage(self.step("stage"), release)
        await provider.activate(self.step("activate"), release)
        check = HealthCheck(http=self.bench.url, **QUICK)
        health = await provider.check_health(self.step("health"), release.ref, check)
        assert health.healthy, health.detail

    async def told(self, event_bus: NatsEventBus, *domains: str) -> list[Event]:
        """Its stored events, domain by domain."""
        return [
            event
            for domain in domains
            async for event in event_bus.read(domain, deployment_id=self.rollout_id)
            if isinstance(event, Event)
        ]
