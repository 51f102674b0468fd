"""What opens a gate, what fails it, and all that must not open it."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraisier.workflows.gate_plans import GatePlan
from fraisier.workflows.gate_steps import Fact, GateInput, RegionExpectation, Verdict
from fraisier.workflows.gates.events import EventGate

PASSED, FAILED = "health.check_passed", "health.check_failed"
DIGEST = "sha256:" + "a" * 64
EAST = tuple(f"e{number}" for number in range(4))
WEST = ("w0", "w1")


def gate(*, share: int = 100, count: int | None = None, tolerance: int = 0) -> EventGate:
    plan = GatePlan(
        name="healthy", event=PASSED, share=share, count=count, none_of=(FAILED,), timeout=timedelta(seconds=1)
    )
    return EventGate(
        GateInput(
            gate=plan,
            rollout_id="r1",
            service="api",
            digest=DIGEST,
            regions={
                "east": RegionExpectation(targets=EAST, tolerance=tolerance, generation=7),
                "west": RegionExpectation(targets=WEST, tolerance=tolerance, generation=7),
            },
            after=100,
            seconds_left=1,
        )
    )


def fact(target: str, sequence: int = 101, event_type: str = PASSED, **changes: object) -> Fact:
    good = Fact(
        event_type=event_type,
        region="east" if target in EAST else "west",
        service="api",
        rollout_id="r1",
        sequence=sequence,
        target=target,
        data={"release_digest": DIGEST, "generation": 7},
    )
    return good.model_copy(update=changes)


def all_passed() -> list[Fact]:
    return [fact(target, 101 + place) for place, target in enumerate(EAST + WEST)]


def test_it_opens_when_every_target_of_every_region_has_its_event() -> None:
    opened = gate()
    opened.take(all_passed()[:-1])
    assert opened.judge() is None
    opened.take(all_passed()[-1:])
    report = opened.judge()
    assert report is not None
    assert (report.verdict, report.evidence) == (Verdict.PASS, (101, 102, 103, 104, 105, 106))


@pytest.mark.parametrize(
    ("why", "stale"),
    [
        ("another rollout", {"rollout_id": "r0"}),
        ("another service", {"service": "web"}),
        ("another region", {"region": "north"}),
        ("the sibling region", {"region": "west"}),
        ("from before the wave", {"sequence": 100}),
        ("another release", {"data": {"release_digest": "sha256:" + "b" * 64, "generation": 7}}),
        ("an older generation", {"data": {"release_digest": DIGEST, "generation": 6}}),
        ("no release at all", {"data": {}}),
        ("an unknown target", {"target": "e9"}),
        ("no target", {"target": None}),
        ("an unreadable body", {"problem": "specversion 9", "data": {}}),
        ("another event", {"event_type": "health.check_started"}),
    ],
)
def test_a_stale_foreign_or_forged_event_opens_nothing(why: str, stale: dict[str, object]) -> None:
    asked = gate()
    asked.take([fact("e0", 150).model_copy(update=stale), *all_passed()[1:]])
    assert asked.judge() is None, why
    assert asked.expired().verdict is Verdict.INCONCLUSIVE
    assert "e0" in asked.expired().detail


def test_one_failure_more_than_is_tolerated_fails_it_even_when_all_passed() -> None:
    asked = gate(tolerance=1)
    asked.take([*all_passed(), fact("e0", 200, FAILED)])
    passed = asked.judge()
    assert passed is not None
    assert passed.verdict is Verdict.PASS
    asked.take([fact("e1", 201, FAILED)])
    failed = asked.judge()
    assert failed is not None
    assert failed.verdict is Verdict.FAIL
    assert "east: e0, e1" in failed.detail


def test_a_share_counts_in_each_region_and_a_number_over_all() -> None:
    half = gate(share=50)
    half.take([fact("e0"), fact("e1"), fact("e2"), fact("e3")])
    assert half.judge() is None
    half.take([fact("w0")])
    assert half.judge() is not None
    three = gate(count=3)
    three.take([fact("e0"), fact("e1")])
    assert three.judge() is None
    three.take([fact("w1")])
    assert three.judge() is not None


def test_the_deadline_says_who_is_missing_and_what_was_refused() -> None:
    asked = gate()
    asked.take([fact("e1"), fact("e0", 99)])
    detail = asked.expired().detail
    assert "no health.check_passed from east: e0, e2, e3; west: w0, w1" in detail
    assert "from before the wave (sequence 99)" in detail


@given(
    st.integers(0, 3),
    st.permutations([(t, e) for t in EAST + WEST for e in (PASSED, FAILED)]).flatmap(
        lambda facts: st.integers(0, len(facts)).map(lambda cut: facts[:cut])
    ),
    st.booleans(),
)
def test_the_verdict_depends_on_the_set_of_facts_alone(
    tolerance: int, seen: list[tuple[str, str]], twice: bool
) -> None:
    facts = [fact(target, 101 + place, event) for place, (target, event) in enumerate(seen)]
    at_once, one_by_one = gate(tolerance=tolerance), gate(tolerance=tolerance)
    at_once.take(facts)
    for one in reversed(facts * (2 if twice else 1)):
        one_by_one.take([one])
    assert at_once.judge() == one_by_one.judge()
    report = at_once.judge()
    if report is not None and report.verdict is Verdict.PASS:
        for region in (EAST, WEST):
            assert sum((t, PASSED) in seen for t in region) >= len(region) - tolerance
            assert sum((t, FAILED) in seen for t in region) <= tolerance
