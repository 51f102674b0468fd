"""The production cluster: what each credential may do, what is refused, and what it survives."""

import asyncio
import itertools
import os
import socket
import ssl
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest
from nats.js.errors import NotFoundError

from fraisier.nats import (
    ArtifactStore,
    Event,
    EventSubscriberRegistry,
    NatsClient,
    NatsEventBus,
    PermissionDenied,
    mint_generation,
    new_event,
)
from fraisier.nats.config import StreamConfig
from fraisier.nats.dead_letters import DeadLetter, DeadLetters
from fraisier.nats.generations import STREAM as GENERATIONS
from fraisier.nats.streams import STREAMS
from fraisier.nats.tls import tls_context
from tests.support.cluster import Cluster, make_credentials
from tests.support.nats import eventually

pytestmark = pytest.mark.slow

T = TypeVar("T")
LONG_S = 60.0
STREAM = STREAMS["health"]
DURABLE = "fraisier-serve"

EU = "fraisier.health.eu-west-1.api.r1.check_passed"
US = "fraisier.health.us-east-1.api.r1.check_passed"
INFO = f"$JS.API.STREAM.INFO.{STREAM}"
GET = f"$JS.API.STREAM.MSG.GET.{STREAM}"
CONSUMER = f"$JS.API.CONSUMER.CREATE.{STREAM}.spy.{EU}"

REFUSED = {
    "eu-west-1": [
        US, "fraisier.deployment.global.api.r1.started.x", "fraisier.metrics.us-east-1.api.r1.error_rate.x",
        "fraisier.dead.x", "$KV.fraisier-generations.api", "$O.fraisier-artifacts.C.x", CONSUMER,
        f"$JS.API.CONSUMER.DURABLE.CREATE.{STREAM}.spy", f"$JS.API.STREAM.UPDATE.{STREAM}",
        f"$JS.API.STREAM.PURGE.{STREAM}", f"$JS.ACK.{STREAM}.{DURABLE}.1.1.1.1.1", "_INBOX.x",
    ],
    "watchers": [
        EU, US, "fraisier.deployment.global.api.r1.started.x", "fraisier.dead.x", "$KV.fraisier-generations.api",
        CONSUMER, f"$JS.API.STREAM.DELETE.{STREAM}", f"$JS.API.CONSUMER.MSG.NEXT.{STREAM}.{DURABLE}", "_INBOX.x",
        "$JS.API.DIRECT.GET.OBJ_fraisier-artifacts",
    ],
    "handlers": [
        EU, "$KV.fraisier-generations.api", CONSUMER, f"$JS.API.CONSUMER.DELETE.{STREAM}.{DURABLE}",
        f"$JS.API.STREAM.MSG.DELETE.{STREAM}", f"$JS.API.STREAM.PURGE.{STREAM}",
    ],
    "orchestrator": [
        CONSUMER, f"$JS.API.STREAM.UPDATE.{STREAM}", f"$JS.API.STREAM.PURGE.{STREAM}",
        f"$JS.API.STREAM.DELETE.{STREAM}",
        "fraisier.dead.x", f"$JS.ACK.{STREAM}.{DURABLE}.1.1.1.1.1",
    ],
    "installer": [EU, "fraisier.dead.x", GET, f"$JS.API.STREAM.DELETE.{STREAM}", "$KV.fraisier-generations.api"],
}  # fmt: skip


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three servers, with everything installed."""
    cluster = Cluster.make(tmp_path_factory.mktemp("cluster"))
    try:
        cluster.start()
        cluster.install()
        yield cluster
    finally:
        cluster.kill()


@pytest.fixture(autouse=True)
def _configured(monkeypatch: pytest.MonkeyPatch, cluster: Cluster) -> None:
    for name, value in cluster.environment("watchers").items():
        monkeypatch.setenv(name, value)


def event(region: str, deployment: str, number: int = 0) -> Event:
    """An event of a step, which is the same event however often it is made."""
    kind = "deployment.started" if region == "global" else "health.check_passed"
    return new_event(kind, deployment_id=deployment, region=region, service="api", target=f"h{number}", step="1")


async def stored(bus: NatsEventBus, deployment: str) -> list[Event]:
    """What is stored of a deployment's health."""
    return [one async for one in bus.read("health", deployment_id=deployment) if isinstance(one, Event)]


async def until(ask: Callable[[], Awaitable[T]]) -> T:
    """Ask until there is something."""
    end = time.monotonic() + LONG_S
    while not (answer := await ask()):
        assert time.monotonic() < end, "it did not happen in time"
        await asyncio.sleep(0.1)
    return answer


async def until_stored(bus: NatsEventBus, deployment: str, count: int) -> list[Event]:
    """What is stored, as soon as the replica that answers has got so many."""

    async def enough() -> list[Event]:
        found = await stored(bus, deployment)
        return found if len(found) >= count else []

    return await until(enough)


