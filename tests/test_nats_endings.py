"""Ends that come at the wrong moment: of a loop, of a stream, of a consumer, of a registry that starts, of room."""

import asyncio
from pathlib import Path

import pytest

from fraisier.nats import Event, EventInvalid, EventSubscriberRegistry, HandlersFailed, NatsEventBus, new_event
from tests.support.nats import NatsServer, eventually
from tests.test_nats_subscribers import fed, letters, publish


def event(rollout: str, **data: object) -> Event:
    return new_event("deployment.started", deployment_id=rollout, region="us-east-1", service="api", data=dict(data))


def test_a_loop_that_ends_begins_nothing_more_and_fails_nothing() -> None:
    registry, begun, failed = EventSubscriberRegistry(), [], []

    async def long(event: Event) -> None:
        begun.append(event.deployment_id)
        await asyncio.sleep(3600)

    async def dispatch(number: int) -> None:
        try:
            await registry.dispatch(event(f"r{number}"))
        except HandlersFailed as error:
            failed.append(error)

    async def main() -> None:
        running = [asyncio.create_task(dispatch(number)) for number in range(20)]
        while len(begun) < 8:  # noqa: ASYNC110 (another task fills it)
            await asyncio.sleep(0.01)
        assert running

    registry.register(long)
    asyncio.run(main())
    assert len(begun) == 8
    assert failed == []


class Abort(BaseException):
    """No `Exception`, as some libraries have."""


async def test_a_base_exception_of_a_handlers_own_has_failed_and_no_more() -> None:
    registry = EventSubscriberRegistry()

    async def on_loop(_: Event) -> None:
        raise Abort

    def in_thread(_: Event) -> None:
        raise Abort

    registry.register(on_loop)
    registry.register(in_thread)
    with pytest.raises(HandlersFailed) as failed:
        await registry.dispatch(event("r1"))
    assert [type(why).__name__ for why in failed.value.errors.values()] == ["HandlerBroke", "HandlerBroke"]


async def test_calls_that_nobody_waits_for_and_that_heed_nothing_give_their_places_away() -> None:
    registry, let_go, begun = EventSubscriberRegistry(handler_timeout=0.5), asyncio.Event(), []

    async def stubborn(event: Event) -> None:
        begun.append(event.deployment_id)
        while event.deployment_id != "other" and not let_go.is_set():
            try:
                await let_go.wait()
            except asyncio.CancelledError:
                continue

    registry.register(stubborn)
    calls = [asyncio.create_task(registry.dispatch(event(f"r{number}"))) for number in range(8)]
    await eventually(lambda: len(begun) == 8)
    for call in calls:
        call.cancel()
    assert await asyncio.wait_for(registry.dispatch(event("other")), 60) == 1
    let_go.set()
    await asyncio.gather(*calls, return_exceptions=True)


async def test_an_event_or_letter_that_fits_only_without_its_headers_is_told_and_harms_nobody(tmp_path: Path) -> None:
    server = NatsServer(tmp_path, "max_payload: 20000\n")
    server.start()
    try:
        async with server.client() as client:
            bus, registry, seen = NatsEventBus(client), EventSubscriberRegistry(), []

            def picky(event: Event) -> None:
                if event.data["number"] == 0:
                    raise ValueError("no")
                seen.append(event.data["number"])

            registry.register(picky)
            async with fed(registry, bus):
                small = len(event("r1", number=0, padding="").to_json())
                with pytest.raises(EventInvalid, match="too large"):
                    await bus.publish_event(event("r1", number=0, padding="x" * (19_980 - small)))
                # As a letter, in base64, it is larger than the server takes.
                await bus.publish_event(event("r1", number=0, padding="x" * (15_000 - small)))
                await bus.publish_event(event("r1", number=1))
                await eventually(lambda: seen == [1])
                while not (found := await letters(bus)):  # noqa: ASYNC110 (read from the server)
                    await asyncio.sleep(0.05)
                assert [one.whole for one in found] == [False]
            assert not client.closed.is_set()
    finally:
        server.kill()


async def test_a_stream_that_is_made_anew_is_read_from_its_beginning(
    bus: NatsEventBus, caplog: pytest.LogCaptureFixture
) -> None:
    registry, seen = EventSubscriberRegistry(), []
    registry.register(lambda event: seen.append(event.data["number"]))
    async with fed(registry, bus):
        await publish(bus, 20)
        await eventually(lambda: len(seen) == 20)
        await bus.client.jetstream.delete_stream("DEPLOYMENT_EVENTS")
        await publish(bus, 10, rollout="r2", first=100)
        await eventually(lambda: set(seen) >= set(range(100, 110)))
    assert "DEPLOYMENT_EVENTS was gone, and was made anew, empty" in caplog.text


async def test_what_a_dead_registry_held_is_handled_though_its_consumer_is_deleted(
    nats_server: NatsServer, bus: NatsEventBus
) -> None:
    await bus.ensure_streams()
    async with nats_server.client() as client:
        dying = EventSubscriberRegistry()

        async def never_ends(_: Event) -> None:
            await asyncio.sleep(3600)

        dying.register(never_ends)
        await dying.start(NatsEventBus(client))
        await publish(bus, 5)
        info = bus.client.jetstream.consumer_info
        while (await info("DEPLOYMENT_EVENTS", "fraisier")).num_ack_pending != 5:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    stopping = asyncio.create_task(dying.stop())
    await asyncio.sleep(0)
    stopping.cancel()
    await asyncio.gather(stopping, return_exceptions=True)
    registry, seen = EventSubscriberRegistry(), []
    registry.register(lambda event: seen.append(event.data["number"]))
    async with fed(registry, bus):
        await bus.client.jetstream.delete_consumer("DEPLOYMENT_EVENTS", "fraisier")
        await eventually(lambda: set(seen) == set(range(5)))


async def test_stop_while_it_starts_leaves_nothing_behind(bus: NatsEventBus) -> None:
    registry = EventSubscriberRegistry()
    starting = asyncio.create_task(registry.start(bus))
    await asyncio.sleep(0)
    await registry.stop()
    await asyncio.wait_for(starting, 60)
    while [task for task in asyncio.all_tasks() if task.get_name().startswith("consume")]:  # noqa: ASYNC110
        await asyncio.sleep(0.05)
