"""`ComposeProvider`: one project that is brought from release to release, and back."""

import asyncio
from typing import Any

from fraisier.providers.compose.bring import Bringer
from fraisier.providers.compose.bundle import Bundle
from fraisier.providers.compose.engine import ProjectEngine
from fraisier.providers.compose.fence import Entry, enter, give_up, leave, refuse_overtaken
from fraisier.providers.compose.options import ComposeOptions
from fraisier.providers.compose.plugin import Plugin
from fraisier.providers.compose.probes import main_of, probe_of
from fraisier.providers.compose.project import Project
from fraisier.providers.compose.scratch import remove_left
from fraisier.providers.compose.shelf import Note, Shelf
from fraisier.providers.docker.claims import highest
from fraisier.providers.docker.containers import Container
from fraisier.providers.errors import CommandFailed, PreflightFailed, ReleaseMissing
from fraisier.providers.lifecycle import LifecycleProvider, nothing_runs
from fraisier.providers.models import HealthCheck, HealthResult, Release, ReleaseRef, Step, StepResult, TargetState
from fraisier.providers.secrets import unreadable

TRIES = 3
"""How often a project is brought up while an earlier attempt may still be at it."""


class ComposeProvider(LifecycleProvider):
    """One Compose project on one engine. How ghosts are kept out is told in `fraisier.providers.compose.fence`.

    `stage` resolves the release's Compose files, brings their images and keeps all that it takes on the engine;
    `activate` brings the project there and waits until every service is well, else it brings the project back. All
    state is on the engine, so any worker can take over.

    Args:
        config: the options, see `ComposeOptions`.
        event_bus: where events go; None emits none.
        region: the region of those events.

    Raises:
        pydantic.ValidationError: the config is not right.
    """

    Options = ComposeOptions

    def __init__(self, config: dict[str, Any], *, event_bus: Any = None, region: str = "default") -> None:
        super().__init__(event_bus=event_bus, region=region)
        self._options = ComposeOptions.model_validate(config)
        self._engine = ProjectEngine(self._options, target=self.target)
        self._plugin = Plugin(self._options, engine=self._engine, target=self.target)
        self._shelf = Shelf(self._engine)
        self._bringer = Bringer(self._engine, self._plugin, self._options, self.target)

    @property
    def target(self) -> str:
        """The target's own name, else the engine's address."""
        return self._options.name or self._options.engine or "default"

    async def connect(self) -> None:
        """Open the connection; see `Provider.connect`."""
        await asyncio.to_thread(remove_left)
        await self._engine.open()

    async def disconnect(self) -> None:
        """Close the connection."""
        await self._engine.close()

    async def inspect(self, service: str) -> TargetState:
        """What is in place on the engine, out of the notes there."""
        token, current = await highest(self._engine, service), await self._shelf.current(service)
        kept = await self._shelf.releases(service)
        if current is None:
            return TargetState(kept=kept, token=token)
        return TargetState(
            release=current.release,
            rollout_id=current.rollout_id,
            since=await self._shelf.since(current),
            kept=tuple(release for release in kept if release != current.release),
            token=token,
            drift=await self._project(service).drifted(current.containers) if current.release else (),
        )

    async def preflight(self, release: Release) -> None:
        """Look whether there is a plugin, something to bring up, and every secret; the engine itself has answered."""
        await self._engine.project(self._project(release.service).name)
        reasons = await asyncio.to_thread(unreadable, self._options.env)
        if missing := await self._plugin.missing():
            reasons.append(missing)
        if self._options.compose is None and not release.digest.startswith("sha256:"):
            reasons.append("the release has no artifact: Compose needs release.artifact, or `compose` in the manifest")
        if reasons:
            raise PreflightFailed(target=self.target, reasons=tuple(reasons))

    async def stage(self, step: Step, release: Release) -> StepResult:
        """Bring the images and keep the release on the engine, unless it is in place already."""
        entry = await self._enter(step)
        return await self._leave(step, entry, entry.claims.recorded or await self._stage(step, release, entry))

    async def activate(self, step: Step, release: Release) -> StepResult:
        """Bring the project to the staged release, or back to where it was when that does not come up."""
        await self.tell(step, "deployment.started", release.ref)
        entry = await self._enter(step, gated=True)
        return await self._leave(step, entry, entry.claims.recorded or await self._activate(step, release.ref, entry))

    async def check_health(self, step: Step, release: ReleaseRef, check: HealthCheck) -> HealthResult:
        """Probe the project in place: every service by its own check, and the one that the probe means."""
        project = self._project(step.service)
        services = [member.service for member in await project.members() if not member.did_its_job]
        main = main_of(self._options.main, services, step.service)
        probe = probe_of(project, check, main=main, version=release.version) if services else nothing_runs
        return await self.conclude_health(step, release, check, probe=probe, tail=lambda: project.tail(main))

    async def fence(self, step: Step) -> None:
        """Claim the service for the step."""
        await self._enter(step)

    async def rollback(self, step: Step, to: ReleaseRef | None) -> StepResult:
        """Bring the project back to a kept release, or remove its containers when nothing ran before."""
        there = await self._project(step.service).containers()
        entry = await self._enter(step, gated=to is not None)
        result = entry.claims.recorded
        if result is None and to is not None:
            result = await self._return_to(step, to, entry)
        elif result is None:
            await self._project(step.service).remove(there)
            changed = bool(there) or await self._shelf.current(step.service) is not None
            if changed:
                await self._shelf.note(step, None, containers=[])
            result = StepResult(changed=changed)
        done = await self._leave(step, entry, result or StepResult(changed=False))
        await self.tell(step, "deployment.rolled_back", to)
        return done

    async def prune(self, step: Step, service: str) -> StepResult:
        """Remove the bundles of all but the newest `keep_releases`; images go when whoever owns the engine says so."""
        entry = await self._enter(step)
        if entry.claims.recorded:
            return await self._leave(step, entry, entry.claims.recorded)
        keep = (await self._shelf.releases(service))[: self._options.keep_releases]
        return await self._leave(step, entry, StepResult(changed=await self._shelf.clear(step, keep)))

    async def _stage(self, step: Step, release: Release, entry: Entry) -> StepResult:
        if await self._settled(step, release.ref, entry):
            return StepResult(changed=False)
        bundle = await self._bringer.prepared(release, project=self._project(step.service).name)
        await self._shelf.put(step, bundle)
        return StepResult(changed=True)

    async def _activate(self, step: Step, release: ReleaseRef, entry: Entry) -> StepResult:
        bundle = await self._shelf.own(step, release)
        current = await self._shelf.current(step.service)
        if bundle is None and await self._settled(step, release, entry):
            return StepResult(changed=False)
        if bundle is None and current is not None and current.release == release:
            bundle = await self._shelf.kept(step.service, release)
        if bundle is None:
            raise ReleaseMissing(
                f"{self.target}: {release.version} is not staged here", target=self.target, step=step.name
            )
        there = await self._project(step.service).containers()
        try:
            await self._bring(step, bundle, entry)
        except CommandFailed as failed:
            if not failed.retryable:
                await self._put_back(step, current, there, entry)
            raise
        return StepResult(changed=True)

    async def _return_to(self, step: Step, to: ReleaseRef, entry: Entry) -> StepResult:
        if await self._settled(step, to, entry):
            return StepResult(changed=False)
        bundle = await self._shelf.kept(step.service, to)
        if bundle is None:
            raise ReleaseMissing(
                f"{self.target}: {to.version} is not kept here any more", target=self.target, step=step.name
            )
        await self._bring(step, bundle, entry)
        return StepResult(changed=True)

    async def _bring(self, step: Step, bundle: Bundle, entry: Entry) -> None:
        """Bring the project there and note it. Who may not be alone with it tries again: the other one ends, too."""
        project, release = self._project(step.service), bundle.recipe.release
        if lost := await self._bringer.lost(bundle):
            await give_up(self._engine, entry)
            raise ReleaseMissing(
                f"{self.target}: {release.version} cannot run, and nothing was changed: the engine has no more "
                f"{' and '.join(lost)}; pull or load that there, or roll out a release that brings its images",
                target=self.target,
                step=step.name,
            )
        for left in reversed(range(TRIES if entry.claims.contested else 1)):
            try:
                await self._bringer.bring(step, bundle, project, gate=entry.gate, anew=entry.claims.unsettled)
                break
            except CommandFailed as failed:
                await refuse_overtaken(self._engine, step, target=self.target)
                if failed.retryable or not left:
                    raise
        names = [one.name for one in await project.containers()]
        await self._shelf.note(step, release, containers=names)

    async def _put_back(self, step: Step, current: Note | None, there: list[Container], entry: Entry) -> None:
        """Bring the project back to what was in place; where that fails, the step is left unfinished."""
        project = self._project(step.service)
        if current is None or current.release is None:
            known = {one.id for one in there}
            await project.remove([one for one in await project.containers() if one.id not in known])
        else:
            bundle = await self._shelf.kept(step.service, current.release)
            if bundle is None or await self._bringer.lost(bundle):
                return
            await self._bringer.bring(step, bundle, project, gate=entry.gate, anew=False)
        await give_up(self._engine, entry)

    async def _settled(self, step: Step, release: ReleaseRef, entry: Entry) -> bool:
        """Whether the release is in place with nothing amiss, and no ghost may still change that."""
        current = await self._shelf.current(step.service)
        return (
            current is not None
            and current.release == release
            and not entry.claims.unsettled
            and await self._project(step.service).is_whole(current.containers)
        )

    def _project(self, service: str) -> Project:
        name = self._options.project_of(service)
        return Project(self._engine, self._options, name, self.target)

    async def _enter(self, step: Step, *, gated: bool = False) -> Entry:
        return await enter(self._engine, step, target=self.target, gated=gated)

    async def _leave(self, step: Step, entry: Entry, result: StepResult) -> StepResult:
        return await leave(self._engine, step, entry, result)