async def test_every_role_can_do_its_work(cluster: Cluster, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        who = ("orchestrator", "eu-west-1", "watchers", "handlers", "admin")
        at = {name: await stack.enter_async_context(cluster.client(name)) for name in who}
        orchestrator, region, watcher, handlers = (NatsEventBus(at[name], StreamConfig()) for name in who[:4])

        replicas = [
            (await at["admin"].jetstream.stream_info(name)).config.num_replicas for name in (STREAM, GENERATIONS)
        ]
        assert replicas == [3, 3]
        first = await mint_generation(at["orchestrator"], "api")
        assert await mint_generation(at["orchestrator"], "api") > first
        (tmp_path / "release").write_bytes(os.urandom(300_000))
        artifact = await ArtifactStore(at["orchestrator"]).put(tmp_path / "release")
        fetched = await ArtifactStore(at["eu-west-1"]).fetch(artifact.digest, tmp_path / "cache")
        assert fetched.read_bytes() == (tmp_path / "release").read_bytes()

        handled: list[str] = []

        async def fail_once(one: Event) -> None:
            handled.append(one.event_id)
            if len(handled) == 1:
                raise ValueError("not today")

        registry = EventSubscriberRegistry()
        registry.register(fail_once, is_async=True)
        await registry.start(handlers, durable=DURABLE)
        try:
            await orchestrator.publish_event(event("global", "work"))
            await eventually(lambda: len(handled) == 1, LONG_S)
            again = [await region.publish_event(event("eu-west-1", "work")) for _ in range(2)]
            assert [one.duplicate for one in again] == [False, True]
            await eventually(lambda: len(handled) == 2, LONG_S)
            letters = await until(partial(_letters, handlers))
            await DeadLetters(handlers).replay(letters[0])
            await eventually(lambda: handled[2:] == handled[:1], LONG_S)
        finally:
            await registry.stop()

        found = await until_stored(watcher, "work", 1)
        assert [one.event_id for one in found] == [event("eu-west-1", "work").event_id]
        assert await watcher.last_sequence("health") >= 1


async def _letters(bus: NatsEventBus) -> list[DeadLetter]:
    return [letter async for letter in DeadLetters(bus).read()]


async def test_a_hint_wakes_whoever_looks_at_another_node(cluster: Cluster) -> None:
    async with (
        cluster.client("watchers", servers=[cluster.nodes["nats-1"].url]) as client,
        cluster.client("eu-west-1", servers=[cluster.nodes["nats-2"].url]) as region,
        NatsEventBus(client).hints("fraisier.health.>") as hint,
    ):
        numbers = itertools.count()

        async def woken() -> bool:
            """Interest takes a moment to reach the other node, so one publish would not do."""
            await NatsEventBus(region).publish_event(event("eu-west-1", "hint", next(numbers)))
            return hint.is_set()

        await until(woken)


async def test_everything_else_is_refused_and_named(cluster: Cluster) -> None:
    for who, subjects in REFUSED.items():
        async with cluster.client(who) as client:
            for subject in subjects:
                await client.connection.publish(subject, b"{}")
            for subject in subjects:
                await eventually(lambda client=client, subject=subject: client.refusal(subject), LONG_S)

    async with cluster.client("eu-west-1") as region, cluster.client("watchers") as watcher:
        attempts = (
            NatsEventBus(region).publish_event(event("us-east-1", "forged")),
            NatsEventBus(watcher).publish_event(event("eu-west-1", "forged")),
            mint_generation(region, "api"),
            EventSubscriberRegistry().start(NatsEventBus(watcher), durable="nobody-made-it"),
        )
        errors = await asyncio.wait_for(asyncio.gather(*attempts, return_exceptions=True), LONG_S)
        assert [type(error) for error in errors] == [PermissionDenied] * 4
        assert "fraisier.health.us-east-1." in str(errors[0])
        assert "fraisier events install --durable nobody-made-it" in str(errors[3])
        assert await stored(NatsEventBus(watcher), "forged") == []


async def is_stored(admin: NatsClient, subject: str) -> bool:
    try:
        await admin.jetstream.get_msg(STREAM, subject=subject)
    except NotFoundError:
        return False
    return True


async def forge(client: NatsClient, subject: str) -> None:
    """Have the server's own answers sent to a subject, by naming it where they shall go."""
    asked = {f"{EU}.own-{subject[-8:]}": b"mine", INFO: b"", GET: b'{"seq": 1}'}
    for number, (ask, body) in enumerate(asked.items()):
        await client.connection.publish(ask, body, reply=f"{subject}-{number}")
    await client.connection.flush(LONG_S)  # type: ignore[arg-type]


async def test_a_forged_answer_lands_on_no_subject_of_another(cluster: Cluster) -> None:
    async with AsyncExitStack() as stack:
        who = ("eu-west-1", "watchers", "handlers", "installer", "admin")
        at = {name: await stack.enter_async_context(cluster.client(name)) for name in who}
        await NatsEventBus(at["eu-west-1"]).publish_event(event("eu-west-1", "seen"))
        # The admin comes last, as the control: inside of the account that owns the streams the answers do land.
        for name, client in at.items():
            await forge(client, f"{US}.by-{name}")
        for number in range(3):
            await until(partial(is_stored, at["admin"], f"{US}.by-admin-{number}"))
        each = [(name, f"{US}.by-{name}-{number}") for name in who for number in range(3)]
        landed = {name for name, subject in each if await is_stored(at["admin"], subject)}
        assert landed == {"admin"}


async def test_nobody_reads_the_answers_of_another_account(cluster: Cluster) -> None:
    seen: dict[str, list[str]] = {"watchers": [], "eu-west-1": []}
    one_node = [cluster.nodes["nats-1"].url]  # it hands out an answer to all of its clients at once
    async with AsyncExitStack() as stack:
        for name, subjects in seen.items():
            client = await stack.enter_async_context(cluster.client(name, servers=one_node))
            await client.connection.subscribe("_INBOX.>", cb=_note(subjects))
            await client.connection.flush(LONG_S)  # type: ignore[arg-type]
        region = await stack.enter_async_context(cluster.client("eu-west-1", servers=one_node))

        async def seen_within() -> bool:
            """The control: within one account everybody sees them."""
            await region.jetstream.stream_info(STREAM)
            return len(seen["eu-west-1"]) > 10

        await until(seen_within)
        assert seen["watchers"] == []


def _note(subjects: list[str]):
    async def note(message) -> None:
        subjects.append(message.subject)

    return note


async def test_no_acknowledged_event_is_lost_when_nodes_are_killed(cluster: Cluster) -> None:
    acknowledged: list[Event] = []
    stop = asyncio.Event()

    async def publish(bus: NatsEventBus, region: str, lane: int) -> None:
        number = lane * 1_000_000
        while not stop.is_set():
            one = event(region, "load", number)
            await bus.publish_event(one)
            acknowledged.append(one)
            number += 1

    async def more() -> None:
        enough = len(acknowledged) + 60
        await eventually(lambda: len(acknowledged) >= enough, LONG_S)

    async with AsyncExitStack() as stack:
        buses = {}
        for region in ("eu-west-1", "us-east-1"):
            client = await stack.enter_async_context(cluster.client(region, timeout=2))
            buses[region] = NatsEventBus(client, StreamConfig())
            await buses[region].ensure_streams()
        admin = await stack.enter_async_context(cluster.client("admin"))
        load = [asyncio.create_task(publish(bus, region, lane)) for region, bus in buses.items() for lane in range(4)]
        killed: list[str] = []
        for victim in ("a follower", "the leader"):
            await more()
            leader = await until(partial(_leader, admin))
            name = leader if victim == "the leader" else next(name for name in cluster.nodes if name != leader)
            cluster.nodes[name].kill()
            killed.append(name)
            await more()
            await asyncio.to_thread(cluster.start, name)
        await more()
        stop.set()
        await asyncio.wait_for(asyncio.gather(*load), LONG_S)
        watcher = await stack.enter_async_context(cluster.client("watchers"))
        found = await until_stored(NatsEventBus(watcher), "load", len(acknowledged))
    assert len(killed) == 2
    # Each one that was acknowledged is there once, and nothing is there that was not.
    assert Counter(one.event_id for one in found) == Counter(one.event_id for one in acknowledged)


async def _leader(admin: NatsClient) -> str:
    cluster = (await admin.jetstream.stream_info(STREAM)).cluster
    return (cluster and cluster.leader) or ""


async def test_a_wrong_or_missing_certificate_is_refused(cluster: Cluster, tmp_path: Path) -> None:
    own = cluster.identity("eu-west-1")
    assert make_credentials(tmp_path / "strangers", "--region=eu-west-1").returncode == 0
    stranger = tmp_path / "strangers" / "regions" / "eu-west-1"
    files = ("client.crt", "client.key")
    servers = own / "servers.crt"
    unknown_server = tls_context(stranger / "servers.crt", *(own / file for file in files))
    attempts = {
        "certificate verify failed": {"tls": unknown_server, "timeout": 20},
        "NATS_TLS_CERT_FILE is signed": {"tls": tls_context(servers, *(stranger / file for file in files))},
        "and that NATS_TLS_CERT_FILE": {"tls": tls_context(servers, None, None)},
        "Check NATS_SERVERS, the seed": {"nkey_seed": (stranger / "seed.nk").read_text()},
    }
    for why, shown in attempts.items():
        with pytest.raises(ConnectionError, match=rf"Failed to connect to NATS .*{why}"):
            await cluster.client("eu-west-1", **{"max_reconnect_attempts": 1, **shown}).connect()


def _as_a_node(port: int, folder: Path, name: str) -> bytes:
    """What a node says to one that shows this certificate where only nodes may come in."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(folder / "servers.crt")
    context.load_cert_chain(folder / f"{name}.crt", folder / f"{name}.key")
    with (
        socket.create_connection(("127.0.0.1", port), timeout=LONG_S) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as encrypted,
    ):
        return encrypted.recv(100)


def test_no_clients_certificate_opens_the_clusters_own_port(cluster: Cluster) -> None:
    port = cluster.nodes["nats-1"].ports["route"]
    assert _as_a_node(port, cluster.folder / "nats-2" / "node", "server").startswith(b"INFO")
    with pytest.raises((ssl.SSLError, ConnectionError)):
        _as_a_node(port, cluster.identity("admin"), "client")
