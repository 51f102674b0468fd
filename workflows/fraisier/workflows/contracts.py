"""What goes in and out of every workflow and activity: frozen models that import nothing but pydantic.

Only optional fields may be added to them, because running rollouts hold older ones in their histories.
"""

from datetime import datetime, timedelta
from enum import Enum
from typing import Any

from pydantic import Field

from fraisier.providers.duration import Duration
from fraisier.providers.hooks import Hooks
from fraisier.providers.migrations.models import Migration
from fraisier.providers.models import HealthCheck, Model, ReleaseRef
from fraisier.providers.traffic.models import Traffic
from fraisier.workflows.gate_plans import GatePlan


class OnFailure(str, Enum):
    """What a rollout does when a region or a gate fails."""

    ROLLBACK_REGION = "rollback_region"
    ROLLBACK_ALL = "rollback_all"
    PAUSE = "pause"
    CONTINUE = "continue"


class Preflight(str, Enum):
    """When targets are looked at: all of them before the first wave, or each wave's before it starts."""

    ALL = "all"
    WAVE = "wave"


class StoredArtifact(Model):
    """A file in the artifact store.

    Attributes:
        digest: ``sha256:<64 hex digits>``, also its name in the store.
        size: in bytes.
        name: the file name it was given by people.
        unpacked: what is in it, in bytes; 0 when that is not known.
    """

    digest: str
    size: int
    name: str
    unpacked: int = 0


class ReleasePlan(ReleaseRef):
    """What is shipped. `digest` names the artifact, or the image where there is no artifact."""

    service: str
    artifact: StoredArtifact | None = None
    image: str | None = None
    image_archive: StoredArtifact | None = None

    @property
    def ref(self) -> ReleaseRef:
        """The release by name alone."""
        return ReleaseRef(version=self.version, digest=self.digest)


class TargetPlan(Model):
    """One host or one engine, and the options its provider needs."""

    name: str
    provider: str
    options: dict[str, Any]


class Placement(str, Enum):
    """Which workers take a region's steps."""

    CENTRAL = "central"
    REGIONAL = "regional"


class WindowPlan(Model):
    """A stretch of time, once or again and again, by the clocks of its region.

    Attributes:
        rrule: an iCalendar recurrence rule; empty for once.
        start: its first beginning, or for a rule where its counting begins; without a zone.
        lasts: how long it is.
        why: what people call it.
    """

    rrule: str = ""
    start: datetime
    lasts: Duration
    why: str = ""


class PromotionPlan(Model):
    """How a canary is promoted.

    Attributes:
        gates: asked about the canary, one after the other; when all pass it is promoted.
        timeout: how long it waits for somebody to promote it; then it has failed. A pause stops this clock.
    """

    gates: tuple[GatePlan, ...] = ()
    timeout: Duration = timedelta(hours=1)


class RegionPlan(Model):
    """A region's part, with every count resolved.

    Attributes:
        canary: how many targets form the first batch, 0 for none.
        max_parallel: how many targets go together after it.
        tolerance: how many targets may fail before the region fails.
        promotion: how its canary is promoted; None for one that the rest follows at once.
        on_failure: what its failure does; None for what the wave says.
        soak: how long to wait after it before another region takes its place in the wave.
        time_zone: the IANA zone of its windows and freezes.
        windows: when it may start; at any time when there are none.
        freezes: when it may not start, whatever the windows say.
        traffic: the proxies that a target is taken out of before it changes, and put back into once it is healthy.
        hooks: the manifest's own commands around the region, its batches and its targets.
        placement: which workers take its steps.
    """

    name: str
    targets: tuple[TargetPlan, ...]
    canary: int = 0
    max_parallel: int = 1
    tolerance: int = 0
    promotion: PromotionPlan | None = None
    on_failure: OnFailure | None = None
    soak: Duration = timedelta(0)
    health: HealthCheck
    time_zone: str = "UTC"
    windows: tuple[WindowPlan, ...] = ()
    freezes: tuple[WindowPlan, ...] = ()
    traffic: Traffic | None = None
    hooks: Hooks | None = None
    placement: Placement = Placement.CENTRAL


class WavePlan(Model):
    """Regions that go together.

    Attributes:
        number: counts from 1.
        on_failure: what the failure of a region or of a gate after it does; None for what the plan says.
    """

    number: int
    regions: tuple[str, ...]
    max_parallel: int
    soak: Duration = timedelta(0)
    on_failure: OnFailure | None = None


class Plan(Model):
    """A rollout as it will be done: the manifest with every default and count resolved.

    Attributes:
        requeue: whether what failed or was skipped on the way is tried once more at the end.
        heeds_events: whether verbs to it may come as events.
        heeds_freeze: whether a freeze of all services keeps its regions from starting.
    """

    service: str
    release: ReleasePlan
    waves: tuple[WavePlan, ...]
    regions: dict[str, RegionPlan]
    gates: tuple[GatePlan, ...]
    on_failure: OnFailure = OnFailure.ROLLBACK_REGION
    decision_timeout: Duration = timedelta(minutes=10)
    migrations: tuple[Migration, ...] = ()
    preflight: Preflight = Preflight.ALL
    requeue: bool = False
    heeds_freeze: bool = False
    heeds_events: bool = False

    def wave(self, number: int) -> WavePlan:
        """A wave by its number."""
        return self.waves[number - 1]

    def is_last(self, wave: WavePlan) -> bool:
        """Whether no region comes after a wave."""
        return not any(later.regions for later in self.waves[wave.number :])

    def when_fails(self, wave: WavePlan, region: str | None = None) -> OnFailure:
        """What a failure does: of a region of a wave, or of the wave itself, such as a gate after it."""
        own = self.regions[region].on_failure if region is not None else None
        return own or wave.on_failure or self.on_failure


