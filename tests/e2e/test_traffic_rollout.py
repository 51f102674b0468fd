"""A rollout and a rollback behind a real HAProxy, under constant load: no client notices."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fraisier.orchestrator.client import FraisierClient, Handle
from fraisier.workflows.contracts import RolloutPhase
from fraisier.workflows.rollout import RolloutWorkflow
from tests.e2e.test_systemd_rollout import client
from tests.providers.ssh_bench import SshBench
from tests.support.proxies import Proxy, haproxy, load

__all__ = ["client"]
ANSWERS = "import os, urllib.request as u; u.urlopen('http://127.0.0.1:' + os.environ['PORT'] + '/health', timeout=5)"
LONG_S = 120

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
async def hosts(tmp_path: Path) -> AsyncIterator[list[SshBench]]:
    """Three hosts whose services are killed, not stopped, whenever they change."""
    found = []
    for number in (1, 2, 3):
        (tmp_path / f"{number}").mkdir()
        found.append(SshBench(tmp_path / f"{number}"))
        await found[-1].host.start()
        found[-1].know()
    yield found
    for one in found:
        await one.host.stop()


def manifest(hosts: list[SshBench], proxy: Proxy, version: str, *, soak: str) -> Path:
    first = hosts[0]
    common = first.config()
    own = ("host", "port", "key_path", "known_hosts", "root")
    targets = [{key: one.config()[key] for key in own} for one in hosts]
    content = {
        "service": "fronted",
        "release": {"version": version, "artifact": first.release(version).artifact.name},
        "waves": [{"regions": ["metal"], "soak": soak}],
        "decision_timeout": "0s",
        "regions": {
            "metal": {
                "provider": "bare_metal",
                **{key: value for key, value in common.items() if key not in own},
                "targets": targets,
                "health": {"command": ["python3", "-c", ANSWERS], "interval": "200ms", "progress_deadline": "90s"},
                "traffic": {
                    "haproxy": {"sockets": proxy.socket, "backend": "api"},
                    "servers": {f"127.0.0.1:{one.host.port}": f"web{n}" for n, one in enumerate(hosts, start=1)},
                    "undrain_timeout": "90s",
                },
            }
        },
    }
    path = first.folder / f"rollout-{version}.yaml"
    path.write_text(json.dumps(content))
    return path


async def soaking(handle: Handle) -> None:
    while (await handle.query(RolloutWorkflow.status)).phase is not RolloutPhase.SOAKING:  # noqa: ASYNC110
        await asyncio.sleep(0.2)


@pytest.mark.usefixtures("worker")
async def test_a_rollout_and_a_rollback_under_load_lose_no_request(
    client: FraisierClient, hosts: list[SshBench], tmp_path: Path
):
    async with haproxy(tmp_path, [f"127.0.0.1:{one.service_port}" for one in hosts]) as proxy:
        first = await client.start(manifest(hosts, proxy, "1.0.0", soak="0s"), actor="tests")
        assert (await asyncio.wait_for(first.result(), LONG_S)).phase is RolloutPhase.SUCCEEDED
        async with load(proxy.url) as seen:
            second = await client.start(manifest(hosts, proxy, "2.0.0", soak="5m"), actor="tests")
            await asyncio.wait_for(soaking(second), LONG_S)
            assert [await one.serving() for one in hosts] == ["2.0.0"] * 3
            before = seen.answers["1.0.0"]
            await second.signal(RolloutWorkflow.rollback)
            assert (await asyncio.wait_for(second.result(), LONG_S)).phase is RolloutPhase.ROLLED_BACK
            assert [await one.serving() for one in hosts] == ["1.0.0"] * 3
    assert seen.failures == []
    assert seen.answers["2.0.0"] > 0
    assert seen.answers["1.0.0"] > before > 0
