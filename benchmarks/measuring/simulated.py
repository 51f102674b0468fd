"""Targets that live in memory and note when they are entered, so that orchestration alone is measured."""

import asyncio
import time
from collections import defaultdict
from typing import Any

from pydantic import BaseModel

from fraisier.nats import NatsEventProvider
from fraisier.providers.models import (
    HealthCheck,
    HealthResult,
    Release,
    ReleaseRef,
    Step,
    StepResult,
    TargetState,
)

OLD = ReleaseRef(version="1.0.0", digest=f"sha256:{'1' * 64}")


class World:
    """What happened when, and which steps are held.

    Attributes:
        entered: when a step was first entered at a target, by ``(target, step)``, by the wall clock.
        held: the names of steps that wait until they are cancelled.
        silent: whether health checks pass without an event.
        generation: the last step's.
    """

    def __init__(self) -> None:
        self.entered: dict[tuple[str, str], float] = {}
        self.busy: defaultdict[str, int] = defaultdict(int)
        self.held: set[str] = set()
        self.silent = False
        self.generation = 0

    async def enter(self, target: str, step: str) -> None:
        """Note the time; a held step goes no further."""
        self.entered.setdefault((target, step), time.time())
        if step in self.held:
            self.busy[step] += 1
            await asyncio.get_running_loop().create_future()


class Options(BaseModel):
    """A name is all that a target needs."""

    host: str


class SimulatedProvider(NatsEventProvider):
    """Does nothing, and tells of it."""

    Options = Options

    def __init__(self, world: World, config: dict[str, Any], *, event_bus: Any, region: str) -> None:
        super().__init__(event_bus=event_bus, region=region)
        self._world, self._name = world, Options(**config).host

    @property
    def target(self) -> str:
        return self._name

    async def connect(self) -> None: ...

    async def disconnect(self) -> None: ...

    async def inspect(self, service: str) -> TargetState:  # noqa: ARG002
        return TargetState(release=OLD)

    async def preflight(self, release: Release) -> TargetState:
        await self._world.enter(self._name, "preflight")
        return await self.inspect(release.service)

    async def stage(self, step: Step, release: Release) -> StepResult:  # noqa: ARG002
        return await self._did(step)

    async def activate(self, step: Step, release: Release) -> StepResult:
        await self.tell(step, "deployment.started", release.ref)
        return await self._did(step)

    async def check_health(self, step: Step, release: ReleaseRef, check: HealthCheck) -> HealthResult:  # noqa: ARG002
        if not self._world.silent:
            await self.tell(step, "health.check_passed", release)
        return HealthResult(healthy=True)

    async def rollback(self, step: Step, to: ReleaseRef | None) -> StepResult:
        result = await self._did(step)
        await self.tell(step, "deployment.rolled_back", to or OLD)
        return result

    async def prune(self, step: Step, service: str) -> StepResult:  # noqa: ARG002
        return await self._did(step)

    async def _did(self, step: Step) -> StepResult:
        self._world.generation = step.token.generation
        await self._world.enter(self._name, step.name)
        return StepResult(changed=True)

    async def tell(self, step: Step, event_type: str, release: ReleaseRef) -> None:
        """Emit a step's event as the providers do."""
        await self.emit(event_type, **told(step.rollout_id, step.service, step.target, step.token.generation, release))


def told(rollout: str, service: str, target: str, generation: int, release: ReleaseRef) -> dict[str, Any]:
    """What an event of a target's step says."""
    return {
        "deployment_id": rollout,
        "service": service,
        "target": target,
        "step": f"{generation}.health",
        "data": {
            "service": service,
            "version": release.version,
            "release_digest": release.digest,
            "generation": generation,
            "scope": "target",
        },
    }
