"""What goes in and out of every workflow and activity: frozen models that import nothing but pydantic.

Only optional fields may be added to them, because running rollouts hold older ones in their histories.
"""

from collections.abc import Iterable
from enum import Enum
from typing import Any, TypeVar

from pydantic import Field, ValidationError

from fraisier.providers.errors import LAST_LINES
from fraisier.providers.models import Model, ReleaseRef
from fraisier.workflows.plans import Plan, RegionPlan, ReleasePlan

M = TypeVar("M", bound=Model)

EDITION = 1
"""What regions are started with now. What an edition does otherwise than those before it is said at the patches it has.

A patch costs every history a mark and a search attribute. Of what this edition has, a region's history needs none. A
worker refuses a region of an edition that it does not know.
"""

REGION_WAITS = "region_waits"
"""The signal by which a region tells its rollout what it waits for."""


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
        heeds_freeze: whether a freeze of all services keeps its next batch from starting.
        edition: see `EDITION`; 0 asks for each patch.
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
    heeds_freeze: bool = False
    edition: int = Field(default=0, ge=0, le=EDITION)
    carried: RegionCarry | None = None


class RegionSettings(Model):
    """What may change while a region runs; see `RegionPlan`."""

    max_parallel: int
    tolerance: int


class RegionWaits(Model):
    """What a region tells its rollout by the signal ``region_waits``.

    Attributes:
        why: what keeps its next batch from starting, for people; empty when nothing does any more.
    """

    region: str
    why: str


class RegionReport(Model):
    """The result of `RegionWorkflow` and of `RegionRollbackWorkflow`."""

    region: str
    outcome: RegionOutcome
    targets: tuple[TargetReport, ...]

    @classmethod
    def broken(cls, region: str, outcome: TargetOutcome, targets: Iterable[str], error: str) -> "RegionReport":
        """The report of a region workflow that broke: all of its targets ended so, and each may be touched."""
        reports = tuple(TargetReport(target=one, outcome=outcome, touched=True, error=error) for one in targets)
        return cls(region=region, outcome=RegionOutcome(outcome.value), targets=reports)

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

    @property
    def brief(self) -> str:
        """The same, without the last lines that the target wrote."""
        return self.error.partition(LAST_LINES)[0]


def _named(target: str, error: str) -> str:
    return error if error.startswith(target) else f"{target}: {error}"


class RollbackInput(Model):
    """The one argument of `RegionRollbackWorkflow`.

    Attributes:
        targets: the touched targets.
        previous: what each of them ran before; a target that is not in it ran nothing.
        reason: why, for the events.
        edition: see `EDITION`; 0 asks for each patch.
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
    edition: int = Field(default=0, ge=0, le=EDITION)
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
        without: what a success went without, for people: ``2 regions dropped, 1 target failed``.
        undo: what can still be taken back; None when nothing was left changed.
        one_way: why that would be wrong all the same: a migration that cannot be taken back.
    """

    rollout_id: str
    phase: RolloutPhase
    reason: str = ""
    regions: dict[str, str] = Field(default_factory=dict)
    without: str = ""
    undo: Undo | None = None
    one_way: str = ""


def read_signal(kind: type[M], payload: Any) -> M | None:
    """What came with a signal between workflows; None when it is no such thing, over which none may stumble."""
    try:
        return kind.model_validate(payload)
    except ValidationError:
        return None
