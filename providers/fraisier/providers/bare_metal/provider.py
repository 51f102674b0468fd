"""`BareMetalProvider`: releases in folders of their own and one link that says which of them runs."""

import asyncio
import logging
import math
import shlex
import time
from functools import partial
from typing import Any, NoReturn

from fraisier.providers.bare_metal import script
from fraisier.providers.bare_metal.artifact import checked_artifact
from fraisier.providers.bare_metal.commands import CUE, HELD, NOTHING, Completed, Stdin
from fraisier.providers.bare_metal.options import BareMetalOptions
from fraisier.providers.errors import (
    ArtifactRejected,
    CommandFailed,
    CommandUnknown,
    ConnectFailed,
    PreflightFailed,
    ProviderError,
    ReleaseMissing,
    StaleToken,
    TargetBusy,
)
from fraisier.providers.lifecycle import LifecycleProvider
from fraisier.providers.local_command import Heard
from fraisier.providers.migrations.models import MigrationOrder, MigrationResult
from fraisier.providers.models import HealthCheck, HealthResult, Release, ReleaseRef, Step, StepResult, TargetState
from fraisier.providers.secrets import resolved, unreadable

log = logging.getLogger(__name__)

LOOK_TIMEOUT_S = 30.0
LOG_TIMEOUT_S = 10.0
LOG_LINES = 20

SKEW_TOLD_S, SKEW_BORNE_S = 5.0, 300.0
"""By how much a host's clock may differ before that is logged, and before the host is refused, in seconds."""

REFUSALS: dict[str, type[ProviderError]] = {
    "65": ArtifactRejected,
    "66": ReleaseMissing,
    "73": TargetBusy,
    "75": StaleToken,
}
"""What the script's refusals mean, by their exit status."""