class Undo(Model):
    """What it takes to take an ended rollout back.

    Attributes:
        releases: every release that ran somewhere before, once.
        regions: by region and target, the index of what ran there; None where nothing did.
        expanded: the databases whose expand is to be taken back.
    """

    releases: tuple[ReleaseRef, ...] = ()
    regions: dict[str, dict[str, int | None]]
    expanded: tuple[str, ...] = ()


class RolloutInput(Model):
    """The one argument of `RolloutWorkflow`.

    Attributes:
        actor: who starts it.
        reason: why, when it takes an earlier rollout back.
        undo: what an earlier rollout of the same plan left changed: this one only takes it back.
        carried: what an earlier run of the workflow hands over, by part, as `RolloutWorkflow` writes and reads it.
    """

    rollout_id: str
    plan: Plan
    actor: str = ""
    reason: str = ""
    undo: Undo | None = None
    carried: dict[str, Any] | None = None


class TargetOutcome(str, Enum):
    """How a target stands within a region rollout."""

    PENDING = "pending"
    STAGED = "staged"
    ACTIVATING = "activating"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    STOPPED = "stopped"
    ROLLED_BACK = "rolled_back"
    ROLLBACK_FAILED = "rollback_failed"


class TargetReport(Model):
    """A target's part in the end.

    Attributes:
        touched: whether an activation was sent to it, so that a rollback must visit it.
        error: what went wrong, for people; empty when nothing did.
    """

    target: str
    outcome: TargetOutcome = TargetOutcome.PENDING
    touched: bool = False
    error: str = ""


class RegionOutcome(str, Enum):
    """How a region rollout ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    STOPPED = "stopped"
    CANARY = "canary"
    """Its canary is up; the rest waits until it is promoted."""
    ROLLED_BACK = "rolled_back"
    ROLLBACK_FAILED = "rollback_failed"


class BoardCarry(Model):
    """What is known of a region's targets when its workflow goes on in a run with a history of its own.

    Attributes:
        reports: how every target stands.
        ordinal: the highest that any target's fencing token has had.
    """

    reports: tuple[TargetReport, ...]
    ordinal: int


class RegionCarry(Model):
    """Where a region's workflow goes on.

    Attributes:
        batch: the targets of the batch that was begun and has not ended.
        activated: whether a first batch was begun.
    """

    board: BoardCarry
    batch: tuple[str, ...] = ()
    activated: bool = False


class RegionInput(Model):
    """The one argument of `RegionWorkflow`.

    Attributes:
        wave: the number of the wave it belongs to.
        generation: the fencing generation of this forward run.
        unfit: targets that have already been counted as failed, with the reason.
        done: targets that an earlier run of this rollout has brought to the release.
        only_canary: whether it ends after its canary.
        carried: where an earlier run of the workflow stopped.
    """

    rollout_id: str
    release: ReleasePlan
    region: RegionPlan
    wave: int
    generation: int
    unfit: dict[str, str] = Field(default_factory=dict)
    paused: bool = False
    done: tuple[str, ...] = ()
    only_canary: bool = False
    carried: RegionCarry | None = None


class RegionSettings(Model):
    """What may change while a region runs; see `RegionPlan`."""

    max_parallel: int
    tolerance: int


class RegionReport(Model):
    """The result of `RegionWorkflow` and of `RegionRollbackWorkflow`."""

    region: str
    outcome: RegionOutcome
    targets: tuple[TargetReport, ...]

    @property
    def touched(self) -> tuple[str, ...]:
        """The names of the targets that a rollback must visit."""
        return tuple(report.target for report in self.targets if report.touched)

    @property
    def failed(self) -> dict[str, str]:
        """Why each target failed that did."""
        return {one.target: one.error for one in self.targets if one.outcome is TargetOutcome.FAILED}

    @property
    def error(self) -> str:
        """The first thing that went wrong, for people."""
        return next((_named(report.target, report.error) for report in self.targets if report.error), "")


def _named(target: str, error: str) -> str:
    return error if error.startswith(target) else f"{target}: {error}"


class RollbackInput(Model):
    """The one argument of `RegionRollbackWorkflow`.

    Attributes:
        targets: the touched targets.
        previous: what each of them ran before; a target that is not in it ran nothing.
        reason: why, for the events.
        carried: where an earlier run of the workflow stopped.
        batches_done: how many batches earlier runs took back.
    """

    rollout_id: str
    release: ReleasePlan
    region: RegionPlan
    generation: int
    targets: tuple[str, ...]
    previous: dict[str, ReleaseRef] = Field(default_factory=dict)
    reason: str = ""
    carried: BoardCarry | None = None
    batches_done: int = 0


class RolloutPhase(str, Enum):
    """Where a rollout is. The last four are final."""

    PREFLIGHT = "preflight"
    MIGRATING = "migrating"
    ROLLING_OUT = "rolling_out"
    SOAKING = "soaking"
    GATE = "gate"
    DECISION = "decision"
    ROLLING_BACK = "rolling_back"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    ROLLED_BACK = "rolled_back"
    CANCELLED = "cancelled"


class RolloutResult(Model):
    """How a rollout ended.

    Attributes:
        phase: one of the final phases.
        reason: why it did not succeed, for people.
        regions: the last state of each region that was started: ``succeeded``, ``rolled_back``, …
        undo: what can still be taken back; None when nothing was left changed.
        one_way: why that would be wrong all the same: a migration that cannot be taken back.
    """

    rollout_id: str
    phase: RolloutPhase
    reason: str = ""
    regions: dict[str, str] = Field(default_factory=dict)
    undo: Undo | None = None
    one_way: str = ""
