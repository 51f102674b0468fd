"""What goes in and out of the activities that gates ask."""

from enum import Enum
from typing import Any

from pydantic import Field

from fraisier.providers.models import Model
from fraisier.workflows.gate_plans import GatePlan


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


class GateInput(Model):
    """One gate, asked about one wave.

    Attributes:
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
    """

    verdict: Verdict
    detail: str
    evidence: tuple[int, ...] = ()
    measured: dict[str, float | int | str] = Field(default_factory=dict)


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
