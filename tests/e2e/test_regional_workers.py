"""Workers placed in their regions: real processes, each with the keys and the NATS credentials of its part alone."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client

from fraisier.nats import NatsEventBus, get_nats_config
from fraisier.orchestrator.client import FraisierClient
from fraisier.orchestrator.connections import Connections
from fraisier.orchestrator.demo.release import SERVICE, build_release
from fraisier.orchestrator.demo.ssh_host import SshHost, make_key
from fraisier.orchestrator.stack import LocalStack
from fraisier.orchestrator.stack.ports import free_ports
from fraisier.orchestrator.steering import Handle
from fraisier.workflows.contracts import RolloutPhase, RolloutResult
from tests.support.cluster import REGIONS, Cluster
from tests.support.workers import WorkerProcess

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """Three NATS servers with an account for each role and region; the test has the orchestrator's."""
    cluster = Cluster.make(tmp_path / "cluster")
    try:
        cluster.start()
        cluster.install()
        for name, value in cluster.environment("orchestrator").items():
            monkeypatch.setenv(name, value)
        yield cluster
    finally:
        cluster.kill()


@pytest.fixture
async def hosts(tmp_path: Path) -> AsyncIterator[dict[str, SshHost]]:
    """A host in each region, each with a key of its own in the home of its region's worker."""
    ports = free_ports(dict.fromkeys(REGIONS, 0))
    async with AsyncExitStack() as stack:
        found = {}
        for region in REGIONS:
            home = tmp_path / region / ".ssh"
            home.mkdir(parents=True)
            host = SshHost(
                tmp_path / "hosts" / region,
                client_key=make_key(home / "id_ed25519"),
                environment={"PORT": str(ports[region])},
            )
            await stack.enter_async_context(host)
            (home / "known_hosts").write_text(host.known_hosts_line)
            found[region] = host
        yield found


def manifest(folder: Path, service: str, version: str, hosts: dict[str, SshHost]) -> Path:
    """A rollout over both regions, each with workers of its own."""
    release = build_release(folder, version)
    regions: dict[str, Any] = {
        region: {
            "provider": "bare_metal",
            "placement": "regional",
            "username": "deploy",
            "key_path": "~/.ssh/id_ed25519",
            "targets": [{"host": host.host, "port": host.port, "root": str(host.folder / SERVICE)}],
            "start_command": ["sh", "current/bin/api", "start"],
            "stop_command": ["sh", "current/bin/api", "stop"],
            "health": {"command": ["sh", f"{SERVICE}/current/bin/api", "check"], "interval": "200ms"},
        }
        for region, host in hosts.items()
    }
    content = {
        "service": service,
        "release": {"version": version, "artifact": release.name},
        "waves": [{"regions": [region]} for region in regions],
        "regions": regions,
    }
    path = folder / "rollout.yaml"
    path.write_text(json.dumps(content))
    return path


def running(hosts: dict[str, SshHost]) -> list[str]:
    """The version of each host's release."""
    links = [host.folder / SERVICE / "current" for host in hosts.values()]
    return [link.readlink().name.partition("-")[0] if link.is_symlink() else "" for link in links]


async def ended(handle: Handle) -> RolloutResult:
    return await asyncio.wait_for(handle.result(), 150)


async def test_each_region_is_rolled_out_by_a_worker_with_its_own_keys_and_credentials_alone(
    cluster: Cluster,
    hosts: dict[str, SshHost],
    local_stack: LocalStack,
    temporal_client: Client,
    tmp_path: Path,
):
    temporal = {key: value for key, value in local_stack.env().items() if key.startswith("TEMPORAL")}

    def worker(who: str, *arguments: str) -> WorkerProcess:
        home = tmp_path / who
        home.mkdir(exist_ok=True)
        env = {**temporal, **cluster.environment(who), "HOME": str(home), "FRAISIER_HOME": str(home / "fraisier")}
        return WorkerProcess(env, home, *arguments)

    config = get_nats_config()
    async with cluster.client("orchestrator") as nats:
        client = FraisierClient(Connections(temporal_client, nats, NatsEventBus(nats, config.streams), config))
        path = manifest(tmp_path, f"api-{secrets.token_hex(3)}", "1.0.0", hosts)
        with ExitStack() as workers:
            for one in (worker("orchestrator"), worker("us-east-1", "--region", "us-east-1")):
                workers.callback(one.kill)
                one.start()

            first = await ended(await client.start(path, actor="tests"))
            assert first.phase is RolloutPhase.FAILED
            assert "no worker polls the task queue fraisier.eu-west-1" in first.reason
            assert "`fraisier worker --region eu-west-1`" in first.reason
            assert running(hosts) == ["", ""]

            there = worker("eu-west-1", "--region", "eu-west-1")
            workers.callback(there.kill)
            there.start()
            assert (await ended(await client.start(path, actor="tests"))).phase is RolloutPhase.SUCCEEDED
            assert running(hosts) == ["1.0.0", "1.0.0"]
