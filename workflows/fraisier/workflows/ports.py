"""What the activities need from the outside, as protocols: the worker builds the real ones and hands them in.

So no workflow file reaches a network library, whatever it imports.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol

from fraisier.providers.base import Provider
from fraisier.providers.local_command import Heard
from fraisier.providers.migrations.models import Migration, MigrationOrder, MigrationResult
from fraisier.workflows.gate_steps import Fact, GateReport, MeasureInput
from fraisier.workflows.plans import StoredArtifact, TargetPlan
from fraisier.workflows.steps import EventInput


class Hint(Protocol):
    """Set when something may have happened; never evidence that it did. An `asyncio.Event` is one."""

    async def wait(self) -> object:
        """Wait until it is set."""
        ...

    def clear(self) -> None:
        """Make it ready for the next."""
        ...


class EventLog(Protocol):
    """The streams, as activities see them."""

    async def publish(self, event: EventInput) -> int:
        """Store an event once for ever and return its sequence. Waits while the streams are away."""
        ...

    async def stored(self, event: EventInput) -> dict[str, Any] | None:
        """What the event says that is stored under an event's ID; None when there is none."""
        ...

    async def mint_generation(self, service: str, note: str) -> int:
        """A fencing generation higher than every one minted for the service before."""
        ...

    async def last_sequence(self, event_type: str) -> int:
        """The last sequence of the stream that holds this event type, 0 when it is empty."""
        ...

    async def frozen(self) -> str:
        """Who froze all services, since when and why; empty when nobody did. Waits while the streams are away."""
        ...

    def facts(
        self, *, event_type: str, rollout_id: str, service: str, after: int, alone: bool = False
    ) -> AsyncIterator[Fact]:
        """All stored events of the type's domain, of one rollout, after a sequence, in order; then it ends.

        Args:
            event_type: the type whose domain is read.
            rollout_id: the rollout.
            service: its service.
            after: only later sequences.
            alone: read the type itself, and nothing else of its domain.
        """
        ...

    def recent(self, *, event_type: str, service: str, over: timedelta) -> AsyncIterator[Fact]:
        """All events of a type and a service, of whatever publisher, that were stored in the last `over`, in order."""
        ...

    def hints(
        self, *, event_type: str, rollout_id: str, service: str, alone: bool = False
    ) -> AbstractAsyncContextManager[Hint]:
        """A hint for the same events."""
        ...


class MeasuringFailed(Exception):
    """There is no answer, for a reason that may pass; the message is for people."""


class Meter(Protocol):
    """What measures for gates."""

    async def measure(self, asked: MeasureInput) -> GateReport:
        """Measure once and judge; inconclusive when neither of the gate's conditions holds.

        Raises:
            MeasuringFailed: there is nothing to judge.
        """
        ...


class TargetPool(Protocol):
    """Connected providers, one a target, kept open between steps."""

    def use(self, region: str, target: TargetPlan) -> AbstractAsyncContextManager[Provider]:
        """The target's provider, connected. A connection that broke in use is not given out again."""
        ...


class Roster(Protocol):
    """Who works."""

    async def count(self, task_queue: str) -> int:
        """How many workers polled a task queue lately."""
        ...


class Migrator(Protocol):
    """What runs migrations."""

    async def problems(self, migration: Migration) -> list[str]:
        """Why a migration could not run here, one sentence each. Changes nothing."""
        ...

    async def run(
        self,
        order: MigrationOrder,
        migration: Migration,
        *,
        host: Provider | None,
        heard: Heard,
        leave: Callable[[], bool],
    ) -> MigrationResult:
        """Run one command of a migration on a host, or on the worker, once for its database and release."""
        ...


class ArtifactSource(Protocol):
    """Where a worker gets artifacts from."""

    async def fetch(self, artifact: StoredArtifact) -> Path:
        """The artifact as a local file, verified by digest, fetched once a worker."""
        ...
