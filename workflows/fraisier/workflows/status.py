"""The ``status`` query's answer. Versioned: fields are only added."""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime

from pydantic import Field

from fraisier.providers.models import Model
from fraisier.workflows.contracts import RegionOutcome, RolloutPhase

RUNNING = "running"
"""The state of a region that is rolled out just now."""

NAMED = 20
"""How many regions a sentence names."""

WAITING = "waiting"
"""The state of a region, or a wave, that has not begun."""

SOAK = "the soak"
"""What a region waits for that has succeeded, and that nothing keeps."""

_KEPT_FROM = {RegionOutcome.CANARY.value: "promoted", RUNNING: "let go on"}
"""What a region waits for to be, by its state; in any other it waits to be let start, for the first time or again."""


class RegionStatus(Model):
    """A region of a wave.

    Attributes:
        state: ``waiting``, ``running``, or how it ended.
        targets: how many it has.
        error: the first thing that went wrong.
        waiting_for: what keeps it from starting, from following its canary or from ending.
        until: when that ends by itself; None where it does not, or a pause has stopped its clock.
        failed: how many of its targets failed.
    """

    name: str
    state: str = WAITING
    targets: int = 0
    error: str = ""
    waiting_for: str = ""
    until: datetime | None = None
    failed: int = 0

    @property
    def waits(self) -> str:
        """What it waits for and until when, for people; empty when it waits for nothing."""
        return _with_end(self.waiting_for, self.until)


class WaveStatus(Model):
    """A wave and its regions.

    Attributes:
        state: ``waiting``, ``running``, ``soaking``, ``gate``, ``done``, ``failed``, ``stopped`` or ``rolled_back``.
    """

    number: int
    state: str = "waiting"
    regions: tuple[RegionStatus, ...]


class GateStatus(Model):
    """A gate that was asked.

    Attributes:
        verdict: empty while it is open.
        measured: the measurement that decided, by name.
        dry_run: its verdict decides nothing.
    """

    wave: int
    name: str
    verdict: str = ""
    detail: str = ""
    measured: dict[str, float | int | str] = Field(default_factory=dict)
    dry_run: bool = False


class MigrationStatus(Model):
    """A command of a database's migration.

    Attributes:
        phase: ``expand``, ``contract`` or ``rollback``.
        state: ``running``, ``done`` or ``failed``.
        detail: what it failed with.
    """

    database: str
    phase: str
    state: str
    detail: str = ""


class RolloutStatus(Model):
    """A rollout as people see it.

    Attributes:
        version_of_status: the version of this model.
        phase: where it is.
        paused: whether it is held.
        waiting_for: what it waits for now and which verbs help, in one sentence; empty when it works.
        until: when that ends by itself; None where it does not, or a pause has stopped its clock.
        reason: why it failed or was taken back.
        one_way: why a rollback needs an override from now on; empty while it needs none.
        refused: the last signal or event that had no effect, by whom, and why; empty when none had.
        dropped: regions that were adjusted away.
    """

    version_of_status: int = 1
    rollout_id: str
    service: str
    version: str
    digest: str
    actor: str = ""
    started_at: datetime
    phase: RolloutPhase
    paused: bool = False
    waiting_for: str = ""
    until: datetime | None = None
    reason: str = ""
    refused: str = ""
    dropped: tuple[str, ...] = ()
    waves: tuple[WaveStatus, ...]
    gates: tuple[GateStatus, ...] = ()
    migrations: tuple[MigrationStatus, ...] = ()
    one_way: str = ""

    @property
    def waits(self) -> str:
        """What it waits for and until when, for people; empty when it works."""
        return _with_end(self.waiting_for, self.until)

    @property
    def without(self) -> str:
        """What a rollout that succeeded went without, for people; empty where nothing is missing, or it did not."""
        if self.phase is not RolloutPhase.SUCCEEDED:
            return ""
        regions = [region for wave in self.waves for region in wave.regions]
        states = [*("dropped" for _ in self.dropped), *(one.state for one in regions if one.state != "succeeded")]
        told = [f"{counted(times, 'region')} {state.replace('_', ' ')}" for state, times in Counter(states).items()]
        failed = sum(one.failed for one in regions if one.state == "succeeded")
        return ", ".join([*told, *([f"{counted(failed, 'target')} failed"] if failed else [])])


def counted(number: int, what: str) -> str:
    """A number of things, for people."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def what_keeps(regions: Iterable[RegionStatus]) -> str:
    """What keeps regions from starting or going on, those that wait for the same together; empty when nothing does."""
    waits: dict[tuple[str, str], list[RegionStatus]] = {}
    for one in regions:
        if one.waiting_for:
            verb = "" if one.waiting_for == SOAK else _KEPT_FROM.get(one.state, "let start")
            waits.setdefault((verb, one.waiting_for), []).append(one)
    return "; ".join(_kept(verb, why, those) for (verb, why), those in waits.items())


def _kept(verb: str, why: str, regions: Sequence[RegionStatus]) -> str:
    names = _listed([one.name for one in regions])
    what = f"{names} to be {verb}: {why}" if verb else f"{why} of {names}"
    ends = {one.until for one in regions if one.until is not None}
    return _with_end(what, min(ends, default=None), first="the first " if len(ends) > 1 else "")


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} regions more" if len(names) > NAMED else ""
    return f"{', '.join(names[:NAMED])}{more}"


def _with_end(what: str, until: datetime | None, *, first: str = "") -> str:
    return f"{what}, {first}until {until:%F %T} UTC" if what and until is not None else what
