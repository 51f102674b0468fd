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
        for host in (host for hosts in rollout.targets.values() for host in hosts):
            yield from _at_host(seen, rollout, told, host)


def _at_host(seen: Round, rollout: Rollout, told: list[Message], host: str) -> Iterator[str]:
    mine = [one for one in seen.effects_at(host, rollout.service) if one.step.startswith(f"{rollout.rollout_id}.")]
    events = {(one.type, one.data.get("generation")) for one in told if one.target == host}
    # Of a way back that was given up nobody knows how it ended: that is what its event says.
    needs = {"activate": "deployment.started"}
    if rollout.region_ended(host) == "rolled_back":
        needs["rollback"] = "deployment.rolled_back"
    for effect in mine:
        if effect.what in needs and (needs[effect.what], effect.token[0]) not in events:
            yield f"{host} {rollout.service}: {effect.what} of {effect.token[0]} has no {needs[effect.what]}"
    activated = any(effect.what == "activate" for effect in mine)
    if any(kind == "deployment.completed" for kind, _ in events) and not activated and not rollout.unchanged:
        yield f"{host} {rollout.service}: it is told of as completed, and nothing was activated"


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
    each = ("paused", "resumed", "approved", "rejected", "verb_refused")
    return one.part[4].endswith("_requested") or one.part[4] in each
