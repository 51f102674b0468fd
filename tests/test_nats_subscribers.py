"""The registry, without a server and fed by a real one that dies, hangs and comes back."""

import asyncio
import contextlib
import functools
import itertools
import json
import os
import sys
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY

from fraisier.nats import (
    Event,
    EventFilter,
    EventSubscriberRegistry,
    HandlersFailed,
    NatsEventBus,
    get_subscriber_registry,
    new_event,
)
from fraisier.nats.dead_letters import DeadLetter, DeadLetters
from tests.support.nats import PASSWORD, USER, NatsServer, eventually


def event(kind: str = "deployment.started", **parts: Any) -> Event:
    named = {"deployment_id": "r1", "region": "us-east-1", "service": "api", **parts}
    return new_event(kind, **named)


@pytest.mark.parametrize(
    ("wanted", "matches"),
    [
        ({}, True),
        ({"event_type": "deployment.started"}, True),
        ({"event_type": "deployment.*"}, True),
        ({"event_type": "health.*"}, False),
        ({"event_type": "*.started", "region": "us-*"}, True),
        ({"region": "us-east-?"}, True),
        ({"region": "us-east-[2-9]"}, False),
        ({"service": "api", "region": "eu-west-1"}, False),
        ({"service": "API"}, False),
        ({"target": "a"}, False),
        ({"deployment_id": "r1"}, True),
    ],
)
def test_filters(wanted: dict[str, str], matches: bool) -> None:
    assert EventFilter(**wanted).matches(event()) is matches


def test_an_unknown_key_of_a_filter_is_refused() -> None:
    with pytest.raises(ValueError, match="colour"):
        EventFilter(colour="red")  # type: ignore[call-arg]


def test_counts_and_lookups_follow_register_and_unregister() -> None:
    registry = EventSubscriberRegistry()
    first = registry.register(print, EventFilter(event_type="deployment.*"))
    registry.register(print)
    assert registry.get_subscription_count() == 2
    assert first in {one.id for one in registry.get_subscriptions_for_event_type("deployment.failed")}
    assert len(registry.get_subscriptions_for_event_type("health.check_passed")) == 1
    assert registry.unregister(first)
    assert not registry.unregister(first)
    assert registry.get_subscription_count() == 1
    assert get_subscriber_registry() is get_subscriber_registry()


async def test_a_sync_handler_runs_in_a_thread_and_an_async_one_on_the_loop() -> None:
    registry, seen = EventSubscriberRegistry(), []

    async def on_loop(_: Event) -> None:
        seen.append(threading.current_thread() is threading.main_thread())

    async def partial(_: str, __: Event) -> None:
        seen.append(threading.current_thread() is threading.main_thread())

    registry.register(lambda _: seen.append(threading.current_thread() is threading.main_thread()))
    registry.register(on_loop)
    registry.register(functools.partial(partial, "x"))
    registry.register(lambda event: on_loop(event), is_async=True)  # noqa: PLW0108 (a plain function, on purpose)
    await registry.dispatch(event())
    assert sorted(seen) == [False, True, True, True]


async def test_a_mismatch_of_is_async_is_told_at_once_or_fails_with_the_way_out() -> None:
    registry = EventSubscriberRegistry()

    async def handler(_: Event) -> None:
        """Never called."""

    with pytest.raises(ValueError, match="register it with is_async=True"):
        registry.register(handler, is_async=False)
    registry.register(lambda event: handler(event))  # noqa: PLW0108
    with pytest.raises(HandlersFailed, match="register it with is_async=True"):
        await registry.dispatch(event())


@pytest.mark.parametrize(("retry", "calls"), [(True, 3), (False, 1)])
async def test_retries_and_their_delay(retry: bool, calls: int) -> None:
    registry, times = EventSubscriberRegistry(), []

    def failing(_: Event) -> None:
        times.append(time.monotonic())
        raise ValueError("no")

    registry.register(failing, retry_on_failure=retry, retry_count=2, retry_delay=0.1)
    with pytest.raises(HandlersFailed, match="failing: ValueError: no"):
        await registry.dispatch(event())
    assert len(times) == calls
    gaps = [after - before for before, after in itertools.pairwise(times)]
    assert all(gap >= at_least for gap, at_least in zip(gaps, (0.1, 0.2), strict=False))


