"""Handlers that do their worst: none of it reaches another handler, the registry or the process."""

import asyncio
import base64
import subprocess
import sys
import threading

import pytest

from fraisier.nats import Event, EventSubscriberRegistry, HandlersFailed, NatsEventBus, new_event
from fraisier.nats.dead_letters import DeadLetter, DeadLetters
from tests.support.nats import NatsServer, eventually
from tests.test_nats_subscribers import fed, letters, publish


def event() -> Event:
    return new_event("deployment.started", deployment_id="r1", region="us-east-1", service="api")


async def test_a_handler_that_orders_the_process_to_end_has_failed_and_no_more() -> None:
    registry = EventSubscriberRegistry()

    async def ends(_: Event) -> None:
        sys.exit("enough")

    registry.register(ends)
    registry.register(lambda _: sys.exit("enough"))
    with pytest.raises(HandlersFailed) as failed:
        await registry.dispatch(event())
    assert [type(why).__name__ for why in failed.value.errors.values()] == ["HandlerBroke", "HandlerBroke"]


async def test_a_handler_that_cancels_itself_harms_no_later_event() -> None:
    registry, seen = EventSubscriberRegistry(), []

    async def handler(event: Event) -> None:
        if event.data["number"] == 0:
            asyncio.current_task().cancel()  # type: ignore[union-attr]
            return
        await asyncio.sleep(0)
        seen.append(event.data["number"])

    registry.register(handler)
    events = [event().model_copy(update={"data": {"number": number}}) for number in range(3)]
    ends = await asyncio.gather(*(registry.dispatch(one) for one in events), return_exceptions=True)
    assert [type(end).__name__ for end in ends] == ["HandlersFailed", "int", "int"]
    assert seen == [1, 2]


async def test_handlers_of_the_same_function_have_outcomes_of_their_own() -> None:
    registry = EventSubscriberRegistry()

    def maker(number: int) -> object:
        def handler(_: Event) -> None:
            raise ValueError(number)

        return handler

    for number in (1, 2):
        registry.register(maker(number))  # type: ignore[arg-type]
    with pytest.raises(HandlersFailed) as failed:
        await registry.dispatch(event())
    names = {name.rpartition("#")[2]: str(why) for name, why in failed.value.errors.items()}
    assert names == {name: "1" if name != "2" else "2" for name in names}
    assert len(names) == 2


def test_a_registry_outlives_its_event_loop() -> None:
    registry, seen = EventSubscriberRegistry(), []
    registry.register(lambda _: seen.append(1))

    async def many() -> None:
        await asyncio.gather(*(registry.dispatch(event()) for _ in range(20)))

    asyncio.run(many())
    asyncio.run(many())
    assert len(seen) == 40


HANGING = """
import asyncio, time
from fraisier.nats import EventSubscriberRegistry, HandlersFailed, new_event

async def main():
    registry = EventSubscriberRegistry(handler_timeout=0.2)
    seen = []
    def hangs(event):
        seen.append(event)
        time.sleep(3600)
    registry.register(hangs)
    for number in range(12):
        try:
            await registry.dispatch(new_event("deployment.started", deployment_id=f"r{number}", region="x"))
        except HandlersFailed:
            pass
    print(len(seen))

asyncio.run(main())
"""


def test_calls_that_hang_take_no_turn_from_later_ones_and_do_not_keep_the_process() -> None:
    done = subprocess.run([sys.executable, "-c", HANGING], capture_output=True, timeout=120, check=True)
    assert done.stdout.strip() == b"12"


async def test_stop_does_not_wait_for_the_retries_and_the_event_comes_again(bus: NatsEventBus) -> None:
    registry, tried = EventSubscriberRegistry(), []

    def failing(_: Event) -> None:
        tried.append(1)
        raise ValueError("not now")

    registry.register(failing, retry_on_failure=True, retry_count=3, retry_delay=3600)
    async with fed(registry, bus):
        await publish(bus, 1)
        await eventually(lambda: tried)
        await asyncio.wait_for(registry.stop(), 60)
    assert await letters(bus) == []
    later, seen = EventSubscriberRegistry(), []
    later.register(lambda event: seen.append(event.data["number"]))
    async with fed(later, bus):
        await eventually(lambda: seen == [0])


async def test_stop_in_a_handler_is_refused_instead_of_waiting_for_itself(bus: NatsEventBus) -> None:
    registry, said = EventSubscriberRegistry(), []

    async def stops(_: Event) -> None:
        try:
            await registry.stop()
        except RuntimeError as error:
            said.append(str(error))

    registry.register(stops)
    async with fed(registry, bus):
        await publish(bus, 1)
        await eventually(lambda: said)
    assert "in a handler" in said[0]