class BareMetalProvider(LifecycleProvider):
    """One host over SSH.

    Every step is one remote command (`ground.sh` and what goes with it): it takes the host's lock, compares the
    fencing token, does nothing when the host is already so, acts, and leaves a marker that survives a power cut.

    Args:
        config: the options, see `BareMetalOptions`.
        event_bus: where events go; None emits none.
        region: the region of those events.

    Raises:
        pydantic.ValidationError: the config is not right.
    """

    Options = BareMetalOptions

    def __init__(self, config: dict[str, Any], *, event_bus: Any = None, region: str = "default") -> None:
        super().__init__(event_bus=event_bus, region=region)
        self._options = BareMetalOptions.model_validate(config)
        # What talks SSH is slow to import, and whoever checks a manifest only wants the options.
        from fraisier.providers.bare_metal.connection import HostConnection  # noqa: PLC0415

        self._connection = HostConnection(self._options, target=self.target)
        self._pruned: tuple[str, StepResult] | None = None
        """The rollout whose release is on the host, with no more than are kept, and what was pruned for it."""

    @property
    def target(self) -> str:
        """The host, with its port where one was given."""
        options = self._options
        return f"{options.host}:{options.port}" if options.port else options.host

    async def connect(self) -> None:
        """Open the connection; see `Provider.connect`."""
        await self._connection.open()

    async def disconnect(self) -> None:
        """Close the connection."""
        await self._connection.close()

    async def inspect(self, service: str) -> TargetState:
        """What the host runs of a service, in one round trip."""
        done = await self._run("inspect", script.look("inspect", self._options, service), timeout_s=LOOK_TIMEOUT_S)
        try:
            return script.state(done.output)
        except script.Garbled as error:
            files = f"{script.root_of(self._options, service)}/.fraisier"
            raise CommandFailed(
                f"{self.target}: inspect: {error}; look at what stands in {files} there",
                target=self.target,
                step="inspect",
                command="inspect",
                exit_status=done.exit_status,
            ) from error

    async def preflight(self, release: Release) -> TargetState:
        """Look at tools, rights, space, the clock, secrets, the unit and what is in the way; what runs, all at once."""
        arguments = script.look("preflight", self._options, release.service, room=release.room)
        before = time.time()
        done = await self._run("preflight", arguments, timeout_s=LOOK_TIMEOUT_S)
        reasons = [
            *script.problems(done.output),
            *self._skew(script.clock(done.output), before, time.time()),
            *(await asyncio.to_thread(unreadable, self._options.env) if self._options.env else ()),
        ]
        if reasons:
            raise PreflightFailed(target=self.target, reasons=tuple(reasons))
        return script.state(done.output)

    async def stage(self, step: Step, release: Release) -> StepResult:
        """Send the artifact, unless the host has it, and unpack it beside what runs, in the place of the oldest one."""
        artifact = await checked_artifact(release, target=self.target)
        environment = await self._environment(step)
        arguments = script.act("stage", self._options, step, release.ref, environment=environment)
        done = await self._run("stage", arguments, stdin=Stdin(environment, artifact, CUE))
        here, removed = script.kept(done.output) or (math.inf, 0)
        pruned = StepResult(changed=removed > 0, detail=f"removed {removed}")
        self._pruned = (step.rollout_id, pruned) if here <= self._options.keep_releases else None
        return _result(done)

    async def _environment(self, step: Step) -> bytes:
        if not self._options.env:
            return b""
        values = await asyncio.to_thread(resolved, self._options.env, target=self.target, step=step.name)
        return script.environment_file(values)

    async def activate(self, step: Step, release: Release) -> StepResult:
        """Point `current` to the staged release and restart the service."""
        await self.tell(step, "deployment.started", release.ref)
        return await self._act("activate", step, release.ref)

    async def check_health(self, step: Step, release: ReleaseRef, check: HealthCheck) -> HealthResult:
        """Probe as seen from the host itself."""
        from fraisier.providers.bare_metal.probes import probe_of  # noqa: PLC0415

        probe = probe_of(
            self._connection, check, version=release.version, systemctl=partial(script.systemctl, self._options)
        )
        return await self.conclude_health(
            step, release, check, probe=probe, tail=lambda: self._last_lines(step.service)
        )

    async def fence(self, step: Step) -> None:
        """Show the host the step's token."""
        await self._run("fence", script.act("fence", self._options, step, None))

    async def run_hook(self, step: Step, argv: tuple[str, ...], *, timeout_s: float, heard: Heard) -> str:
        """Run a command in the service's folder; a lost connection neither ends nor doubles it."""
        arguments = [
            *script.act("hook", self._options, step, None),
            f"hook={shlex.join(argv)}",
            f"time_limit={max(1, round(timeout_s))}",
        ]
        patience = self._options.step_timeout.total_seconds()
        done = await self._run("hook", arguments, timeout_s=timeout_s + patience, heard=heard)
        return done.tail

    async def run_migration(self, order: MigrationOrder, *, heard: Heard) -> MigrationResult:
        """Run a command in the release's folder; a mark on the host tells later rollouts that its database had it."""
        patience = self._options.step_timeout.total_seconds()
        done = await self._run(
            "hook",
            script.migration(self._options, order),
            stdin=HELD if order.tied else NOTHING,
            timeout_s=2 * order.timeout_s + patience,  # as long again for another one's end
            heard=heard,
            hidden=order.hidden,
        )
        return MigrationResult(changed=_result(done).changed, output=done.tail)

    async def rollback(self, step: Step, to: ReleaseRef | None) -> StepResult:
        """Run a kept release again, or stop the service and remove `current` when nothing ran before."""
        result = await self._act("rollback", step, to)
        await self.tell(step, "deployment.rolled_back", to, detail=result.detail)
        return result

    async def prune(self, step: Step, service: str) -> StepResult:  # noqa: ARG002 (the step names the service)
        """Remove all but the newest `keep_releases`; a host that made room while it was staged is not asked again."""
        if self._pruned is not None and self._pruned[0] == step.rollout_id:
            return self._pruned[1]
        return await self._act("prune", step, None)

    async def _act(self, verb: str, step: Step, release: ReleaseRef | None) -> StepResult:
        return _result(await self._run(verb, script.act(verb, self._options, step, release)))

    async def _run(
        self,
        verb: str,
        arguments: list[str],
        *,
        stdin: Stdin = NOTHING,
        timeout_s: float | None = None,
        heard: Heard | None = None,
        hidden: tuple[str, ...] = (),
    ) -> Completed:
        done = await self._connection.run(
            script.command_line(arguments),
            name=verb,
            timeout_s=timeout_s or self._options.step_timeout.total_seconds(),
            stdin=stdin,
            heard=heard,
            hidden=hidden,
        )
        if dict(script.answers(done.output)).get("ended") != str(done.exit_status):
            raise CommandUnknown(
                f"{self.target}: {verb} broke off with status {done.exit_status}; whether it took effect is not known: "
                f"{done.tail or 'it said nothing'}",
                target=self.target,
                step=verb,
                command=verb,
                exit_status=done.exit_status,
                tail=done.tail,
            )
        if done.exit_status != 0:
            self._refuse(verb, arguments, done)
        return done

    def _refuse(self, verb: str, arguments: list[str], done: Completed) -> NoReturn:
        message = f"{self.target}: {verb} failed with status {done.exit_status}: {done.tail or 'it said nothing'}"
        # Only the script's own word counts: a service's command may end with any status of its own.
        refusal = REFUSALS.get(dict(script.answers(done.output)).get("refused", ""))
        if refusal is not None:
            raise refusal(message, target=self.target, step=verb)
        raise CommandFailed(
            message,
            target=self.target,
            step=verb,
            command=shlex.join(arguments),
            exit_status=done.exit_status,
            tail=done.tail,
        )

    def _skew(self, clock: int | None, before: float, after: float) -> list[str]:
        """Why the host's clock is wrong, when it was read between two moments of ours."""
        ahead = 0.0 if clock is None else max(clock - after, 0.0) + min(clock + 1 - before, 0.0)
        told = f"its clock is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} the worker's"
        if abs(ahead) > SKEW_BORNE_S:
            return [f"{told}: let one time server set both"]
        if abs(ahead) > SKEW_TOLD_S:
            log.warning("%s: %s", self.target, told)
        return []

    async def _last_lines(self, service: str) -> str:
        argv = script.last_lines(self._options, service, LOG_LINES)
        try:
            done = await self._connection.run_limited(argv, seconds=LOG_TIMEOUT_S)
        except (ConnectFailed, CommandUnknown):
            return ""  # the verdict stands without them, and must not be lost for their sake
        return done.output.strip()[-4096:] if done.exit_status == 0 else ""


def _result(done: Completed) -> StepResult:
    told = dict(script.answers(done.output)).get("done", "")
    changed, _, detail = told.partition(" ")
    return StepResult(changed=changed == "1", detail=detail)
