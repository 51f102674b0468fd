"""What goes in and out of the activities that gates ask."""

from enum import Enum
from typing import Any

from pydantic import Field

from fraisier.providers.models import Model
from fraisier.workflows.gate_plans import GatePlan
from fraisier.workflows.steps import EventInput, WaveBegun, WaveInput


class Fact(Model):
    """A stored event as a gate sees it: what its subject says, what its body says, and where it lies.

    Attributes:
        problem: why the body cannot be read; then only the subject's words are known.
    """

    event_type: str
    region: str
    service: str
    rollout_id: str
    sequence: int
    target: str | None = None
    data: dict[str, Any] = Field(default_factory=dict)
    problem: str = ""


class RegionExpectation(Model):
    """What a gate expects of a region of the wave.

    Attributes:
        generation: of the region's last run.
        earlier: by target, the generation of the run that brought it to the release, where that was an earlier one.
    """

    targets: tuple[str, ...]
    tolerance: int
    generation: int
    earlier: dict[str, int] = Field(default_factory=dict)


class Onward(Model):
    """What a pass begins.

    Attributes:
        passed: the event of the pass, to be completed by the report.
        wave: the wave that follows at once.
    """

    passed: EventInput
    wave: WaveInput


class GateInput(Model):
    """One gate, asked about one wave.

    Attributes:
        onward: what its pass begins; None when the rollout decides what follows.
        regions: the wave's regions by name.
        after: the stream's last sequence when the wave started; only later events count.
        seconds_left: until the gate is inconclusive; a pause does not count.
    """

    gate: GatePlan
    rollout_id: str
    service: str
    digest: str
    regions: dict[str, RegionExpectation]
    after: int
    seconds_left: float
    onward: Onward | None = None


class Verdict(str, Enum):
    """What a gate says. Only ``pass`` opens it."""

    PASS = "pass"  # noqa: S105 (a verdict, not a password)
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"


class GateReport(Model):
    """A gate's verdict with what it measured.

    Attributes:
        detail: for people: what was seen and what was missing.
        evidence: the sequences of the events that decided, at most 100.
        measured: the last measurement, by name, or by region and name.
        begun: of a pass that is told and has begun the next wave: where streams stood then.
    """

    verdict: Verdict
    detail: str
    evidence: tuple[int, ...] = ()
    measured: dict[str, float | int | str] = Field(default_factory=dict)
    begun: WaveBegun | None = None

    def told(self) -> dict[str, Any]:
        """What the event of the verdict says of it."""
        told: dict[str, Any] = {"detail": self.detail, "evidence": [*self.evidence]}
        return told | {"measured": self.measured} if self.measured else told


class MeasureInput(Model):
    """A measuring gate, asked about one wave.

    Attributes:
        regions: the wave's regions.
        after: the metrics stream's last sequence when the wave started; only later events count.
        seconds_left: until the gate is inconclusive; a pause does not count.
    """

    gate: GatePlan
    rollout_id: str
    service: str
    version: str
    digest: str
    regions: tuple[str, ...]
    after: int = 0
    seconds_left: float


class Reading(Model):
    """What one measurement saw.

    Attributes:
        of: the region that it is about; empty when it is about all.
        values: what conditions may name.
        shown: which of them people are shown.
    """

    of: str = ""
    values: dict[str, Any]
    shown: tuple[str, ...]
