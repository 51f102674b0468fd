"""The checks themselves: a good round passes them all, and one change of its records makes the right one fail.

``good_round.json`` was recorded from a round without a fault: ``python -m tests.faults none --at-once 2 --keep``.
"""

import copy
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.invariants.check import INVARIANTS, violations
from tests.faults.records import Attempt, Glimpse, Message, Rollout, Round, Vitals

GOOD = Round.model_validate_json((Path(__file__).parent / "good_round.json").read_bytes())

Plant = Callable[[Round], None]
PLANTED: list[tuple[str, Plant]] = []


def planted(invariant: str) -> Callable[[Plant], Plant]:
    """Enter a change that breaks an invariant."""

    def enter(plant: Plant) -> Plant:
        PLANTED.append((invariant, plant))
        return plant

    return enter


def first(seen: Round, event_type: str, rollout: Rollout | None = None) -> Message:
    """The first event of a type, of any rollout or of one."""
    found = seen.messages if rollout is None else seen.of(rollout)
    return next(one for one in found if one.type == event_type and one.data.get("scope") == "target")


@planted("I1")
def an_acknowledged_event_is_gone(seen: Round) -> None:
    seen.messages.remove(next(one for one in seen.messages if one.id == seen.acks[0].id))


@planted("I1")
def another_event_lies_where_it_was_acknowledged(seen: Round) -> None:
    seen.acks[0] = seen.acks[0].model_copy(update={"id": "another"})


@planted("I2")
def an_event_is_stored_twice_under_its_id(seen: Round) -> None:
    again = seen.messages[-1]
    seen.messages.append(again.model_copy(update={"sequence": again.sequence + 1000}))


@planted("I2")
def the_same_is_told_under_two_ids(seen: Round) -> None:
    again = first(seen, "health.check_passed")
    seen.messages.append(again.model_copy(update={"sequence": again.sequence + 1000, "id": "another"}))


@planted("I3")
def a_step_takes_effect_twice(seen: Round) -> None:
    place = next(place for place, one in enumerate(seen.effects) if one.what == "activate")
    seen.effects.insert(place, seen.effects[place])


@planted("I3")
def a_service_is_started_once_more_than_it_was_switched(seen: Round) -> None:
    seen.starts.append(seen.starts[-1].model_copy(update={"at": seen.starts[-1].at + 1, "version": "0.0.0"}))


@planted("I4")
def an_old_attempt_acts_after_a_new_one(seen: Round) -> None:
    last = seen.effects[-1]
    ghost = {"token": (last.token[0] - 1, last.token[1], last.token[2]), "step": f"{last.step}.ghost"}
    seen.effects.append(last.model_copy(update=ghost))


@planted("I5")
def the_next_wave_begins_before_a_target_is_healthy(seen: Round) -> None:
    rollout = seen.rollouts[0]
    for place, one in enumerate(seen.starts):
        mine = (one.service, one.version) == (rollout.service, rollout.new) and one.host in rollout.targets["west"]
        if mine:
            seen.starts[place] = one.model_copy(update={"at": one.at - 3600})


@planted("I6")
def a_gate_passes_on_an_event_of_another_release(seen: Round) -> None:
    opened = first(seen, "health.check_passed", seen.rollouts[0])
    assert opened.body is not None
    opened.body["data"]["release_digest"] = "sha256:another"


@planted("I7")
def an_activation_is_not_told_of(seen: Round) -> None:
    seen.messages.remove(first(seen, "deployment.started"))


@planted("I7")
def a_completion_is_told_of_where_nothing_was_activated(seen: Round) -> None:
    host = seen.rollouts[0].targets["east"][0]
    mine = f"{seen.rollouts[0].rollout_id}."
    seen.effects = [
        one for one in seen.effects if not (one.host == host and one.step.startswith(mine) and one.what == "activate")
    ]


@planted("I8")
def a_host_runs_something_else_than_the_rollout_says(seen: Round) -> None:
    seen.hosts[0] = seen.hosts[0].model_copy(update={"current": "0.0.0", "served": "0.0.0"})


@planted("I8")
def the_last_event_says_another_end(seen: Round) -> None:
    seen.messages = [
        one for one in seen.messages if not (one.region == "global" and one.type == "deployment.completed")
    ]


