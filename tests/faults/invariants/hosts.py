"""What holds on the hosts: no step twice, no old attempt after a new one, one whole release at any time."""

from collections.abc import Iterator
from itertools import groupby, pairwise

from tests.faults.records import Round

SWITCHES = ("activate", "rollback", "stop")


def each_step_takes_effect_once(seen: Round) -> Iterator[str]:
    """I3: a step of a generation has one effect at most; and the service itself was started no oftener."""
    for (host, service), effects in _by_host(seen):
        steps = [(one.step, one.what, one.release) for one in effects]
        for step in {step for step in steps if steps.count(step) > 1 and step[1] != "prune"}:
            yield f"{host} {service}: {step} took effect {steps.count(step)} times"
        own = tuple(f"{rollout.rollout_id}." for rollout in seen.rollouts)
        switches = sum(one.what in ("activate", "rollback") and one.step.startswith(own) for one in effects)
        starts = sum((one.host, one.service) == (host, service) and one.at >= seen.began for one in seen.starts)
        if starts > switches and not seen.crashed:
            yield f"{host} {service}: started {starts} times by {switches} switches"


def no_old_attempt_acts_after_a_new_one(seen: Round) -> Iterator[str]:
    """I4: tokens only grow."""
    for (host, service), effects in _by_host(seen):
        for before, after in pairwise(effects):
            if after.token < before.token:
                yield f"{host} {service}: {after.step} with {after.token} came after {before.token}"


def one_whole_release_at_any_time(seen: Round) -> Iterator[str]:
    """I9: whoever looks through `current` sees the old release or the new one, whole."""
    for one in seen.glimpses:
        yield f"{one.host} {one.service} at {one.at:.3f}: {one.seen}"


def nothing_is_left_behind(seen: Round) -> Iterator[str]:
    """I13: no lock, no half upload, no process."""
    for one in seen.hosts:
        rollout = next(rollout for rollout in seen.rollouts if rollout.service == one.service)
        given_up = rollout.region_ended(one.host) not in ("succeeded", "rolled_back")
        left = [file for file in one.left if not (given_up and file.endswith("unsettled"))]
        what = [*(["its lock is held"] if one.locked else []), *left, *one.processes]
        if what:
            yield f"{one.host} {one.service}: {', '.join(what)}"


def what_runs_already_is_not_touched(seen: Round) -> Iterator[str]:
    """I16: rolling out what runs already has no effect anywhere."""
    for rollout in seen.rollouts:
        if rollout.unchanged:
            mine = [one for one in seen.effects if one.step.startswith(f"{rollout.rollout_id}.")]
            yield from (f"{one.host} {one.service}: {one.what} {one.release}" for one in mine)


def _by_host(seen: Round) -> Iterator[tuple[tuple[str, str], list]]:  # type: ignore[type-arg]
    key = lambda one: (one.host, one.service)  # noqa: E731
    for where, effects in groupby(sorted(seen.effects, key=key), key=key):
        yield where, list(effects)