async def test_a_stop_that_is_cancelled_ends_what_runs_and_leaves_nothing_behind(bus: NatsEventBus) -> None:
    registry, begun, ended = EventSubscriberRegistry(), asyncio.Event(), []

    async def long(_: Event) -> None:
        begun.set()
        try:
            await asyncio.sleep(3600)
        finally:
            ended.append(1)

    registry.register(long)
    await registry.start(bus)
    await publish(bus, 1)
    await begun.wait()
    stopping = asyncio.create_task(registry.stop())
    await asyncio.sleep(0.1)
    stopping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(stopping, 60)
    assert ended == [1]
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("consume")]


async def test_a_consumer_that_somebody_deletes_skips_nothing(bus: NatsEventBus) -> None:
    registry, seen = EventSubscriberRegistry(), []
    registry.register(lambda event: seen.append(event.data["number"]))
    async with fed(registry, bus):
        await publish(bus, 5)
        await eventually(lambda: len(seen) == 5)
        await bus.client.jetstream.delete_consumer("DEPLOYMENT_EVENTS", "fraisier")
        await publish(bus, 5, first=5)
        await eventually(lambda: set(seen) == set(range(10)))


async def test_a_reader_goes_on_after_what_nobody_expected(bus: NatsEventBus, monkeypatch: pytest.MonkeyPatch) -> None:
    registry, seen, broken = EventSubscriberRegistry(), [], []
    registry.register(lambda event: seen.append(event.data["number"]))
    async with fed(registry, bus):
        readers = registry._consumers._readers  # type: ignore[union-attr]
        reader = next(one for one in readers if one.stream == "DEPLOYMENT_EVENTS")
        some = reader._some

        async def breaks() -> None:
            if not broken:
                broken.append(1)
                raise ValueError("a defect")
            await some()

        monkeypatch.setattr(reader, "_some", breaks)
        await publish(bus, 3)
        await eventually(lambda: seen == [0, 1, 2])
    assert broken


async def test_what_is_no_letter_stops_nobody_from_reading_and_replaying(bus: NatsEventBus) -> None:
    registry, ill, seen = EventSubscriberRegistry(), threading.Event(), []
    ill.set()

    def picky(event: Event) -> None:
        if ill.is_set():
            raise ValueError("x" * 10_000)
        seen.append(event.data["number"])

    registry.register(picky)
    async with fed(registry, bus):
        for subject in ("fraisier.dead.HEALTH_EVENTS.1", "fraisier.replay.HEALTH_EVENTS.1"):
            await bus.client.jetstream.publish(subject, b"garbage")
        await publish(bus, 1)
        while not (found := await letters(bus)):  # noqa: ASYNC110 (read from the server)
            await asyncio.sleep(0.05)
        assert len(found[0].reason) == 4096
        ill.clear()
        await DeadLetters(bus).replay(found[0])
        await eventually(lambda: seen == [0])
        while await letters(bus):  # noqa: ASYNC110 (read from the server)
            await asyncio.sleep(0.05)
    await DeadLetters(bus).remove(found[0])


async def test_a_letter_whose_handler_is_gone_stays(bus: NatsEventBus) -> None:
    letter = DeadLetter(stream="DEPLOYMENT_EVENTS", stream_sequence=1, subject="x", handler="gone", body="eA==")
    other = DeadLetter(stream="HEALTH_EVENTS", stream_sequence=1, subject="x", handler="gone", body="eA==")
    registry = EventSubscriberRegistry()
    async with fed(registry, bus):
        await publish(bus, 1)
        await DeadLetters(bus).put(other)
        await DeadLetters(bus).put(
            letter.model_copy(update={"body": (await raw(bus)), "subject": (await subject(bus))})
        )
        found = await letters(bus)
        await DeadLetters(bus).replay(found[-1])
        info = bus.client.jetstream.consumer_info
        while (await info("FRAISIER_DEAD_LETTERS", "fraisier")).ack_floor.stream_seq < 3:  # type: ignore[union-attr]  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    assert len(await letters(bus)) == 2


async def raw(bus: NatsEventBus) -> str:
    return base64.b64encode((await bus.client.jetstream.get_msg("DEPLOYMENT_EVENTS", seq=1)).data or b"").decode()


async def subject(bus: NatsEventBus) -> str:
    return (await bus.client.jetstream.get_msg("DEPLOYMENT_EVENTS", seq=1)).subject or ""


async def test_a_letter_that_is_too_large_keeps_its_reason_and_tells_where_the_event_lies(
    nats_server: NatsServer, bus: NatsEventBus
) -> None:
    letter = DeadLetter(
        stream="HEALTH_EVENTS", stream_sequence=7, subject="x", handler="h", reason="why", body="x" * (2 << 20)
    )
    await bus.ensure_streams()
    await DeadLetters(bus).ensure()
    await DeadLetters(bus).put(letter)
    (found,) = await letters(bus)
    assert (found.reason, found.whole, found.stream_sequence) == ("why", False, 7)
    with pytest.raises(Exception, match="number 7 of HEALTH_EVENTS"):
        await DeadLetters(bus).replay(found)
