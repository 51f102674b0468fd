"""Verbs that come as events: which stored event is one, and what it asks. Pure."""

from collections.abc import Iterable

from fraisier.workflows.evidence import GLOBAL
from fraisier.workflows.gate_steps import Fact
from fraisier.workflows.steps import ListenInput, SentVerb
from fraisier.workflows.verbs import VOTES, Verb, read_request

VERB_SENT = "deployment.verb_sent"

BY_EVENT = (Verb.PAUSE, Verb.RESUME, *VOTES)
"""What may be asked by an event: to hold a rollout and to let it go on, and votes."""


def next_sent(facts: Iterable[Fact], asked: ListenInput) -> SentVerb | None:
    """The first verb that was sent to a rollout by an event; what only looks like one is passed over.

    A region may hold the rollout that it is part of. Everything else must come from ``global``: whoever may publish
    for a region does not speak for people.
    """
    for fact in facts:
        sent = fact.data.get("verb")
        if fact.event_type != VERB_SENT or fact.problem or sent not in [verb.value for verb in BY_EVENT]:
            continue
        if fact.rollout_id != asked.rollout_id or fact.service != asked.service or fact.sequence <= asked.after:
            continue
        if fact.data.get("release_digest", asked.digest) != asked.digest:
            continue
        if fact.region != GLOBAL and not (sent == Verb.PAUSE.value and fact.region in asked.regions):
            continue
        request = read_request(fact.data).model_copy(update={"id": f"event {fact.sequence}"})
        return SentVerb(
            sequence=fact.sequence,
            verb=Verb(sent),
            request=request,
            gate=str(fact.data.get("gate") or ""),
            wave=int(fact.data.get("wave") or 0),
            generation=fact.data.get("generation"),
        )
    return None