async def test_no_handler_stops_another() -> None:
    registry, seen = EventSubscriberRegistry(handler_timeout=0.3), []
    release = threading.Event()

    def blocks(_: Event) -> None:
        release.wait()

    async def hangs(_: Event) -> None:
        await asyncio.Event().wait()

    async def cancels(_: Event) -> None:
        raise asyncio.CancelledError

    def raises(_: Event) -> None:
        raise KeyError("x")

    for handler in (blocks, hangs, cancels, raises):
        registry.register(handler)
    registry.register(lambda _: seen.append(time.monotonic()))
    began = time.monotonic()
    try:
        with pytest.raises(HandlersFailed) as failed:
            await registry.dispatch(event())
        assert {name.rpartition(".")[2]: type(why).__name__ for name, why in failed.value.errors.items()} == {
            "blocks": "HandlerTimeout",
            "hangs": "HandlerTimeout",
            "cancels": "HandlerCancelled",
            "raises": "KeyError",
        }
        # The longest time that another one was given, and the last words.
        assert seen[0] - began < 0.3 + 1
    finally:
        release.set()


async def test_events_of_a_rollout_come_in_order_and_rollouts_side_by_side_within_a_bound() -> None:
    registry, order, running = EventSubscriberRegistry(), [], [0, 0]

    async def handler(event: Event) -> None:
        running[0] += 1
        running[1] = max(running)
        await asyncio.sleep(0.02 if event.data["number"] % 2 else 0)
        order.append((event.deployment_id, event.data["number"]))
        running[0] -= 1

    registry.register(handler)
    events = [event(deployment_id=f"r{r}", data={"number": n}) for n in range(5) for r in range(20)]
    await asyncio.gather(*(registry.dispatch(one) for one in events))
    assert all([n for r, n in order if r == f"r{rollout}"] == list(range(5)) for rollout in range(20))
    assert running[1] == 8


# --- on a server ---------------------------------------------------------------------------------


async def publish(bus: NatsEventBus, count: int, *, rollout: str = "r1", first: int = 0) -> None:
    for number in range(first, first + count):
        await bus.publish_event(event(deployment_id=rollout, step=str(number), data={"number": number}))


@contextlib.asynccontextmanager
async def fed(registry: EventSubscriberRegistry, bus: NatsEventBus) -> AsyncIterator[None]:
    await registry.start(bus)
    try:
        yield
    finally:
        await registry.stop()


async def letters(bus: NatsEventBus) -> list[DeadLetter]:
    return [letter async for letter in DeadLetters(bus).read()]


async def test_a_live_stream_feeds_the_handlers_in_order(bus: NatsEventBus) -> None:
    registry, seen = EventSubscriberRegistry(), []
    registry.register(lambda event: seen.append(event.data["number"]), EventFilter(service="api"))
    registry.register(lambda _: seen.append("wrong"), EventFilter(service="web"))
    async with fed(registry, bus):
        with pytest.raises(RuntimeError, match="runs already"):
            await registry.start(bus)
        await publish(bus, 50)
        await eventually(lambda: len(seen) == 50)
    assert seen == list(range(50))
    await registry.stop()


async def test_a_slow_handler_delays_nobody_else(bus: NatsEventBus) -> None:
    registry, fast, slow, held = EventSubscriberRegistry(), [], [], threading.Event()
    registry.register(lambda event: fast.append(event.data["number"]))
    registry.register(lambda event: (held.wait(60), slow.append(event.data["number"])))
    async with fed(registry, bus):
        await publish(bus, 30)
        await eventually(lambda: len(fast) == 30)
        assert slow == []
        stopping = asyncio.create_task(registry.stop())
        await asyncio.sleep(0)
        held.set()
        await stopping
    # stop() finishes what runs and leaves the rest to come again
    assert slow == [0]
    assert await letters(bus) == []
    again = set(slow)
    registry.register(lambda event: again.add(event.data["number"]))
    async with fed(registry, bus):
        await eventually(lambda: again == set(range(30)))


async def test_events_missed_while_down_come_after_the_restart(bus: NatsEventBus) -> None:
    registry, seen = EventSubscriberRegistry(), []
    registry.register(lambda event: seen.append(event.data["number"]))
    async with fed(registry, bus):
        await publish(bus, 3)
        await eventually(lambda: len(seen) == 3)
    await publish(bus, 3, first=3)
    restarted, later = EventSubscriberRegistry(), []
    restarted.register(lambda event: later.append(event.data["number"]))
    async with fed(restarted, bus):
        await eventually(lambda: {3, 4, 5} <= set(later))
    assert sorted(set(later)) == later
    assert set(seen) | set(later) == set(range(6))


