"""What holds in the streams: nothing acknowledged is lost, nothing is there twice, and each event has its effect."""

from collections import Counter
from collections.abc import Iterator

from tests.faults.records import Message, Rollout, Round

LIFE = (
    ("deployment.started",),
    ("health.check_started",),
    ("health.check_passed", "health.check_failed", "health.check_timeout"),
    ("deployment.completed", "deployment.failed"),
)
"""The events of a target that goes forward, in their order."""


def what_was_acknowledged_is_stored(seen: Round) -> Iterator[str]:
    """I1: every event whose publisher was told so lies where it was told."""
    stored = {(one.stream, one.sequence): one.id for one in seen.messages}
    for ack in seen.acks:
        if stored.get((ack.stream, ack.sequence)) != ack.id:
            yield f"{ack.id} was acknowledged as {ack.stream} {ack.sequence}, and is not there"


def nothing_is_stored_twice(seen: Round) -> Iterator[str]:
    """I2: one message an ID, and one event for a thing that happened."""
    ids = Counter((one.stream, one.id) for one in seen.messages if one.id)  # others publish without one
    yield from (
        f"{stream}: {event_id} is stored {count} times" for (stream, event_id), count in ids.items() if count > 1
    )
    happened = Counter(
        (
            *one.part,
            one.target,
            *(str(one.data.get(key)) for key in ("generation", "scope", "wave", "failures", "gate")),
        )
        for one in seen.messages
        if one.part[0] in ("deployment", "health") and not _a_verb(one)
    )
    yield from (f"{what} is stored {count} times" for what, count in happened.items() if count > 1)


def each_effect_has_its_event_and_each_event_its_effect(seen: Round) -> Iterator[str]:
    """I7: a switch was told of, and what was told took place."""
    for rollout in seen.rollouts:
        told = seen.of(rollout)
        if rollout.result is None or any("refused" in one for one in rollout.result.get("reason", "").split()):
            continue
        for host in (host for hosts in rollout.targets.values() for host in hosts):
            yield from _at_host(seen, rollout, told, host)


def _at_host(seen: Round, rollout: Rollout, told: list[Message], host: str) -> Iterator[str]:
    mine = [one for one in seen.effects_at(host, rollout.service) if one.step.startswith(f"{rollout.rollout_id}.")]
    events = {(kind, one.data.get("generation")) for one in told if one.target == host for kind in (one.type,)}
    for effect in mine:
        needs = {"activate": "deployment.started", "rollback": "deployment.rolled_back"}.get(effect.what)
        if needs and (needs, effect.token[0]) not in events:
            yield f"{host} {rollout.service}: {effect.what} of generation {effect.token[0]} has no {needs}"
    switched = {(effect.what, effect.token[0]) for effect in mine}
    for kind, generation in events:
        forward = kind == "deployment.completed" and not rollout.unchanged
        if (
            forward
            and ("activate", generation) not in switched
            and ("activate", generation) not in _earlier(seen, rollout, host)
        ):
            yield f"{host} {rollout.service}: {kind} of generation {generation} tells of no effect"


def _earlier(seen: Round, rollout: Rollout, host: str) -> set[tuple[str, int | None]]:
    """A second run of a region finds what the first one activated: its events tell of that."""
    mine = [one for one in seen.effects_at(host, rollout.service) if one.step.startswith(f"{rollout.rollout_id}.")]
    generations = {one.data.get("generation") for one in seen.of(rollout)}
    return {("activate", number) for number in generations if any(one.what == "activate" for one in mine)}


def each_target_is_told_of_in_order(seen: Round) -> Iterator[str]:
    """I11: what a stream tells of a target in a generation follows its life."""
    place = {kind: number for number, kinds in enumerate(LIFE) for kind in kinds}
    for rollout in seen.rollouts:
        lives: dict[tuple[str, str, str], list[Message]] = {}
        for one in seen.of(rollout):
            if one.type in place and one.data.get("scope") == "target":
                lives.setdefault((one.stream, one.target, str(one.data.get("generation"))), []).append(one)
        for (_, target, _), life in lives.items():
            order = [place[one.type] for one in sorted(life, key=lambda one: one.sequence)]
            if order != sorted(order) or len(order) != len(set(order)):
                yield f"{rollout.service} {target}: {[one.type for one in life]}"


def _a_verb(one: Message) -> bool:
    """Verbs may be asked more than once; each has its own event."""
    return one.part[4].endswith("_requested") or one.part[4] in ("paused", "resumed", "approved", "rejected")
