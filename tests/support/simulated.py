"""Targets that live in memory, for tests of order, gates and verbs with hundreds of them or with faults on call.

They keep the provider's promises: steps are idempotent, tokens are fenced, events are published through the mixin.
"""

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ConfigDict

from fraisier.nats import NatsEventProvider
from fraisier.providers.errors import CommandFailed, ConnectFailed, PreflightFailed, StaleToken, TrafficRefused
from fraisier.providers.local_command import Heard
from fraisier.providers.migrations.models import MigrationOrder, MigrationResult
from fraisier.providers.models import (
    FencingToken,
    HealthCheck,
    HealthResult,
    Release,
    ReleaseRef,
    Step,
    StepResult,
    TargetState,
)
from fraisier.providers.traffic.models import Traffic

OLD = ReleaseRef(version="1.0.0", digest="sha256:" + "1" * 64)


@dataclass
class Host:
    """One simulated target."""

    release: ReleaseRef | None = OLD
    token: FencingToken | None = None
    done: dict[str, StepResult] = field(default_factory=dict)


@dataclass
class World:
    """All the hosts, what happened to them in order, and what shall go wrong.

    Attributes:
        effects: ``(target, what, version)`` in the order in which they took place.
        attempts: the number of the last attempt, by ``(target, what)``.
        blocked: steps by ``(target, step name)`` that wait until their event is set.
        unhealthy: ``(target, version)`` pairs whose health check fails.
        unreachable: targets that cannot be connected.
        unfit: targets that preflight refuses.
        refused: ``(target, "drain" or "undrain")`` pairs that the proxy refuses.
        silent: ``(target, event type)`` pairs that are not published, as if the publish were lost.
    """

    hosts: dict[str, Host] = field(default_factory=lambda: defaultdict(Host))
    effects: list[tuple[str, str, str]] = field(default_factory=list)
    entered: dict[tuple[str, str], asyncio.Event] = field(default_factory=lambda: defaultdict(asyncio.Event))
    attempts: dict[tuple[str, str], int] = field(default_factory=dict)
    blocked: dict[tuple[str, str], asyncio.Event] = field(default_factory=dict)
    unhealthy: set[tuple[str, str]] = field(default_factory=set)
    unreachable: set[str] = field(default_factory=set)
    unfit: set[str] = field(default_factory=set)
    refused: set[tuple[str, str]] = field(default_factory=set)
    silent: set[tuple[str, str]] = field(default_factory=set)

    def versions(self) -> dict[str, str]:
        """What runs where."""
        return {name: host.release.version if host.release else "" for name, host in sorted(self.hosts.items())}

    def activations(self) -> list[str]:
        """The targets in the order of their activations."""
        return [target for target, what, _ in self.effects if what == "activate"]

    def rollbacks(self) -> list[str]:
        """The targets in the order in which they were taken back."""
        return [target for target, what, _ in self.effects if what == "rollback"]


class SimulatedOptions(BaseModel):
    """A host's name is all that it needs."""

    model_config = ConfigDict(extra="forbid")

    host: str


class SimulatedProvider(NatsEventProvider):
    """A provider over a `World`."""

    Options = SimulatedOptions

    def __init__(self, world: World, config: dict[str, Any], *, event_bus: Any = None, region: str = "default") -> None:
        super().__init__(event_bus=event_bus, region=region)
        self._world = world
        self._name = SimulatedOptions(**config).host

    @property
    def target(self) -> str:
        return self._name

    @property
    def _host(self) -> Host:
        return self._world.hosts[self._name]

    async def connect(self) -> None:
        if self._name in self._world.unreachable:
            raise ConnectFailed(f"{self._name} does not answer", target=self._name)

    async def disconnect(self) -> None:
        pass

    async def inspect(self, service: str) -> TargetState:
        await self.connect()  # a pooled connection is lost when its target goes away
        return TargetState(release=self._host.release, token=self._host.token)

    async def preflight(self, release: Release) -> None:
        if self._name in self._world.unfit:
            raise PreflightFailed(target=self._name, reasons=("its disk is full",))

    async def stage(self, step: Step, release: Release) -> StepResult:
        return await self._once(step, "stage", release.ref)

    async def activate(self, step: Step, release: Release) -> StepResult:
        await self._tell(step, "deployment.started", release.ref)
        return await self._once(step, "activate", release.ref)

    async def check_health(self, step: Step, release: ReleaseRef, check: HealthCheck) -> HealthResult:
        await self._pass_block(step)
        healthy = (self._name, release.version) not in self._world.unhealthy
        await self._tell(step, f"health.check_{'passed' if healthy else 'failed'}", release)
        if step.name == "health":
            await self._tell(step, f"deployment.{'completed' if healthy else 'failed'}", release)
        return HealthResult(healthy=healthy, detail="" if healthy else "503")

    async def drain(self, step: Step, traffic: Traffic) -> StepResult:
        return await self._to_proxy(step, "drain")

    async def undrain(self, step: Step, traffic: Traffic) -> StepResult:
        return await self._to_proxy(step, "undrain")

    async def _to_proxy(self, step: Step, what: str) -> StepResult:
        if (self._name, what) in self._world.refused:
            raise TrafficRefused(f"the proxy does not {what} {self._name}", target=self._name, step=step.name)
        return await self._once(step, what, None)

    async def run_hook(self, step: Step, argv: tuple[str, ...], *, timeout_s: float, heard: Heard) -> str:
        await self._once(step, " ".join(argv), None)
        if "fails" in argv:
            raise CommandFailed(
                f"{self._name}: {argv[0]} failed", target=self._name, step=step.name, command=argv[0], exit_status=1
            )
        return ""

    async def run_migration(self, order: MigrationOrder, *, heard: Heard) -> MigrationResult:
        await self._once(order.step, order.phase, order.release)
        if "fails" in order.argv:
            raise CommandFailed(
                f"{self._name}: no table orders", target=self._name, step=order.step.name, command="sh", exit_status=1
            )
        return MigrationResult(changed=True, output=" ".join(order.argv))

    async def rollback(self, step: Step, to: ReleaseRef | None) -> StepResult:
        result = await self._once(step, "rollback", to)
        await self._tell(step, "deployment.rolled_back", to or OLD)
        return result

    async def prune(self, step: Step, service: str) -> StepResult:
        return await self._once(step, "prune", self._host.release)

    async def _once(self, step: Step, what: str, release: ReleaseRef | None) -> StepResult:
        await self._pass_block(step)
        host = self._host
        if host.token is not None and step.token.order < host.token.order:
            raise StaleToken(f"{self._name} has seen a newer attempt", target=self._name, step=step.name)
        host.token = step.token
        self._world.attempts[self._name, what] = step.token.attempt
        if step.id not in host.done:
            changed = what in ("activate", "rollback") and host.release != release
            if changed:
                host.release = release
            self._world.effects.append((self._name, what, release.version if release else ""))
            host.done[step.id] = StepResult(changed=changed)
        return host.done[step.id]

    async def _pass_block(self, step: Step) -> None:
        self._world.entered[self._name, step.name].set()
        block = self._world.blocked.get((self._name, step.name))
        if block is not None:
            await block.wait()

    async def _tell(self, step: Step, event_type: str, release: ReleaseRef) -> None:
        if (self._name, event_type) in self._world.silent:
            return
        await self.emit(
            event_type,
            deployment_id=step.rollout_id,
            service=step.service,
            target=step.target,
            step=f"{step.token.generation}.{step.name}",
            data={
                "version": release.version,
                "release_digest": release.digest,
                "generation": step.token.generation,
                "scope": "target",
            },
        )
