"""The ``status`` query's answer. Versioned: fields are only added."""

from collections.abc import Iterable
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


class RegionStatus(Model):
    """A region of a wave.

    Attributes:
        state: ``waiting``, ``running``, or how it ended.
        targets: how many it has.
        error: the first thing that went wrong.
        waiting_for: what keeps it from starting, or from going on, and until when: no window, a freeze, or its canary.
    """

    name: str
    state: str = WAITING
    targets: int = 0
    error: str = ""
    waiting_for: str = ""


class WaveStatus(Model):
    """A wave and its regions. `state` is ``waiting``, ``running``, ``soaking``, ``gate``, ``done`` or ``failed``."""

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
    reason: str = ""
    refused: str = ""
    dropped: tuple[str, ...] = ()
    waves: tuple[WaveStatus, ...]
    gates: tuple[GateStatus, ...] = ()
    migrations: tuple[MigrationStatus, ...] = ()
    one_way: str = ""


def what_keeps(regions: Iterable[RegionStatus]) -> str:
    """What keeps regions from starting or going on, those that wait for the same together; empty when nothing does."""
    waits: dict[tuple[str, str], list[str]] = {}
    for one in regions:
        if one.waiting_for:
            verb = {RegionOutcome.CANARY.value: "promoted", RUNNING: "let go on"}.get(one.state, "let start")
            waits.setdefault((verb, one.waiting_for), []).append(one.name)
    return "; ".join(f"{_listed(names)} to be {verb}: {why}" for (verb, why), names in waits.items())


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} regions more" if len(names) > NAMED else ""
    return f"{', '.join(names[:NAMED])}{more}"
