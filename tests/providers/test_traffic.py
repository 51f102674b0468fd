"""Real proxies under load: a server that was drained can be killed, and nobody notices."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from fraisier.providers.errors import ConnectFailed, TrafficRefused
from fraisier.providers.models import FencingToken, Step
from fraisier.providers.traffic.caddy import etag
from fraisier.providers.traffic.driver import open_driver
from fraisier.providers.traffic.models import Traffic
from tests.providers.ssh_bench import SshBench, free_port
from tests.support.load import CLIENTS, load
from tests.support.proxies import Proxy, caddy, caddy_by_files, haproxy

STEP = Step(
    rollout_id="r1",
    service="api",
    region="test",
    target="t1",
    name="drain",
    token=FencingToken(generation=1, ordinal=2, attempt=1),
)
SLOW_S = 1.0
LONG_S = 60.0


class Service:
    """A little web service whose every answer takes a while; a kill cuts its connections off."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.port = free_port()
        self.running = 0
        self.asked = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._answer, "127.0.0.1", self.port)

    async def kill(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in tuple(self._open):
            writer.transport.abort()
        await self._server.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            request = await reader.readuntil(b"\r\n\r\n")
            check = b"/health" in request
            self.running += not check
            self.asked.set()
            await asyncio.sleep(0 if check else SLOW_S if b"/slow" in request else 0.02)
            self.running -= not check
            body = self.name.encode()
            writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._open.discard(writer)
            writer.close()


@pytest.fixture
async def services() -> AsyncIterator[tuple[Service, Service]]:
    both = (Service("one"), Service("two"))
    for one in both:
        await one.start()
    yield both
    for one in both:
        await one.kill()


def by_haproxy(proxy: Proxy, **more: Any) -> Traffic:
    settings = {"haproxy": {"sockets": proxy.socket, "backend": "api"}, "servers": {"t1": "web1"}, **more}
    return Traffic(
        **{"undrain_timeout": timedelta(seconds=LONG_S), "drain_timeout": timedelta(seconds=LONG_S), **settings}
    )


async def drain(traffic: Traffic, step: Step = STEP):
    async with open_driver(traffic, step) as driver:
        return await driver.drain(traffic.server(step.target), traffic.drain_timeout.total_seconds())


async def undrain(traffic: Traffic, step: Step = STEP):
    async with open_driver(traffic, step) as driver:
        return await driver.undrain(traffic.server(step.target), traffic.undrain_timeout.total_seconds())


async def until(true) -> None:
    async def look() -> None:
        while not true():  # noqa: ASYNC110 (a proxy tells nobody)
            await asyncio.sleep(0.02)

    await asyncio.wait_for(look(), LONG_S)


@asynccontextmanager
async def each_proxy(
    kind: str, folder: Path, services: tuple[Service, Service]
) -> AsyncIterator[tuple[Proxy, Traffic]]:
    addresses = [one.address for one in services]
    if kind == "haproxy":
        async with haproxy(folder, addresses) as proxy:
            yield proxy, by_haproxy(proxy)
    elif kind == "caddy_files":
        async with caddy_by_files(folder, addresses) as proxy:
            options = {"folder": str(folder / "traffic")}
            yield (
                proxy,
                Traffic(caddy_files=options, servers={"t1": addresses[0]}, drain_timeout=timedelta(seconds=SLOW_S * 7)),
            )
    else:
        async with caddy(folder, addresses) as proxy:
            path = "apps/http/servers/srv0/routes/0/handle/0/upstreams"
            options = {"admin": f"http://127.0.0.1:{proxy.admin}", "upstreams": path}
            yield (
                proxy,
                Traffic(caddy=options, servers={"t1": addresses[0]}, drain_timeout=timedelta(seconds=SLOW_S * 7)),
            )


@pytest.mark.parametrize(("kind", "kept"), [("haproxy", True), ("caddy_files", True), ("caddy", False)])
async def test_a_drained_server_can_be_killed_under_load(
    kind: str, kept: bool, tmp_path: Path, services: tuple[Service, Service]
):
    """Connections that clients keep are kept, but by Caddy when its configuration changes."""
    one, two = services
    async with each_proxy(kind, tmp_path, services) as (proxy, traffic):
        await undrain(traffic)
        async with load(proxy.url, kept=kept) as seen, load(f"{proxy.url}slow", kept=kept) as slow:
            await until(lambda: one.running and two.running)
            assert (await drain(traffic)).detail == "drained"
            assert one.running == 0
            await one.kill()
            before = seen.answers["two"]
            await until(lambda: seen.answers["two"] > before + 20)
            await one.start()
            before = seen.answers["one"]
            assert (await undrain(traffic)).changed
            await until(lambda: seen.answers["one"] > before + 20)
        assert not (await undrain(traffic)).changed
    assert seen.failures + slow.failures == []
    assert not kept or seen.connections + slow.connections == 2 * CLIENTS


async def test_caddys_files_over_ssh_and_what_is_wrong_with_them(
    tmp_path: Path, services: tuple[Service, Service], ssh_bench: SshBench
):
    ways = ("host", "port", "username", "key_path", "known_hosts")
    ssh = {key: value for key, value in ssh_bench.config().items() if key in ways}
    async with each_proxy("caddy_files", tmp_path, services) as (_, traffic):
        light = tmp_path / "traffic" / services[0].address
        quick = Traffic(caddy_files=traffic.caddy_files, servers=traffic.servers, drain_timeout=timedelta(0), ssh=ssh)
        assert (await drain(quick)).changed
        assert not light.exists()
        assert not (await drain(quick)).changed
        assert (await undrain(quick)).changed
        assert light.exists()
    nowhere = Traffic(caddy_files={"folder": str(tmp_path / "none")}, drain_timeout=timedelta(0))
    for act in (drain, undrain):
        with pytest.raises(TrafficRefused, match=r"there is no folder .*none on the proxy's host: make it"):
            await act(nowhere)


async def test_two_servers_that_leave_caddy_at_once_both_leave(tmp_path: Path, services: tuple[Service, Service]):
    async with each_proxy("caddy", tmp_path, services) as (proxy, one):
        servers = dict(zip(("t1", "t2"), (service.address for service in services), strict=True))
        traffic = one.model_copy(update={"servers": servers, "drain_timeout": timedelta(0)})
        steps = [STEP.model_copy(update={"target": target}) for target in servers]
        where = f"http://127.0.0.1:{proxy.admin}/config/apps/http/servers/srv0/routes/0/handle/0/upstreams"
        async with httpx.AsyncClient(trust_env=False) as client:
            await asyncio.gather(*(drain(traffic, step) for step in steps))
            assert (await client.get(where)).json() == []
            await asyncio.gather(*(undrain(traffic, step) for step in steps))
            assert {one["dial"] for one in (await client.get(where)).json()} == {*servers.values()}


def test_caddys_etag_is_made_as_caddy_makes_it():
    """Seen in answers of Caddy 2.6; the second has a leading zero."""
    assert etag("/config/a", b'[{"dial":"127.0.0.1:18081"},{"dial":"127.0.0.1:18082"}]\n') == '"/config/a 75b79c42"'
    assert etag("/config/a", b"68") == '"/config/a 0de8d5a3"'


async def test_a_drain_has_a_deadline(tmp_path: Path, services: tuple[Service, Service]):
    async with haproxy(tmp_path, [one.address for one in services]) as proxy, load(f"{proxy.url}slow"):
        await until(lambda: services[0].running)
        result = await drain(by_haproxy(proxy, drain_timeout=timedelta(0)))
        assert "sessions were left after 0 s" in result.detail


async def test_what_haproxy_does_not_see_healthy_is_not_taken_for_in_traffic(
    tmp_path: Path, services: tuple[Service, Service]
):
    async with haproxy(tmp_path, [one.address for one in services]) as proxy:
        await drain(by_haproxy(proxy))
        await services[0].kill()
        async with open_driver(by_haproxy(proxy), STEP) as driver:
            while not (await driver._look(proxy.socket, "web1"))["status"].startswith("DOWN"):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        with pytest.raises(TrafficRefused, match="does not see web1 healthy: DOWN"):
            await undrain(by_haproxy(proxy, undrain_timeout=timedelta(seconds=2)))
        await services[0].start()


async def test_a_server_that_somebody_took_out_by_hand_stays_out(tmp_path: Path, services: tuple[Service, Service]):
    async with haproxy(tmp_path, [one.address for one in services]) as proxy:
        reader, writer = await asyncio.open_unix_connection(proxy.socket.removeprefix("unix:"))
        writer.write(b"set server api/web1 state maint\n")
        assert (await reader.read()).strip() == b""
        writer.close()
        assert not (await drain(by_haproxy(proxy))).changed
        assert not (await undrain(by_haproxy(proxy))).changed


async def test_the_way_over_ssh_and_wrong_names(tmp_path: Path, services: tuple[Service, Service], ssh_bench: SshBench):
    ways = ("host", "port", "username", "key_path", "known_hosts")
    ssh = {key: value for key, value in ssh_bench.config().items() if key in ways}
    async with haproxy(tmp_path, [one.address for one in services]) as proxy:
        address = f"127.0.0.1:{proxy.admin}"
        over_ssh = by_haproxy(proxy, haproxy={"sockets": address, "backend": "api"}, ssh=ssh)
        assert (await drain(over_ssh)).changed
        assert not (await drain(by_haproxy(proxy))).changed
        assert (await undrain(over_ssh)).changed
        with pytest.raises(TrafficRefused, match=r"no server web9 in backend api: name it in traffic\.servers"):
            await drain(by_haproxy(proxy, servers={"t1": "web9"}))
        with pytest.raises(TrafficRefused, match="does not show backend web: No such proxy"):
            await drain(by_haproxy(proxy, haproxy={"sockets": address, "backend": "web"}))
    for nowhere in (by_haproxy(proxy), over_ssh):
        with pytest.raises(ConnectFailed, match=r"the proxy at .* cannot be reached"):
            await drain(nowhere)


@pytest.mark.parametrize("over_ssh", [False, True])
async def test_commands_are_given_the_server(ssh_bench: SshBench, tmp_path: Path, over_ssh: bool):
    ways = ("host", "port", "username", "key_path", "known_hosts")
    ssh = {key: value for key, value in ssh_bench.config().items() if key in ways} if over_ssh else None
    note = ["sh", "-c", f'echo "$1 $2" >>{tmp_path}/told', "sh"]
    commands = {"drain": [*note, "out", "{server}"], "undrain": ["sh", "-c", "echo not so fast; exit 3"]}
    traffic = Traffic(command=commands, ssh=ssh, servers={"t1": "web1;rm"[:4]})
    await drain(traffic)
    assert (tmp_path / "told").read_text() == "out web1\n"
    with pytest.raises(TrafficRefused, match="sh ended with 3: not so fast"):
        await undrain(traffic)
    commands = {"drain": ["sleep", "600"], "undrain": ["true"]}
    hangs = Traffic(command=commands, ssh=ssh, drain_timeout=timedelta(seconds=0.2))
    with pytest.raises(TrafficRefused, match=r"sleep did not end within 0\.2 s"):
        await drain(hangs)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({}, "give exactly one of haproxy, caddy, caddy_files, command, not none"),
        ({"haproxy": {"sockets": "10.0.0.1:9999", "backend": "api"}}, "10.0.0.1 would be reached in the clear"),
        (
            {"caddy": {"admin": "http://lb:2019", "upstreams": "apps/http/upstreams"}},
            "lb would be reached in the clear",
        ),
        ({"haproxy": {"sockets": "unix:/a", "backend": "api; shutdown"}}, "should match pattern"),
        ({"haproxy": {"sockets": [], "backend": "api"}}, "at least 1 item"),
    ],
)
def test_what_cannot_work_is_refused(settings: dict[str, Any], says: str):
    with pytest.raises(ValidationError, match=says):
        Traffic(**settings)
