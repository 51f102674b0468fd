"""The event gate's judgement: a pure function over the facts that the stream holds."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from fraisier.workflows.gate_steps import Fact, GateInput, GateReport, RegionExpectation, Verdict

EVIDENCE_KEPT = 100
"""How many sequences a report names: enough for people, bounded for histories."""

NAMES_SHOWN = 5


@dataclass
class EventGate:
    """Takes the facts of one wave as they are read, and judges at any moment.

    Facts may come twice and in any order: the judgement depends on their set alone.
    """

    asked: GateInput
    passed: dict[str, dict[str, int]] = field(default_factory=lambda: defaultdict(dict))
    against: dict[str, dict[str, str]] = field(default_factory=lambda: defaultdict(dict))
    refused: dict[int, str] = field(default_factory=dict)

    def take(self, facts: Iterable[Fact]) -> None:
        """Count the facts that are this gate's, and remember why others were refused."""
        for fact in facts:
            problem = self._why_not(fact)
            if problem:
                self.refused[fact.sequence] = problem
            elif fact.target is not None and fact.event_type == self.asked.gate.event:
                self.passed[fact.region][fact.target] = fact.sequence
            elif fact.target is not None and fact.event_type in self.asked.gate.none_of:
                self.against[fact.region][fact.target] = fact.event_type

    def judge(self) -> GateReport | None:
        """The verdict so far, or None while it is open."""
        for name, region in self.asked.regions.items():
            failed = self.against[name]
            if len(failed) > region.tolerance:
                return GateReport(
                    verdict=Verdict.FAIL,
                    detail=f"{name}: {_names(sorted(failed))} stored {', '.join(sorted(set(failed.values())))}",
                )
        if self._enough():
            return GateReport(verdict=Verdict.PASS, detail=self._seen(), evidence=self._evidence())
        return None

    def expired(self) -> GateReport:
        """The verdict when the deadline passed with nothing decided: never a pass."""
        missing = "; ".join(
            f"{name}: {_names(sorted(set(region.targets) - set(self.passed[name])))}"
            for name, region in self.asked.regions.items()
            if len(self.passed[name]) < self._required(region)
        )
        refused = f"; refused: {_names(sorted(set(self.refused.values())))}" if self.refused else ""
        what = f"no {self.asked.gate.event} from {missing}" if missing else self._seen()
        return GateReport(verdict=Verdict.INCONCLUSIVE, detail=what + refused, evidence=self._evidence())

    def _why_not(self, fact: Fact) -> str:  # noqa: PLR0911 (a list of reasons, read from the top)
        region = self.asked.regions.get(fact.region)
        if region is None or fact.rollout_id != self.asked.rollout_id or fact.service != self.asked.service:
            return f"an event of another rollout or region (sequence {fact.sequence})"
        if fact.event_type not in (self.asked.gate.event, *self.asked.gate.none_of):
            return ""
        if fact.problem:
            return f"{fact.event_type} with an unreadable body: {fact.problem}"
        if fact.sequence <= self.asked.after:
            return f"{fact.event_type} from before the wave (sequence {fact.sequence})"
        if fact.target not in region.targets:
            return f"{fact.event_type} of a target that is not in the plan: {fact.target}"
        if fact.data.get("release_digest") != self.asked.digest:
            return f"{fact.event_type} of another release"
        if fact.data.get("generation") != region.earlier.get(fact.target, region.generation):
            return f"{fact.event_type} of another generation"
        return ""

    def _required(self, region: RegionExpectation) -> int:
        total = len(region.targets)
        return min(total - region.tolerance, -(-self.asked.gate.share * total // 100))

    def _enough(self) -> bool:
        if self.asked.gate.count is not None:
            return sum(len(targets) for targets in self.passed.values()) >= self.asked.gate.count
        return all(len(self.passed[name]) >= self._required(region) for name, region in self.asked.regions.items())

    def _seen(self) -> str:
        counts = (f"{name} {len(self.passed[name])} of {len(r.targets)}" for name, r in self.asked.regions.items())
        return f"{self.asked.gate.event}: {', '.join(counts)}"

    def _evidence(self) -> tuple[int, ...]:
        return tuple(sorted(seq for seqs in self.passed.values() for seq in seqs.values())[:EVIDENCE_KEPT])


def _names(names: Iterable[str]) -> str:
    listed = list(names)
    more = f" and {len(listed) - NAMES_SHOWN} more" if len(listed) > NAMES_SHOWN else ""
    return ", ".join(listed[:NAMES_SHOWN]) + more
