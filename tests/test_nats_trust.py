"""What others may do to a stream, and what no event of ours may suffer from it."""

import asyncio

import pytest

from fraisier.nats import Event, EventInvalid, NatsEventBus, PermissionDenied, mint_generation, new_event
from fraisier.nats.config import StreamConfig
from tests.support.nats import NatsServer


def passed(number: int = 1, **data: object) -> Event:
    return new_event(
        "health.check_passed", deployment_id="r1", region="eu-west-1", service="api", target=f"h{number}",
        step="1.health", data=dict(data),
    )  # fmt: skip


async def stored(bus: NatsEventBus) -> list[str | None]:
    return [event.target async for event in bus.read("health", deployment_id="r1") if isinstance(event, Event)]


async def test_an_id_that_somebody_used_for_another_subject_costs_no_event(bus: NatsEventBus) -> None:
    await bus.ensure_streams()
    event = passed()
    other = event.subject.replace(".eu-west-1.", ".us-east-1.")
    await bus.client.jetstream.publish(other, b"x", headers={"Nats-Msg-Id": event.event_id})
    first = await bus.publish_event(event)
    again = await bus.publish_event(event)
    assert (first.duplicate, again.duplicate, again.sequence) == (False, True, first.sequence)
    assert await stored(bus) == ["h1"]


async def test_an_event_that_was_purged_is_stored_again(bus: NatsEventBus) -> None:
    await bus.publish_event(passed())
    await bus.client.jetstream.purge_stream("HEALTH_EVENTS")
    assert not (await bus.publish_event(passed())).duplicate
    assert await stored(bus) == ["h1"]


async def test_an_event_that_never_fits_is_told_at_once(bus: NatsEventBus) -> None:
    with pytest.raises(EventInvalid, match="too large"):
        await asyncio.wait_for(bus.publish_event(passed(padding="x" * (1 << 21))), 60)
    stream = await bus.client.jetstream.stream_info("HEALTH_EVENTS")
    stream.config.max_msg_size = 2000
    await bus.client.jetstream.update_stream(stream.config)
    with pytest.raises(EventInvalid, match="too large for HEALTH_EVENTS"):
        await asyncio.wait_for(bus.publish_event(passed(padding="x" * 5000)), 60)
    await bus.publish_event(passed())


async def test_a_process_with_a_smaller_environment_takes_nothing_from_a_stream(bus: NatsEventBus) -> None:
    await bus.publish_event(passed())
    small = NatsEventBus(bus.client, StreamConfig(health_events_retention_hours=1, max_size=1 << 20))

    async def limits() -> tuple[float | None, int | None]:
        config = (await bus.client.jetstream.stream_info("HEALTH_EVENTS")).config
        return config.max_age, config.max_bytes

    before = await limits()
    await small.publish_event(passed(2))
    assert await limits() == before
    await NatsEventBus(bus.client, StreamConfig(health_events_retention_hours=200)).publish_event(passed(3))
    assert await limits() == (200 * 3600, before[1])
    await small.ensure_streams()
    assert await limits() == (3600, 1 << 20)


async def test_who_may_not_mint_is_told_so(nats_server: NatsServer, bus: NatsEventBus) -> None:
    await mint_generation(bus.client, "api")
    async with nats_server.client("eu", "eu") as eu:
        with pytest.raises(PermissionDenied, match="may not mint generations"):
            await asyncio.wait_for(mint_generation(eu, "api"), 60)


async def test_many_on_their_way_survive_the_death_of_the_server(nats_server: NatsServer, bus: NatsEventBus) -> None:
    results = []
    async for one in bus.publish_events(passed(number) for number in range(600)):
        results.append(one.sequence)
        if len(results) in (100, 300):
            nats_server.kill()
            nats_server.start()
    assert sorted(results) == list(range(1, 601))
    assert sorted(await stored(bus)) == sorted(f"h{number}" for number in range(600))


async def test_leaving_the_loop_of_many_leaves_room_for_the_next(bus: NatsEventBus) -> None:
    for _ in range(3):
        many = bus.publish_events((passed(number) for number in range(500)), window=200)
        await anext(many)
        await many.aclose()
    await asyncio.wait_for(bus.publish_event(passed(1000)), 60)
