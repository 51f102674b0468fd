"""All invariants, by their number, and the one function that asks them all."""

from collections.abc import Callable, Iterable

from tests.faults.invariants import events, hosts, limits, rollouts
from tests.faults.records import Round

INVARIANTS: dict[str, Callable[[Round], Iterable[str]]] = {
    "I1": events.what_was_acknowledged_is_stored,
    "I2": events.nothing_is_stored_twice,
    "I3": hosts.each_step_takes_effect_once,
    "I4": hosts.no_old_attempt_acts_after_a_new_one,
    "I5": rollouts.no_wave_before_its_gate,
    "I6": rollouts.gates_open_on_their_own_events_only,
    "I7": events.each_effect_has_its_event_and_each_event_its_effect,
    "I8": rollouts.everybody_agrees_on_the_end,
    "I9": hosts.one_whole_release_at_any_time,
    "I10": rollouts.every_rollout_ends_as_its_story_says,
    "I11": events.each_target_is_told_of_in_order,
    "I12": rollouts.a_region_that_went_back_is_back,
    "I13": hosts.nothing_is_left_behind,
    "I14": limits.no_secret_comes_out,
    "I15": limits.nobody_else_changes_anything,
    "I16": hosts.what_runs_already_is_not_touched,
    "I17": rollouts.histories_replay,
    "I18": limits.nothing_grows_for_ever,
}


def violations(seen: Round, *, ask: Iterable[str] = INVARIANTS) -> list[str]:
    """What does not hold, each with the number of its invariant."""
    return [f"{number}: {text}" for number in ask for text in INVARIANTS[number](seen)]