async def test_a_poisonous_event_is_a_dead_letter_with_its_reason_and_stops_nobody(bus: NatsEventBus) -> None:
    registry, seen = EventSubscriberRegistry(), []

    def picky(event: Event) -> None:
        if event.data["number"] == 1:
            raise ValueError("cannot digest 1")

    registry.register(picky, retry_on_failure=True, retry_count=1, retry_delay=0)
    registry.register(lambda event: seen.append(event.data["number"]))
    async with fed(registry, bus):
        forged = event(step="x").to_json()
        await bus.client.jetstream.publish(event(step="y").subject, forged)
        await bus.client.jetstream.publish(event(step="z").subject, b"\xff no event")
        await publish(bus, 3)
        await eventually(lambda: seen == [0, 1, 2])
    found = {letter.stream_sequence: letter for letter in await letters(bus)}
    assert sorted(found) == [1, 2, 4]
    assert "belongs to" in found[1].reason
    assert found[2].handler is None
    assert "not a CloudEvents body" in found[2].reason
    assert found[4].reason == "ValueError: cannot digest 1"
    assert (found[4].handler or "").endswith("picky")
    assert found[4].event.data == {"number": 1}
    labels = {"handler": found[4].handler or ""}
    assert REGISTRY.get_sample_value("fraisier_handler_errors_total", labels) == 2
    await DeadLetters(bus).remove(found[4])
    assert len(await letters(bus)) == 2


async def test_a_dead_letter_is_handled_again_by_the_handler_that_could_not(bus: NatsEventBus) -> None:
    registry, picked, seen, ill = EventSubscriberRegistry(), [], [], [True]

    def picky(event: Event) -> None:
        if ill[0]:
            raise ValueError("not today")
        picked.append(event.data["number"])

    registry.register(picky)
    registry.register(lambda event: seen.append(event.data["number"]))
    async with fed(registry, bus):
        await publish(bus, 2)
        await eventually(lambda: seen == [0, 1])
        first = {letter.event.data["number"]: letter for letter in await letters(bus)}
        assert sorted(first) == [0, 1]
        await DeadLetters(bus).replay(first[0])

        async def again() -> DeadLetter | None:
            return next((letter for letter in await letters(bus) if letter.replay), None)

        while (failed := await again()) is None:  # noqa: ASYNC110 (read from the server)
            await asyncio.sleep(0.05)
        assert failed.reason == "ValueError: not today"
        ill.clear()
        ill.append(False)
        for letter in await letters(bus):
            await DeadLetters(bus).replay(letter)
        await eventually(lambda: sorted(picked) == [0, 1])
    assert await letters(bus) == []
    assert seen == [0, 1]


async def test_a_server_killed_in_mid_stream_costs_no_event_and_no_order(
    nats_server: NatsServer, bus: NatsEventBus
) -> None:
    registry, seen = EventSubscriberRegistry(), []
    registry.register(lambda event: seen.append(event.data["number"]))
    async with fed(registry, bus):
        load = asyncio.create_task(publish(bus, 400))
        await eventually(lambda: len(seen) > 20)
        nats_server.kill()
        await asyncio.sleep(0.3)
        nats_server.start()
        await asyncio.wait_for(load, 60)
        await eventually(lambda: set(seen) == set(range(400)), 60)
    assert list(dict.fromkeys(seen)) == list(range(400))
    assert await letters(bus) == []


async def test_a_server_that_hangs_is_waited_for(nats_server: NatsServer, bus: NatsEventBus) -> None:
    registry, seen = EventSubscriberRegistry(), []
    registry.register(lambda event: seen.append(event.data["number"]))
    async with fed(registry, bus):
        await publish(bus, 1)
        nats_server.freeze()
        await asyncio.sleep(6)
        nats_server.thaw()
        await publish(bus, 1, first=1)
        await eventually(lambda: set(seen) == {0, 1})


SUBSCRIBER = """
import asyncio, sys
from fraisier.nats import EventSubscriberRegistry, NatsClient, NatsEventBus, get_nats_config

def handler(event):
    with open("handled", "a") as file:
        file.write(f"{event.data['number']}\\n")

async def main():
    async with NatsClient(**get_nats_config().connection.to_nats_client_kwargs()) as client:
        registry = EventSubscriberRegistry()
        registry.register(handler)
        await registry.start(NatsEventBus(client))
        print("ready", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_a_subscriber_killed_in_mid_stream_handles_everything_after_its_restart(
    nats_server: NatsServer, bus: NatsEventBus, tmp_path: Path
) -> None:
    env = {**os.environ, "NATS_SERVERS": nats_server.url, "NATS_USERNAME": USER, "NATS_PASSWORD": PASSWORD}
    handled = tmp_path / "handled"

    async def start() -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", SUBSCRIBER, cwd=tmp_path, env=env, stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        assert await asyncio.wait_for(process.stdout.readline(), 60) == b"ready\n"
        return process

    def numbers() -> list[int]:
        return list(map(json.loads, handled.read_text().split())) if handled.exists() else []

    first = await start()
    load = asyncio.create_task(publish(bus, 300))
    await eventually(lambda: len(numbers()) > 50)
    first.kill()
    await first.wait()
    await load
    second = await start()
    await eventually(lambda: set(numbers()) == set(range(300)))
    second.kill()
    await second.wait()
    assert list(dict.fromkeys(numbers())) == list(range(300))
    assert await letters(bus) == []
