"""`LocalProcessProvider`: the steps."""

import asyncio
import shutil
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

from fraisier.providers.errors import CommandFailed, PreflightFailed, ReleaseMissing
from fraisier.providers.health import Probe, Sighting
from fraisier.providers.http_probe import ask, reach
from fraisier.providers.lifecycle import LifecycleProvider
from fraisier.providers.local_command import Heard, run_here
from fraisier.providers.models import HealthCheck, HealthResult, Release, ReleaseRef, Step, StepResult, TargetState
from fraisier_local_process.options import LocalProcessOptions
from fraisier_local_process.place import Place, Running, State
from fraisier_local_process.process import start, stop

TAIL_LINES = 20

Change = Callable[[State], State | None]
"""What a step does to what is known, with its effect; None when all is as wanted already."""


class LocalProcessProvider(LifecycleProvider):
    """One folder on this machine, and the process that runs out of it.

    Args:
        config: the options, see `LocalProcessOptions`.
        event_bus: where events go; None emits none.
        region: the region of those events.
    """

    Options = LocalProcessOptions

    def __init__(self, config: dict[str, Any], *, event_bus: Any = None, region: str = "default") -> None:
        super().__init__(event_bus=event_bus, region=region)
        self._options = LocalProcessOptions.model_validate(config)
        self._place = Place(self._options.root, target=self.target)

    @property
    def target(self) -> str:
        """The target's name."""
        return self._options.name

    async def connect(self) -> None:
        """Nothing: it is here."""

    async def disconnect(self) -> None:
        """Nothing."""

    async def inspect(self, service: str) -> TargetState:
        """What is in place here."""
        state = await asyncio.to_thread(self._place.read)
        current = state.running
        kept = tuple(release for release in state.had if not current or release != current.release)
        if current is None:
            return TargetState(kept=kept, token=state.token)
        return TargetState(
            release=current.release,
            rollout_id=current.rollout_id,
            since=current.since,
            kept=kept,
            token=state.token,
        )

    async def preflight(self, release: Release) -> None:
        """Look whether there are the tools that a process is started with."""
        missing = tuple(f"there is no {tool} here" for tool in ("sh", "setsid", "ps") if shutil.which(tool) is None)
        if missing:
            raise PreflightFailed(target=self.target, reasons=missing)

    async def stage(self, step: Step, release: Release) -> StepResult:
        """Unpack the release, unless it is there."""

        def unpack(state: State) -> State | None:
            if self._place.folder(release.ref).exists():
                return None
            self._place.unpack(release)
            return state

        return await self._once(step, unpack)

    async def activate(self, step: Step, release: Release) -> StepResult:
        """Stop what runs and start the release."""
        await self.tell(step, "deployment.started", release.ref)
        return await self._once(step, lambda state: self._run(step, state, release.ref))

    async def rollback(self, step: Step, to: ReleaseRef | None) -> StepResult:
        """Stop what runs, and start a kept release where there was one."""
        done = await self._once(step, lambda state: self._run(step, state, to) if to else self._empty(state))
        await self.tell(step, "deployment.rolled_back", to)
        return done

    async def prune(self, step: Step, service: str) -> StepResult:
        """Remove the folders of all but the newest releases."""

        def remove(state: State) -> State | None:
            keep = {self._place.folder(release).name for release in state.had[: self._options.keep_releases]}
            folders = self._place.folder(state.had[0]).parent.iterdir() if state.had else ()
            gone = [folder for folder in folders if folder.name not in keep]
            for folder in gone:
                shutil.rmtree(folder)
            return state.model_copy(update={"had": state.had[: self._options.keep_releases]}) if gone else None

        return await self._once(step, remove)

    async def check_health(self, step: Step, release: ReleaseRef, check: HealthCheck) -> HealthResult:
        """Probe from here."""
        return await self.conclude_health(step, release, check, probe=_probe_of(check, release), tail=self._tail)

    async def fence(self, step: Step) -> None:
        """Make the step's token the highest."""
        await self._once(step, lambda _: None)

    async def run_hook(self, step: Step, argv: tuple[str, ...], *, timeout_s: float, heard: Heard) -> str:
        """Refuse: whatever a hook could do here, it can do on the worker, which is here too."""
        raise CommandFailed(
            f"{self.target}: give the hook `on: worker`, which is this machine",
            target=self.target,
            step=step.name,
            command=argv[0],
            exit_status=None,
        )

    async def _once(self, step: Step, change: Change) -> StepResult:
        """Do a step under the lock, unless it is on record; then what is on record is the answer."""

        def do() -> StepResult:
            with self._place.entered(step) as state:
                if step.id in state.done:
                    return StepResult(changed=state.done[step.id])
                changed = change(state)
                after = changed or state
                # The records of this generation are enough: older steps are refused by their tokens.
                of_now = f"{step.rollout_id}.{step.token.generation}."
                done = {name: did for name, did in after.done.items() if name.startswith(of_now)}
                self._place.write(after.model_copy(update={"done": {**done, step.id: changed is not None}}))
                return StepResult(changed=changed is not None)

        return await asyncio.to_thread(do)

    def _run(self, step: Step, state: State, release: ReleaseRef) -> State | None:
        current = state.running
        if current is not None and current.release == release and current.process.is_alive:
            return None
        folder = self._place.folder(release)
        if not folder.exists():
            raise ReleaseMissing(f"{self.target}: {release.version} is not here", target=self.target, step=step.name)
        if current is not None:
            stop(current.process)
        process = start(self._options.start, folder, self._place.log)
        running = Running(
            release=release, rollout_id=step.rollout_id, since=datetime.now(timezone.utc), process=process
        )
        had = (release, *(one for one in state.had if one != release))
        after = state.model_copy(update={"running": running, "had": had})
        self._place.write(after)  # at once: a worker that dies now has left a process that must be found again
        return after

    def _empty(self, state: State) -> State | None:
        if state.running is None:
            return None
        stop(state.running.process)
        return state.model_copy(update={"running": None})

    async def _tail(self) -> str:
        if not self._place.log.exists():
            return ""
        return "\n".join(self._place.log.read_text(errors="replace").splitlines()[-TAIL_LINES:])


def _probe_of(check: HealthCheck, release: ReleaseRef) -> Probe:
    async def tcp() -> Sighting:
        host, _, port = (check.tcp or "").rpartition(":")
        return await reach(host.strip("[]"), int(port), shown=check.tcp or "")

    async def command() -> Sighting:
        argv = check.command or ()
        ended = await run_here(argv, timeout_s=check.timeout.total_seconds())
        return Sighting(passed=ended.status == 0, detail=f"{argv[0]} ended with {ended.status}: {ended.tail}")

    async def unknown() -> Sighting:
        return Sighting(passed=False, detail="check a process by http, tcp or command")

    async def http() -> Sighting:
        return await ask(check, version=release.version)

    return http if check.http else tcp if check.tcp else command if check.command else unknown
