"""A rollout and a rollback behind real proxies, under constant load: no client notices."""

import asyncio
import io
import json
import tarfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from fraisier.orchestrator.client import FraisierClient
from fraisier.orchestrator.steering import Handle
from fraisier.providers.models import Release
from fraisier.workflows.contracts import RolloutPhase
from fraisier.workflows.rollout import RolloutWorkflow
from tests.e2e.test_systemd_rollout import client
from tests.providers.ssh_bench import SshBench, free_port
from tests.support.load import load
from tests.support.own_engine import OwnEngine, own_engine
from tests.support.proxies import Proxy, caddy_by_files, haproxy
from tests.support.releases import digest_of

__all__ = ["client"]
ANSWERS = "import os, urllib.request as u; u.urlopen('http://127.0.0.1:' + os.environ['PORT'] + '/health', timeout=5)"
LONG_S = 120
CADDYFILE = """\
{
	admin off
	auto_https off
}
http://127.0.0.1:{$PORT} {
	root * current/site
	file_server
}
"""

pytestmark = pytest.mark.timeout(300)


class WebServer(SshBench):
    """A host whose service is somebody else's: Caddy serves the release's files, and is killed whenever it changes."""

    def config(self, **changed: Any) -> dict[str, Any]:
        start = ["sh", "-c", "caddy run --config current/Caddyfile --adapter caddyfile >>log 2>&1 & echo $! >api.pid"]
        return super().config(start_command=start, **changed)

    def release(self, version: str, *, healthy: bool = True) -> Release:
        path = self.folder / f"site-{version}.tar.gz"
        files = {"Caddyfile": CADDYFILE, "site/index.html": version, "site/health": version}
        with tarfile.open(path, "w:gz") as archive:
            for name, content in files.items():
                entry = tarfile.TarInfo(name)
                entry.size, entry.mode = len(content), 0o644
                archive.addfile(entry, io.BytesIO(content.encode()))
        return Release(service=self.service, version=version, digest=digest_of(path), artifact=path)


@pytest.fixture
async def hosts(tmp_path: Path) -> AsyncIterator[list[WebServer]]:
    """Three hosts whose services are killed, not stopped, whenever they change."""
    found = []
    for number in (1, 2, 3):
        (tmp_path / f"{number}").mkdir()
        found.append(WebServer(tmp_path / f"{number}"))
        await found[-1].host.start()
        found[-1].know()
    yield found
    for one in found:
        await one.host.stop()


@pytest.fixture
def engines() -> Iterator[list[OwnEngine]]:
    """Two engines, each of which runs one container of the service."""
    with own_engine() as one, own_engine() as two:
        yield [one, two]


def written(folder: Path, version: str, region: dict[str, Any], *, soak: str, **release: str) -> Path:
    """A manifest of one region."""
    content = {
        "service": "fronted",
        "release": {"version": version, **release},
        "waves": [{"regions": ["only"], "soak": soak}],
        "decision_timeout": "0s",
        "regions": {"only": region},
    }
    path = folder / f"rollout-{version}.yaml"
    path.write_text(json.dumps(content))
    return path


def on_hosts(hosts: list[WebServer], proxy: Proxy, version: str, *, soak: str) -> Path:
    first = hosts[0]
    common = first.config()
    own = ("host", "port", "key_path", "known_hosts", "root")
    region = {
        "provider": "bare_metal",
        **{key: value for key, value in common.items() if key not in own},
        "targets": [{key: one.config()[key] for key in own} for one in hosts],
        "health": {"command": ["python3", "-c", ANSWERS], "interval": "200ms", "progress_deadline": "90s"},
        "traffic": {
            "haproxy": {"sockets": proxy.socket, "backend": "api"},
            "servers": {f"127.0.0.1:{one.host.port}": f"web{n}" for n, one in enumerate(hosts, start=1)},
            "undrain_timeout": "90s",
        },
    }
    return written(first.folder, version, region, soak=soak, artifact=first.release(version).artifact.name)


def on_engines(engines: list[OwnEngine], servers: list[str], folder: Path, version: str, *, soak: str) -> Path:
    for engine in engines:
        engine.web_image(version)
    names = [f"engine{number}" for number in range(len(engines))]
    region = {
        "provider": "docker",
        "targets": [
            {"name": name, "engine": engine.url, "ports": [f"{server}:8080"]}
            for name, engine, server in zip(names, engines, servers, strict=True)
        ],
        "stop_timeout": "1s",
        "health": {"http": "http://127.0.0.1:8080/health", "interval": "200ms", "progress_deadline": "90s"},
        "traffic": {
            "caddy_files": {"folder": str(folder / "traffic")},
            "servers": dict(zip(names, servers, strict=True)),
            "drain_timeout": "2s",
        },
    }
    return written(folder, version, region, soak=soak, image=f"own-api:{version}")


async def soaking(handle: Handle) -> None:
    while (await handle.query(RolloutWorkflow.status)).phase is not RolloutPhase.SOAKING:  # noqa: ASYNC110
        await asyncio.sleep(0.2)


async def there_and_back(
    client: FraisierClient, manifest: Callable[..., Path], running: Callable[[], Awaitable[list[str]]], url: str
) -> None:
    """Roll 1.0.0 out, then 2.0.0 and back again with clients that keep their connections; none of them may notice."""
    first = await client.start(manifest("1.0.0", soak="0s"), actor="tests")
    assert (await asyncio.wait_for(first.result(), LONG_S)).phase is RolloutPhase.SUCCEEDED
    async with load(url, kept=True) as seen:
        second = await client.start(manifest("2.0.0", soak="5m"), actor="tests")
        await asyncio.wait_for(soaking(second), LONG_S)
        assert set(await running()) == {"2.0.0"}
        before = seen.answers["1.0.0"]
        await second.signal(RolloutWorkflow.rollback)
        assert (await asyncio.wait_for(second.result(), LONG_S)).phase is RolloutPhase.ROLLED_BACK
        assert set(await running()) == {"1.0.0"}
    assert seen.failures == []
    assert seen.answers["2.0.0"] > 0
    assert seen.answers["1.0.0"] > before > 0


@pytest.mark.usefixtures("worker")
async def test_three_web_servers_behind_haproxy_lose_no_request(
    client: FraisierClient, hosts: list[WebServer], tmp_path: Path
):
    async def running() -> list[str]:
        return [await one.serving() for one in hosts]

    async with haproxy(tmp_path, [f"127.0.0.1:{one.service_port}" for one in hosts]) as proxy:
        await there_and_back(client, partial(on_hosts, hosts, proxy), running, proxy.url)


@pytest.mark.usefixtures("worker")
async def test_containers_behind_caddy_lose_no_request(
    client: FraisierClient, engines: list[OwnEngine], tmp_path: Path
):
    servers = [f"127.0.0.1:{free_port()}" for _ in engines]

    async def running() -> list[str]:
        async with httpx.AsyncClient(trust_env=False) as asking:
            return [(await asking.get(f"http://{server}/health")).text.strip() for server in servers]

    async with caddy_by_files(tmp_path, servers) as proxy:
        manifest = partial(on_engines, engines, servers, tmp_path)
        await there_and_back(client, manifest, running, f"{proxy.url}health")
