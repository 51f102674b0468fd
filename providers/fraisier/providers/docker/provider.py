"""`DockerProvider`: one container a release and generation, the new one up before the old one goes."""

import asyncio
from typing import Any

from fraisier.providers.docker.claims import Claims, claim, conclude, drifted, highest, put_back
from fraisier.providers.docker.containers import (
    CLAIM_KIND,
    RELEASE_KIND,
    ROLLOUT,
    Container,
    clone,
    configuration,
    container_name,
    more_networks,
    started_at,
)
from fraisier.providers.docker.engine import Engine
from fraisier.providers.docker.images import bring
from fraisier.providers.docker.options import DockerOptions
from fraisier.providers.docker.probes import probe_of
from fraisier.providers.docker.switch import Place
from fraisier.providers.errors import CommandFailed, PreflightFailed, ReleaseMissing
from fraisier.providers.lifecycle import LifecycleProvider, nothing_runs
from fraisier.providers.models import HealthCheck, HealthResult, Release, ReleaseRef, Step, StepResult, TargetState
from fraisier.providers.secrets import resolved, unreadable


class DockerProvider(LifecycleProvider):
    """One Docker engine. How an older attempt is kept from acting is told in `fraisier.providers.docker.claims`.

    `stage` brings the image and creates the container; `activate` starts it beside the old one, waits until it is
    healthy by its own health check (or stays up), and then stops the old one, which is kept. All state is in names
    and labels on the engine, so any worker can take over.

    Args:
        config: the options, see `DockerOptions`.
        event_bus: where events go; None emits none.
        region: the region of those events.

    Raises:
        pydantic.ValidationError: the config is not right.
    """

    Options = DockerOptions

    def __init__(self, config: dict[str, Any], *, event_bus: Any = None, region: str = "default") -> None:
        super().__init__(event_bus=event_bus, region=region)
        self._options = DockerOptions.model_validate(config)
        self._engine = Engine(self._options, target=self.target)
        self._place = Place(self._engine, self._options, self.target)

    @property
    def target(self) -> str:
        """The target's own name, else the engine's address."""
        return self._options.name or self._options.engine or "default"

    async def connect(self) -> None:
        """Open the connection; see `Provider.connect`."""
        await self._engine.open()

    async def disconnect(self) -> None:
        """Close the connection."""
        await self._engine.close()

    async def inspect(self, service: str) -> TargetState:
        """What the engine runs of a service, out of its containers' labels."""
        token = await highest(self._engine, service)
        started = await self._place.containers(service)
        current = next((one for one in started if not one.had_its_turn), None)
        kept = [one.release for one in started if current is None or one.release != current.release]
        drift = drifted(started, await self._engine.containers(service, CLAIM_KIND))
        if current is None:
            return TargetState(kept=tuple(dict.fromkeys(kept)), token=token, drift=drift)
        return TargetState(
            release=current.release,
            rollout_id=current.labels[ROLLOUT],
            since=started_at(await self._engine.inspect(current.id)),
            kept=tuple(dict.fromkeys(kept)),
            token=token,
            drift=drift,
        )

    async def preflight(self, release: Release) -> None:
        """Look whether there is an image to run, every network and every secret."""
        there = await self._engine.networks()
        reasons = await asyncio.to_thread(unreadable, self._options.env)
        reasons += [f"the engine has no network {one}" for one in self._options.network if one not in there]
        if release.image is None:
            reasons.append("the release has no image: Docker needs release.image")
        if reasons:
            raise PreflightFailed(target=self.target, reasons=tuple(reasons))

    async def stage(self, step: Step, release: Release) -> StepResult:
        """Bring the image and create the container, unless the release runs already."""
        found = await self._claim(step)
        return await self._conclude(step, found, found.recorded or await self._stage(step, release, found))

    async def activate(self, step: Step, release: Release) -> StepResult:
        """Start the staged container, and stop the old one once the new one is up."""
        await self.tell(step, "deployment.started", release.ref)
        found = await self._claim(step, release.ref)
        return await self._conclude(step, found, found.recorded or await self._activate(step, release.ref, found))

    async def check_health(self, step: Step, release: ReleaseRef, check: HealthCheck) -> HealthResult:
        """Probe the container in place."""
        current = await self._place.current(step.service)
        probe = probe_of(self._engine, current.id, check, version=release.version) if current else nothing_runs
        return await self.conclude_health(step, release, check, probe=probe, tail=lambda: self._tail(current))

    async def fence(self, step: Step) -> None:
        """Claim the service for the step."""
        await self._claim(step)

    async def rollback(self, step: Step, to: ReleaseRef | None) -> StepResult:
        """Run a kept release again as it was configured then, or stop all when nothing ran before."""
        found = await self._claim(step, to)
        result = found.recorded
        if result is None and to is None:
            result = StepResult(changed=await self._place.empty(step.service))
        elif result is None and to is not None:
            result = await self._return_to(step, to, found)
        done = await self._conclude(step, found, result or StepResult(changed=False))
        await self.tell(step, "deployment.rolled_back", to)
        return done

    async def prune(self, step: Step, service: str) -> StepResult:
        """Remove the containers of all but the newest `keep_releases`."""
        found = await self._claim(step)
        return await self._conclude(step, found, found.recorded or await self._prune(service))

    async def _stage(self, step: Step, release: Release, found: Claims) -> StepResult:
        current = await self._place.current(step.service)
        if self._settled(current, release.ref, found):
            return StepResult(changed=False)
        environment = await asyncio.to_thread(resolved, self._options.env, target=self.target, step=step.name)
        config = configuration(
            self._options, step, release, image_id=await bring(self._engine, release), environment=environment
        )
        await self._engine.create(container_name(step, release), config, self._options.network[1:])
        return StepResult(changed=True)

    async def _activate(self, step: Step, release: ReleaseRef, found: Claims) -> StepResult:
        new = await self._own(step, release)
        if new is None:
            current = await self._place.current(step.service)
            if self._settled(current, release, found):
                return StepResult(changed=False)
            if current is None or current.release != release:
                raise ReleaseMissing(
                    f"{self.target}: {release.version} is not staged here", target=self.target, step=step.name
                )
            new = await self._again(step, current)
        return await self._switch(step, new, found, prove=True)

    async def _return_to(self, step: Step, to: ReleaseRef, found: Claims) -> StepResult:
        if self._settled(await self._place.current(step.service), to, found):
            return StepResult(changed=False)
        new = await self._own(step, to)
        if new is None:
            kept = [one for one in await self._place.containers(step.service) if one.release == to]
            if not kept:
                raise ReleaseMissing(
                    f"{self.target}: {to.version} is not kept here any more", target=self.target, step=step.name
                )
            new = await self._again(step, kept[0])
        return await self._switch(step, new, found, prove=False)

    async def _switch(self, step: Step, new: str, found: Claims, *, prove: bool) -> StepResult:
        """Put a container in place; of one that broke down nothing is left, and what ran before runs."""
        try:
            await self._place.switch(step, new, prove=prove)
        except CommandFailed as failed:
            if not failed.retryable:
                await self._engine.remove(new)
                await put_back(self._engine, found)
            raise
        return StepResult(changed=True)

    async def _prune(self, service: str) -> StepResult:
        started = await self._place.containers(service)
        in_place = [one.release for one in started if not one.had_its_turn]
        keep = list(dict.fromkeys([*in_place, *(one.release for one in started)]))[: self._options.keep_releases]
        newest = {release: next(one.id for one in started if one.release == release) for release in keep}
        gone = [one for one in started if one.had_its_turn and newest.get(one.release) != one.id]
        for one in gone:
            await self._engine.remove(one.id)
        return StepResult(changed=bool(gone))

    async def _own(self, step: Step, release: ReleaseRef) -> str | None:
        """The container that this generation made for the release."""
        name = container_name(step, release)
        return next(
            (one.id for one in await self._engine.containers(step.service, RELEASE_KIND) if one.name == name), None
        )

    async def _again(self, step: Step, one: Container) -> str:
        """A new container of this generation, configured as another one: its ID is known to no ghost."""
        inspected = await self._engine.inspect(one.id)
        config = clone(inspected, step, one.release)
        return await self._engine.create(container_name(step, one.release), config, more_networks(inspected))

    def _settled(self, current: Container | None, release: ReleaseRef, found: Claims) -> bool:
        return (
            current is not None and current.release == release and current.status == "running" and not found.unsettled
        )

    async def _claim(self, step: Step, release: ReleaseRef | None = None) -> Claims:
        return await claim(self._engine, step, target=self.target, release=release)

    async def _conclude(self, step: Step, found: Claims, result: StepResult) -> StepResult:
        return await conclude(self._engine, step, found, result)

    async def _tail(self, current: Container | None) -> str:
        if current is None:
            return ""
        try:
            return await self._place.tail(await self._engine.inspect(current.id))
        except CommandFailed:
            return ""  # the verdict stands without them, and must not be lost for their sake
