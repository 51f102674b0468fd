"""Events: publishing, dispatch and reading beside plain nats-py, on one server, in interleaved rounds.

Payloads of 1 KB, file storage, JetStream's default sync. "plain" sends bytes that were ready before; "plain, same body"
also builds the CloudEvents body that an event has.
"""

import asyncio
import json
import time
import uuid
from collections.abc import Awaitable, Callable
from datetime import datetime, timezone

from measuring.command import command_line, interruptible
from measuring.figures import Figures
from measuring.server import memory_mb, running_server
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.api import StreamConfig as JsStreamConfig

from fraisier.nats import Event, EventSubscriberRegistry, NatsClient, NatsEventBus, new_event
from fraisier.nats.config import StreamConfig

ROUNDS = 9
EVENTS = 600
WINDOW = 100
DISPATCHED = 4000
SLOW = 6000
PAYLOAD = {"padding": "x" * 600, "version": "2.0.0"}
MANY, ROLLOUT, READS = 1_000_000, 200, 15

Publish = Callable[[], Awaitable[object]]


def event(rollout: str = "r") -> Event:
    return new_event("health.check_passed", deployment_id=rollout, region="eu", service="api", data=PAYLOAD)


class Plain:
    """The same work with nats-py alone."""

    def __init__(self, client: NatsClient) -> None:
        self.js = client.jetstream
        self.size = len(event().to_json())

    async def publish(self) -> None:
        name = str(uuid.uuid4())
        await self.js.publish(f"plain.eu.api.r.{name}", b"x" * self.size, headers={"Nats-Msg-Id": name})

    async def publish_same_body(self) -> None:
        name = str(uuid.uuid4())
        body = {
            "specversion": "1.0", "id": name, "source": "plain", "type": "plain", "datacontenttype": "application/json",
            "time": datetime.now(timezone.utc).isoformat(), "region": "eu", "service": "api", "deploymentid": "r",
            "data": PAYLOAD,
        }  # fmt: skip
        await self.js.publish(f"plain.eu.api.r.{name}", json.dumps(body).encode(), headers={"Nats-Msg-Id": name})


async def sequential(publish: Publish) -> float:
    began = time.perf_counter()
    for _ in range(EVENTS):
        await publish()
    return EVENTS / (time.perf_counter() - began)


async def gathered(publish: Publish) -> float:
    """A bare bounded gather."""
    room = asyncio.Semaphore(WINDOW)

    async def one() -> None:
        async with room:
            await publish()

    began = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(EVENTS)))
    return EVENTS / (time.perf_counter() - began)


async def pipelined(bus: NatsEventBus) -> float:
    began = time.perf_counter()
    async for _ in bus.publish_events((event() for _ in range(EVENTS)), window=WINDOW):
        pass
    return EVENTS / (time.perf_counter() - began)


async def measure_publishing(client: NatsClient, bus: NatsEventBus, figures: Figures) -> None:
    plain = Plain(client)
    for _ in range(ROUNDS):
        figures.add("publish, one by one", "plain", await sequential(plain.publish))
        figures.add("publish, one by one", "plain, same body", await sequential(plain.publish_same_body))
        figures.add("publish, one by one", "ours", await sequential(lambda: bus.publish_event(event())))
        figures.add("publish, window of 100", "plain", await gathered(plain.publish))
        figures.add("publish, window of 100", "plain, same body", await gathered(plain.publish_same_body))
        figures.add("publish, window of 100", "ours", await pipelined(bus))


async def dispatched_by_us(bus: NatsEventBus) -> float:
    """Events a second through the registry, from the stream to the ack."""
    registry, seen, done = EventSubscriberRegistry(), 0, asyncio.Event()

    async def count(_: Event) -> None:
        nonlocal seen
        seen += 1
        if seen == DISPATCHED:
            done.set()

    registry.register(count)
    await registry.start(bus, durable="bench")
    await registry.stop()
    async for _ in bus.publish_events(event(f"r{number % 50}") for number in range(DISPATCHED)):
        pass
    began = time.perf_counter()
    await registry.start(bus, durable="bench")
    await done.wait()
    elapsed = time.perf_counter() - began
    await registry.stop()
    for stream in await bus.client.jetstream.streams_info():
        if stream.state.consumer_count:
            await bus.client.jetstream.delete_consumer(stream.config.name, "bench")
    return DISPATCHED / elapsed


