"""What a rollout remembers of itself, and the status it shows. Pure."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, ClassVar

from fraisier.providers.models import ReleaseRef
from fraisier.workflows.adjustments import DROPPED, Standing
from fraisier.workflows.approvals import Ballot
from fraisier.workflows.carrying import Carried
from fraisier.workflows.contracts import (
    RegionOutcome,
    RegionReport,
    RegionWaits,
    RolloutInput,
    RolloutPhase,
    TargetOutcome,
    Undo,
)
from fraisier.workflows.gate_plans import GatePlan
from fraisier.workflows.gate_steps import GateReport
from fraisier.workflows.plans import Plan, WavePlan
from fraisier.workflows.status import (
    RUNNING,
    SOAK,
    WAITING,
    GateStatus,
    MigrationStatus,
    RegionStatus,
    RolloutStatus,
    WaveStatus,
    what_keeps,
)
from fraisier.workflows.steps import PreflightReport
from fraisier.workflows.verbs import VerbRequest
from fraisier.workflows.whereabouts import undo_of, where

_NOT_FORWARD = (RolloutPhase.ROLLING_BACK, RolloutPhase.FAILED, RolloutPhase.CANCELLED)


class RolloutState(Carried):
    """Waves, regions and gates as they stand.

    Attributes:
        plan: what is done, as adjusted by now.
        previous: by region and target, what ran there before the rollout.
        unfit: by region and target, why preflight refused it.
        touched: by region, the targets that a rollback must visit.
        skipped: regions that somebody decided to go on without; gates do not ask for them.
        generations: by region, the fencing generation of its last forward run.
        expanded: the databases that this rollout expanded and whose expand it can take back.
        done: by region, the targets that run the release, each with the generation that brought it there.
        requeued: regions that were tried once more at the end.
        current: the number of the wave under way.
        overrides_retries: whether an override lets regions start that are tried once more.
    """

    KEPT: ClassVar[dict[str, Any]] = {
        "previous": list[tuple[str, dict[str, ReleaseRef]]],
        "unfit": list[tuple[str, dict[str, str]]],
        "touched": list[tuple[str, tuple[str, ...]]],
        "skipped": list[str],
        "generations": list[tuple[str, int]],
        "done": list[tuple[str, dict[str, int]]],
        "requeued": list[str],
        "current": int,
        "_regions": list[tuple[str, RegionStatus]],
        "_waves": list[tuple[int, str]],
        "_gates": list[tuple[tuple[int, str], GateStatus]],
        "expanded": list[str],
        "_migrations": list[tuple[tuple[str, str], MigrationStatus]],
        "_status": list[tuple[str, Any]],
        "_started_at": datetime,
    }

    def __init__(self, order: RolloutInput, started_at: datetime) -> None:
        self.plan = plan = order.plan
        self.previous: dict[str, dict[str, ReleaseRef]] = {}
        self.unfit: dict[str, dict[str, str]] = {}
        self.touched: dict[str, tuple[str, ...]] = {}
        self.skipped: set[str] = set()
        self.generations: dict[str, int] = {}
        self.done: dict[str, dict[str, int]] = {}
        self.requeued: set[str] = set()
        self.current = 1
        self.overrides_retries = True
        self._regions = {
            name: RegionStatus(name=name, targets=len(region.targets)) for name, region in plan.regions.items()
        }
        self._waves = {wave.number: "waiting" for wave in plan.waves}
        self._gates: dict[tuple[int, str], GateStatus] = {}
        self.expanded: list[str] = []
        self._migrations: dict[tuple[str, str], MigrationStatus] = {}
        self._order = order
        self._status: dict[str, Any] = {"phase": RolloutPhase.PREFLIGHT}
        self._started_at = started_at
        if order.undo is not None:
            self._recall(order.undo)

    @property
    def phase(self) -> RolloutPhase:
        """Where the rollout is."""
        return RolloutPhase(self._status["phase"])

    def enter(self, phase: RolloutPhase, *, waiting_for: str = "", reason: str | None = None) -> None:
        """Go to a phase, saying what it waits for and, once known, why it fails or goes back."""
        self._status |= {"phase": phase, "waiting_for": waiting_for, "until": None}
        for number, state in self._waves.items():
            if phase is RolloutPhase.ROLLED_BACK and state != "waiting":
                self._waves[number] = "rolled_back"
            elif phase in _NOT_FORWARD and state in ("running", "soaking", "gate"):
                self._waves[number] = "stopped"
        if reason is not None:
            self._status["reason"] = reason

    def until(self, at: datetime | None) -> None:
        """Note when what is waited for ends by itself."""
        self._status["until"] = at

    def looked_at(self, report: PreflightReport) -> None:
        """Note what preflight found; what ran before on a target that was touched since is known already."""
        known, touched = self.previous.get(report.region, {}), self.touched.get(report.region, ())
        self.unfit[report.region] = report.unfit
        self.previous[report.region] = {name: release for name, release in known.items() if name in touched} | {
            name: state.release
            for name, state in report.states.items()
            if state.release is not None and name not in touched
        }

    def not_looked_at(self, names: Iterable[str]) -> list[str]:
        """Those regions that no preflight has looked at."""
        return [name for name in names if name not in self.unfit]

    def region(self, name: str, state: str, error: str = "", *, failed: int = 0) -> None:
        """Note how a region stands."""
        told = {"state": state, "error": error, "failed": failed}
        self._regions[name] = self._regions[name].model_copy(update=told)

    def region_ended(self, report: RegionReport) -> None:
        """Note a region's report, and the targets that it touched in this run or an earlier one."""
        self.region(report.region, report.outcome.value, report.error, failed=len(report.failed))
        self.waits(report.region, "")
        before = self.touched.get(report.region, ())
        self.touched[report.region] = (*before, *(name for name in report.touched if name not in before))
        earlier, now = self.done.get(report.region, {}), self.generations[report.region]
        up = [one.target for one in report.targets if one.outcome is TargetOutcome.SUCCEEDED]
        self.done[report.region] = {name: earlier.get(name, now) for name in up}

    def not_promoted(self, report: RegionReport, why: str) -> RegionReport:
        """Note that a region's canary was not promoted, so that the region has failed; a retry begins with it again."""
        self.done.pop(report.region)
        told = tuple(
            one.model_copy(update={"error": why}) if one.outcome is TargetOutcome.SUCCEEDED else one
            for one in report.targets
        )
        failed = report.model_copy(update={"outcome": RegionOutcome.FAILED, "targets": told})
        self.region(report.region, failed.outcome.value, why)
        return failed

    def went_back(self, name: str) -> None:
        """Note that nothing of a region is changed any more."""
        self.touched.pop(name)
        self.done.pop(name, None)

    def behind(self) -> list[str]:
        """The regions of which not every target is known to run the new release."""
        return [name for name, one in self.plan.regions.items() if len(self.done.get(name, {})) < len(one.targets)]

    def left_behind(self, name: str) -> bool:
        """Whether a region was gone without, or has targets that failed, and was not tried once more."""
        ran = name in self.generations
        return name not in self.requeued and (name in self.skipped or (ran and name in self.behind()))

    @property
    def standing(self) -> Standing:
        """How far it is."""
        regions = {name: one.state for name, one in self._regions.items()}
        return Standing(wave=self.current, waves=dict(self._waves), regions=regions)

    def adjust(self, plan: Plan) -> None:
        """Go on by another plan."""
        self.plan = plan
        named = {name for wave in plan.waves for name in wave.regions}
        for name, one in self._regions.items():
            if name not in named:
                self.region(name, DROPPED)
            elif one.state == DROPPED:
                self.region(name, WAITING)

    def wave(self, number: int, state: str) -> None:
        """Note how a wave stands."""
        self._waves[number] = state

    def gate(self, wave: int, gate: GatePlan, report: GateReport | None = None) -> None:
        """Note how a gate stands: open, or with its report."""
        told = GateStatus(wave=wave, name=gate.name, dry_run=gate.dry_run)
        if report is not None:
            told = told.model_copy(
                update={"verdict": report.verdict.value, "detail": report.detail, "measured": report.measured}
            )
        self._gates[wave, gate.name] = told

    def migration(self, database: str, phase: str, state: str, detail: str = "") -> None:
        """Note how a command of a database's migration stands."""
        self._migrations[database, phase] = MigrationStatus(database=database, phase=phase, state=state, detail=detail)

    def vote(self, ballot: Ballot) -> None:
        """Note the votes on an open gate."""
        open_gate = self._gates[ballot.wave, ballot.gate]
        self._gates[ballot.wave, ballot.gate] = open_gate.model_copy(update={"detail": ballot.seen})
        waiting_for = f"gate {ballot.gate} of wave {ballot.wave}: {ballot.waiting_for}"
        self._status["waiting_for"] = "" if ballot.decided else waiting_for

    def waits(self, name: str, why: str, until: datetime | None = None) -> None:
        """Note what a region waits for, and when that ends by itself; empty when it waits for nothing."""
        self._regions[name] = self._regions[name].model_copy(update={"waiting_for": why, "until": until})

    def hear(self, told: RegionWaits) -> None:
        """Note what a running region says that it waits for."""
        if told.region in self._regions and self._regions[told.region].state == RUNNING:
            self.waits(told.region, told.why)

    def refuse(self, verb: str, request: VerbRequest, refusal: str) -> None:
        """Note the last verb that had no effect."""
        self._status["refused"] = f"{verb}, by {request.by or 'a signal'}: {refusal}"

    def waits_for(self, name: str) -> str:
        """What a region waits for."""
        return self._regions[name].waiting_for

    @property
    def kept(self) -> tuple[str, ...]:
        """The regions that something keeps from starting, also once more, or their next batch."""
        return tuple(name for name, one in self._regions.items() if one.waiting_for and self._is_kept(one))

    def _is_kept(self, one: RegionStatus) -> bool:
        if not self.overrides_retries:
            return one.state in (WAITING, RUNNING)
        return one.state != RegionOutcome.CANARY.value and one.waiting_for != SOAK

    def not_overridden(self, request: VerbRequest) -> str:
        """Why an override makes no sense now, with the way out; empty when it does."""
        if not request.reason:
            return "an override needs a reason, which the audit keeps"
        for name in request.regions:
            state = self._regions[name].state if name in self._regions else "no region of this rollout"
            if state != WAITING and name not in self.kept:
                return f"{name} is {state.replace('_', ' ')}: there is nothing to override"
        return "" if request.regions or self.kept else "nothing keeps a region from starting: nothing to override"

    def where(self) -> str:
        """What runs where by now, for people."""
        return where(self.plan, self.done, self.touched)

    def ended_regions(self) -> dict[str, str]:
        """The state of every region that was started."""
        return {name: one.state for name, one in self._regions.items() if one.state != "waiting"}

    def undo(self) -> Undo | None:
        """What it takes to take back what is still changed."""
        return undo_of(self.touched, self.previous, self.expanded)

    def _recall(self, undo: Undo) -> None:
        self.expanded = [*undo.expanded]
        for name, targets in undo.regions.items():
            self.touched[name] = tuple(targets)
            self.previous[name] = {one: undo.releases[n] for one, n in targets.items() if n is not None}
            self.region(name, "succeeded")
        for wave in self._order.plan.waves:
            if undo.regions.keys() & set(wave.regions):
                self.wave(wave.number, "done")

    def status(self, *, paused: bool, one_way: str = "") -> RolloutStatus:
        """All of it, for people."""
        plan = self.plan
        standing = {name for wave in plan.waves for name in wave.regions}
        kept = what_keeps(self._regions.values())
        told = self._status | ({"waiting_for": kept, "until": None} if kept else {})
        return RolloutStatus(
            rollout_id=self._order.rollout_id,
            service=plan.service,
            version=plan.release.version,
            digest=plan.release.digest,
            actor=self._order.actor,
            started_at=self._started_at,
            paused=paused,
            waves=tuple(self._wave_status(wave) for wave in plan.waves),
            gates=tuple(self._gates.values()),
            migrations=tuple(self._migrations.values()),
            one_way=one_way,
            dropped=tuple(name for name in self._regions if name not in standing),
            **told,
        )

    def _wave_status(self, wave: WavePlan) -> WaveStatus:
        return WaveStatus(
            number=wave.number,
            state=self._waves[wave.number],
            regions=tuple(self._regions[name] for name in wave.regions),
        )
