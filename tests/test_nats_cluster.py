"""The production cluster: what it survives, and whom it does not let in."""

import asyncio
import itertools
import socket
import ssl
from collections import Counter
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import pytest

from fraisier.nats import Event, NatsClient, NatsEventBus
from fraisier.nats.config import StreamConfig
from fraisier.nats.streams import STREAMS
from fraisier.nats.tls import tls_context
from tests.support.cluster import Cluster, make_credentials
from tests.support.nats import eventually
from tests.support.production import LONG_S, event, until, until_stored

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("as_watcher")]

STREAM = STREAMS["health"]


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


async def test_an_event_that_was_sent_before_and_waits_for_its_majority_is_waited_for(cluster: Cluster) -> None:
    """The leader knows its ID then, has not stored it, and refuses to take it twice."""
    async with cluster.client("orchestrator") as client:
        info = await client.jetstream.stream_info(STREAM)
    assert info.cluster is not None
    leader = cluster.nodes[str(info.cluster.leader)]
    async with cluster.client("orchestrator", servers=[leader.url], timeout=1) as client:
        bus = NatsEventBus(client)
        await bus.publish_event(event("eu-west-1", "waits", 1))
        others = [node for node in cluster.nodes.values() if node is not leader]
        try:
            for node in others:
                node.freeze()
            publish = asyncio.create_task(bus.publish_event(event("eu-west-1", "waits", 2)))
            await asyncio.wait({publish}, timeout=4)
            assert not publish.done()
        finally:
            for node in others:
                node.thaw()
        await asyncio.wait_for(publish, LONG_S)
        assert [one.target for one in await until_stored(bus, "waits", 2)] == ["h1", "h2"]


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
