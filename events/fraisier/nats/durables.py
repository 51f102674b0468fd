"""The durable consumers that registries read from."""

from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from fraisier.nats.dead_letters import REPLAYS
from fraisier.nats.streams import DEAD_LETTERS, STREAMS
from fraisier.nats.subjects import ROOT

WINDOW = 1000
"""Events of one stream that are held here at most, so that a slow handler costs no memory without end."""

ACK_WAIT_S = 5
"""How long the server waits for a sign that an event is being worked on, in seconds, before it sends it again."""

SOURCES = (*((stream, f"{ROOT}.{domain}.>") for domain, stream in STREAMS.items()), (DEAD_LETTERS, REPLAYS))
"""The streams that have a consumer, and the subjects that it filters."""

OURS = ("filter_subject", "ack_wait", "max_deliver", "max_ack_pending")
"""What a consumer that is there must agree in; where it began is its own."""


def consumer_config(durable: str, subjects: str) -> ConsumerConfig:
    """A durable consumer as a registry needs it."""
    return ConsumerConfig(
        durable_name=durable,
        filter_subject=subjects,
        ack_policy=AckPolicy.EXPLICIT,
        deliver_policy=DeliverPolicy.NEW,
        ack_wait=ACK_WAIT_S,
        # For ever: what is given up is given up by us, with a dead letter, never silently by the server.
        max_deliver=-1,
        max_ack_pending=WINDOW,
    )
