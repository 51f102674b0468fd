"""A measuring gate's judgement over what was measured. Pure."""

from collections.abc import Sequence

from fraisier.workflows.gate_plans import GatePlan
from fraisier.workflows.gate_steps import GateReport, Reading, Verdict
from fraisier.workflows.gates.conditions import holds

TEXT_SHOWN = 200
"""How much of a measured text people are shown, in characters."""

READINGS_SHOWN = 20


def judge(gate: GatePlan, readings: Sequence[Reading]) -> GateReport:
    """The verdict: one reading that fails fails the gate, and it passes when all pass.

    Raises:
        ConditionFailed: a condition has no answer.
    """
    verdicts = [_judge_one(gate, reading) for reading in readings]
    if Verdict.FAIL in verdicts:
        verdict = Verdict.FAIL
    elif readings and all(one is Verdict.PASS for one in verdicts):
        verdict = Verdict.PASS
    else:
        verdict = Verdict.INCONCLUSIVE
    told = [reading for reading, one in zip(readings, verdicts, strict=True) if one is verdict][:READINGS_SHOWN]
    condition = gate.fail_if if verdict is Verdict.FAIL and gate.fail_if else gate.pass_if
    says = {Verdict.PASS: "so", Verdict.FAIL: "so" if gate.fail_if else "not", Verdict.INCONCLUSIVE: "not"}[verdict]
    return GateReport(
        verdict=verdict,
        detail=f"{'; '.join(map(_sentence, told))}: {says} {condition}",
        measured={
            f"{reading.of}.{name}" if reading.of else name: _shown(reading.values[name])
            for reading in readings[:READINGS_SHOWN]
            for name in _told(reading)
        },
    )


def _judge_one(gate: GatePlan, reading: Reading) -> Verdict:
    if gate.fail_if and holds(gate.fail_if, reading.values):
        return Verdict.FAIL
    if holds(gate.pass_if, reading.values):
        return Verdict.PASS
    return Verdict.INCONCLUSIVE if gate.fail_if else Verdict.FAIL


def _sentence(reading: Reading) -> str:
    seen = ", ".join(f"{name} {_shown(reading.values[name])}" for name in _told(reading))
    return f"{reading.of} {seen}" if reading.of else seen


def _told(reading: Reading) -> list[str]:
    """What people are shown: no empty text."""
    return [name for name in reading.shown if reading.values[name] != ""]


def _shown(value: object) -> float | int | str:
    if isinstance(value, float):
        return float(f"{value:.6g}")
    return value if isinstance(value, int) else str(value)[:TEXT_SHOWN]
