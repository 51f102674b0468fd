"""Whether stored events are what the catalogue says."""

from fraisier.nats import Event, NatsEventBus
from fraisier.nats.catalogue import CATALOGUE
from fraisier.nats.subjects import DOMAINS


async def told(bus: NatsEventBus, rollout_id: str) -> set[str]:
    """The types that a rollout stored, after each event was found to be whole and to have catalogued keys alone."""
    types = set()
    for domain in DOMAINS:
        async for event in bus.read(domain, deployment_id=rollout_id):
            assert isinstance(event, Event), event
            unknown = event.data.keys() - CATALOGUE[event.event_type].payloads[-1].model_fields.keys()
            assert not unknown, (
                f"{event.event_type} has {unknown}: name them in fraisier.nats.catalogue, make catalogue"
            )
            types.add(event.event_type)
    return types
