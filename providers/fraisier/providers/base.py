"""The one protocol that every provider speaks."""

from typing import Any, ClassVar, Protocol, runtime_checkable

from pydantic import BaseModel

from fraisier.providers.local_command import Heard
from fraisier.providers.migrations.models import MigrationOrder, MigrationResult
from fraisier.providers.models import HealthCheck, HealthResult, Release, ReleaseRef, Step, StepResult, TargetState
from fraisier.providers.traffic.models import Traffic


@runtime_checkable
class Provider(Protocol):
    """One target of one provider: a host or an engine.

    Made as ``Provider(config={...}, event_bus=bus_or_None, region="eu-west-1")``. Every step can be run
    again: it observes first, does nothing when the target is already as wanted or has the step recorded as
    done, and says whether it changed anything. A step whose fencing token is lower than the highest one the
    target has seen is refused with `StaleToken` before it has any effect.

    A step emits its lifecycle events through `fraisier.nats.NatsEventProvider` and returns only when they
    are acknowledged; with ``event_bus=None`` it does the same work and emits nothing.
    """

    Options: ClassVar[type[BaseModel]]
    """The keys that a manifest may give for a target of this provider."""

    @property
    def target(self) -> str:
        """The target's name: unique in its region and the same for the target's whole life."""
        ...

    async def connect(self) -> None:
        """Open the connection. Idempotent.

        Raises:
            ConnectFailed: no answer in time, or refused.
            HostKeyRejected: the host's key is unknown or has changed.
            AuthenticationFailed: no credential opened the target.
        """
        ...

    async def disconnect(self) -> None:
        """Close the connection. Idempotent, and never raises for a connection that is already gone."""
        ...

    async def inspect(self, service: str) -> TargetState:
        """Ask the target what it runs of this service. Changes nothing."""
        ...

    async def preflight(self, release: Release) -> TargetState | None:
        """Look whether the release could be deployed here. Changes nothing.

        Returns:
            What `inspect` would tell, where the same look shows it; else None, and `inspect` is asked.

        Raises:
            PreflightFailed: with all the reasons found, not only the first.
        """
        ...

    async def stage(self, step: Step, release: Release) -> StepResult:
        """Bring the release to the target, verified by digest, beside what runs. Nothing that runs changes."""
        ...

    async def activate(self, step: Step, release: Release) -> StepResult:
        """Make the staged release the one that runs. Emits ``deployment.started``."""
        ...

    async def check_health(self, step: Step, release: ReleaseRef, check: HealthCheck) -> HealthResult:
        """Probe until the check passed often enough in a row or its deadline is over.

        Emits ``health.check_started``, then ``health.check_passed``, ``health.check_failed`` or
        ``health.check_timeout``. An outcome that this step has already stored is returned, not measured anew.
        """
        ...

    async def drain(self, step: Step, traffic: Traffic) -> StepResult:
        """Take the target out of traffic, and wait until its requests have ended or their time is over.

        Raises:
            ConnectFailed: a proxy cannot be reached.
            TrafficRefused: a proxy does not do it.
        """
        ...

    async def undrain(self, step: Step, traffic: Traffic) -> StepResult:
        """Put the target back into traffic, and wait until the proxy itself sends it requests; raises as `drain`."""
        ...

    async def run_hook(self, step: Step, argv: tuple[str, ...], *, timeout_s: float, heard: Heard) -> str:
        """Run a command on the target in the service's folder, once for all attempts; the end of its output.

        Args:
            step: whose token is compared, and whose end is recorded.
            argv: the argument list.
            timeout_s: how long it may take, in seconds.
            heard: hears its output while it runs.

        Raises:
            CommandFailed: it ended with a status other than 0, or this kind of target runs no commands.
        """
        ...

    async def run_migration(self, order: MigrationOrder, *, heard: Heard) -> MigrationResult:
        """Run a migration's command in the staged release's folder, once for its database and release.

        Once over all rollouts: what had run before is not run again, until it was taken back.

        Args:
            order: the command, and the step whose token is compared.
            heard: hears its output while it runs.

        Raises:
            CommandFailed: it ended with a status other than 0, or this kind of target runs no commands.
        """
        ...

    async def rollback(self, step: Step, to: ReleaseRef | None) -> StepResult:
        """Return to a kept release, or stop the service when nothing ran before (None).

        Emits ``deployment.rolled_back`` for the target. A target that was never changed says so and emits too.
        """
        ...

    async def prune(self, step: Step, service: str) -> StepResult:
        """Remove releases beyond the number kept; never the one that runs nor the one before it."""
        ...


ProviderConfig = dict[str, Any]
"""A target's options as the manifest gives them, checked by the provider's `Options`."""
