"""The vote on a gate that asks people. Pure."""

from fraisier.workflows.gate_plans import Approval
from fraisier.workflows.gate_steps import GateReport, Verdict
from fraisier.workflows.verbs import Verb, VerbRequest


class Ballot:
    """The votes on one gate after one wave: each approver has one.

    Args:
        approval: who may vote, and how many must approve.
        gate: the gate's name.
        wave: the wave's number.
    """

    def __init__(self, approval: Approval, *, gate: str, wave: int) -> None:
        self.gate = gate
        self.wave = wave
        self._asked = approval
        self._votes: dict[str, tuple[Verb, str]] = {}

    def refusal(self, request: VerbRequest) -> str:
        """Why a vote does not count, with the way out; empty when it does."""
        if self.decided:
            return f"gate {self.gate} is decided already"
        if request.by not in self._asked.approvers:
            return (
                f"gate {self.gate} takes the votes of {', '.join(self._asked.approvers)}, "
                f"not of {request.by or 'nobody: say who with by'}"
            )
        if request.by in self._votes:
            return f"{request.by} has voted already: {self._votes[request.by][0].value}"
        return ""

    def take(self, verb: Verb, request: VerbRequest) -> None:
        """Count a vote that `refusal` let through."""
        self._votes[request.by] = (verb, request.reason)

    @property
    def decided(self) -> bool:
        """Whether it is over: somebody rejected, or enough approved."""
        return bool(self._by(Verb.REJECT)) or len(self._by(Verb.APPROVE)) >= self._asked.quorum

    @property
    def seen(self) -> str:
        """The votes so far."""
        votes = (f"{by} {verb.value}s" + (f" ({why})" if why else "") for by, (verb, why) in self._votes.items())
        return ", ".join(votes) or "no votes"

    @property
    def waiting_for(self) -> str:
        """Whose votes are waited for."""
        done, quorum = len(self._by(Verb.APPROVE)), self._asked.quorum
        rest = [name for name in self._asked.approvers if name not in self._votes]
        return f"{done} of {quorum} approvals; send approve or reject, by {', '.join(rest)}"

    def report(self) -> GateReport:
        """The verdict; inconclusive when it is not decided."""
        opened = Verdict.PASS if self.decided else Verdict.INCONCLUSIVE
        verdict = Verdict.FAIL if self._by(Verb.REJECT) else opened
        rest = "" if self.decided else f": {len(self._by(Verb.APPROVE))} of {self._asked.quorum} approvals in time"
        votes = {verb.value: ", ".join(self._by(verb)) for verb in (Verb.APPROVE, Verb.REJECT) if self._by(verb)}
        return GateReport(verdict=verdict, detail=self.seen + rest, measured={**votes, "quorum": self._asked.quorum})

    def _by(self, verb: Verb) -> list[str]:
        return [by for by, (voted, _) in self._votes.items() if voted is verb]