async def dispatched_plainly(bus: NatsEventBus) -> float:
    """Events a second through a bare pull consumer that acks each."""
    js = bus.client.jetstream
    config = ConsumerConfig(durable_name="plain", ack_policy=AckPolicy.EXPLICIT, deliver_policy=DeliverPolicy.NEW)
    await js.add_consumer("HEALTH_EVENTS", config)
    async for _ in bus.publish_events(event(f"r{number % 50}") for number in range(DISPATCHED)):
        pass
    began, seen = time.perf_counter(), 0
    consumer = await js.pull_subscribe_bind(stream="HEALTH_EVENTS", durable="plain")
    while seen < DISPATCHED:
        for message in await consumer.fetch(100, timeout=2):
            json.loads(message.data)
            await message.ack()
            seen += 1
    elapsed = time.perf_counter() - began
    await js.delete_consumer("HEALTH_EVENTS", "plain")
    return DISPATCHED / elapsed


async def measure_dispatch(bus: NatsEventBus, figures: Figures) -> None:
    for _ in range(3):
        figures.add("dispatch and ack", "plain", await dispatched_plainly(bus))
        figures.add("dispatch and ack", "ours", await dispatched_by_us(bus))


async def measure_slow_subscriber(bus: NatsEventBus, figures: Figures) -> None:
    """Memory while a subscriber is far behind its publisher."""
    registry = EventSubscriberRegistry()
    registry.register(lambda _: time.sleep(0.05))
    await registry.start(bus, durable="slow")
    before = memory_mb()
    async for _ in bus.publish_events(event(f"r{number % 50}") for number in range(SLOW)):
        pass
    await asyncio.sleep(3)
    figures.note(f"slow subscriber: {SLOW} events of 1 KB waiting cost {memory_mb() - before:.0f} MB here")
    await registry.stop()


async def flush(client: NatsClient) -> None:
    """Shielded: nats-py would log an error at the answer to one that an interrupt had cancelled."""
    await asyncio.shield(client.connection.flush(30))


async def fill(client: NatsClient, bus: NatsEventBus, count: int) -> None:
    """Store many events of other rollouts, without waiting for each."""
    for number in range(count):
        one = event(f"other{number % 5000}")
        await client.connection.publish(one.subject, one.to_json())
        if number % 500 == 0:
            await flush(client)
    await flush(client)
    while await bus.last_sequence("health") < count:
        await flush(client)


async def time_read(bus: NatsEventBus) -> float:
    """Reads of one rollout's events a second."""
    began = time.perf_counter()
    found = [one async for one in bus.read("health", deployment_id="wanted")]
    assert len(found) == ROLLOUT
    return 1 / (time.perf_counter() - began)


async def measure_reading(figures: Figures) -> None:
    """One rollout's events in a small stream and among a million, on two servers."""
    with running_server() as small, running_server() as large:
        async with NatsClient(small.urls) as a, NatsClient(large.urls) as b:
            few, many = (NatsEventBus(one, StreamConfig(max_size=4 << 30)) for one in (a, b))
            for client, bus, count in ((a, few, 1000), (b, many, MANY)):
                await bus.ensure_streams()
                began = time.perf_counter()
                await fill(client, bus, count // 2)
                async for _ in bus.publish_events(event("wanted") for _ in range(ROLLOUT)):
                    pass
                await fill(client, bus, count // 2)
                seconds = time.perf_counter() - began
            figures.note(f"a million events: stored in {seconds:.0f} s, {large.memory_mb():.0f} MB of server memory")
            for _ in range(READS):
                figures.add("read 200 of a rollout", "plain", await time_read(few))
                figures.add("read 200 of a rollout", "among a million", await time_read(many))


async def measure() -> None:
    figures = Figures("events/s")
    with running_server() as server:
        async with NatsClient(server.urls) as client:
            bus = NatsEventBus(client)
            await bus.ensure_streams()
            await client.jetstream.add_stream(JsStreamConfig(name="PLAIN", subjects=["plain.>"]))
            await measure_publishing(client, bus, figures)
            await measure_dispatch(bus, figures)
            await measure_slow_subscriber(bus, figures)
    await measure_reading(figures)
    figures.show("plain")
    figures.keep("events")


def main() -> None:
    command_line(__doc__).parse_args()
    asyncio.run(measure())


if __name__ == "__main__":
    interruptible(main)