@planted("I9")
def there_was_no_release_for_a_moment(seen: Round) -> None:
    one = seen.hosts[0]
    seen.glimpses.append(Glimpse(host=one.host, service=one.service, at=1.0, seen="no release"))


@planted("I10")
def a_rollout_does_not_end(seen: Round) -> None:
    seen.rollouts[0] = seen.rollouts[0].model_copy(update={"result": None})


@planted("I10")
def a_workflow_task_fails(seen: Round) -> None:
    history = next(iter(seen.rollouts[0].histories.values()))
    failed = {"eventType": "EVENT_TYPE_WORKFLOW_TASK_FAILED", "workflowTaskFailedEventAttributes": {}}
    history["events"].append(failed)


@planted("I11")
def a_target_is_completed_before_it_is_healthy(seen: Round) -> None:
    passed, started = first(seen, "health.check_passed"), first(seen, "health.check_started")
    passed.sequence, started.sequence = started.sequence, passed.sequence


@planted("I12")
def a_region_that_went_back_keeps_the_new_release(seen: Round) -> None:
    back = next(one for one in seen.rollouts if "rolled_back" in (one.result or {}).get("regions", {}).values())
    for one in seen.hosts:
        if one.service == back.service:
            one.current = one.served = back.new


@planted("I13")
def a_lock_is_held(seen: Round) -> None:
    seen.hosts[0].locked = True


@planted("I13")
def a_process_is_left(seen: Round) -> None:
    seen.hosts[0].processes.append("/proc/1")


@planted("I14")
def a_secret_stands_in_a_log(seen: Round) -> None:
    seen.secrets_in.append("worker.log")


@planted("I14")
def nothing_was_searched(seen: Round) -> None:
    seen.searched = []


@planted("I15")
def a_forged_event_is_taken(seen: Round) -> None:
    seen.attempts.append(Attempt(what="a publish for another region", refused=False))


@planted("I15")
def a_forged_event_is_stored(seen: Round) -> None:
    seen.attempts.append(Attempt(what="a publish for another region", refused=True, marks=seen.messages[0].id))


@planted("I16")
def a_second_rollout_of_the_same_changes_something(seen: Round) -> None:
    seen.rollouts[0] = seen.rollouts[0].model_copy(update={"unchanged": True})


@planted("I17")
def a_history_does_not_replay(seen: Round) -> None:
    history = next(iter(seen.rollouts[0].histories.values()))
    scheduled = [one for one in history["events"] if "activityTaskScheduledEventAttributes" in one]
    scheduled[-1]["activityTaskScheduledEventAttributes"]["activityType"]["name"] = "another"


@planted("I18")
def a_worker_grows(seen: Round) -> None:
    seen.vitals_before = [Vitals(process="worker", files=10, threads=5, memory_kb=1)]
    seen.vitals_after = [Vitals(process="worker", files=500, threads=5, memory_kb=1)]


@planted("I18")
def a_history_is_endless(seen: Round) -> None:
    history = next(iter(seen.rollouts[0].histories.values()))
    history["events"] *= 100


def test_a_start_that_a_crash_cut_off_in_an_earlier_round_is_none_of_this_one():
    seen = copy.deepcopy(GOOD)
    seen.starts.insert(0, seen.starts[0])
    assert violations(seen, ask=["I3"]) == []


def test_a_wrong_end_is_told_without_what_says_nothing():
    seen = copy.deepcopy(GOOD)
    seen.rollouts[0].result = {"phase": "failed", "reason": "full", "undo": None, "one_way": "", "regions": {"west": 0}}
    assert "it ended {'phase': 'failed', 'reason': 'full', 'regions': {'west': 0}}, and not" in " ".join(
        violations(seen, ask=["I10"])
    )


def test_a_good_round_passes_every_check():
    assert violations(GOOD) == []
    assert {one.story for one in GOOD.rollouts} >= {"good", "back"}


def test_every_invariant_has_a_planted_violation():
    assert {invariant for invariant, _ in PLANTED} == {*INVARIANTS}


@pytest.mark.parametrize(("invariant", "plant"), PLANTED, ids=[plant.__name__ for _, plant in PLANTED])
def test_a_planted_violation_is_found(invariant: str, plant: Plant):
    seen = copy.deepcopy(GOOD)
    plant(seen)
    assert violations(seen, ask=[invariant]), f"{invariant} did not see it"
