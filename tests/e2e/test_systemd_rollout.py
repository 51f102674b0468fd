"""Rollouts over real systemd hosts. What runs where is asked of the hosts, and events of plain clients."""

import asyncio
import json
import os
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client

from fraisier.nats import NatsClient, NatsEventBus, get_nats_config
from fraisier.orchestrator.client import FraisierClient
from fraisier.orchestrator.connections import Connections
from fraisier.orchestrator.launcher import find_server
from fraisier.orchestrator.stack import LocalStack
from fraisier.orchestrator.steering import Handle
from fraisier.workflows.contracts import RolloutPhase
from fraisier.workflows.rollout import RolloutWorkflow
from tests.support.releases import MakeRelease
from tests.support.systemd_hosts import SystemdHost
from tests.support.workers import WorkerProcess

pytestmark = [pytest.mark.systemd, pytest.mark.timeout(300)]

REGIONS = ("us-east-1", "us-west-2", "eu-west-1")


def versions(hosts: list[SystemdHost]) -> list[str]:
    """What each host's service answers, and what its link and its unit say: the three must agree."""
    found = []
    for host in hosts:
        answer = host.run("curl", "-s", "http://127.0.0.1:8080/health", check=False)
        link = host.run("readlink", "/opt/api/current", check=False).strip()
        active = host.run("systemctl", "is-active", "api.service", check=False).strip()
        assert (answer in link, active) == (True, "active" if answer else "inactive"), (answer, link, active)
        found.append(answer)
    return found


def starts(host: SystemdHost, version: str) -> int:
    """How often the service of this version was started since the host was cleaned, by the host's own journal."""
    journal = host.run("journalctl", "--unit", "api.service", "--output", "cat", "--no-pager")
    return journal.count(f"api {version} starts")


@pytest.fixture
async def client(
    local_stack: LocalStack, temporal_client: Client, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[FraisierClient]:
    for name, value in local_stack.env().items():
        monkeypatch.setenv(name, value)
    config = get_nats_config()
    async with NatsClient(**config.connection.to_nats_client_kwargs()) as nats:
        yield FraisierClient(Connections(temporal_client, nats, NatsEventBus(nats), config))


def manifest(folder: Path, hosts: list[SystemdHost], artifact: Path, version: str, *, soak: str = "0s") -> Path:
    def target(host: SystemdHost) -> dict[str, Any]:
        return {"host": host.host, "port": host.port}

    regions = {
        name: {
            "provider": "bare_metal",
            "username": hosts[0].username,
            "key_path": str(hosts[0].key_path),
            "known_hosts": str(hosts[0].known_hosts),
            "service_unit": "api.service",
            "sudo": True,
            "targets": [target(host)],
            "health": {"http": "http://127.0.0.1:8080/health", "interval": "200ms", "progress_deadline": "6s"},
        }
        for name, host in zip(REGIONS, hosts, strict=True)
    }
    path = folder / f"rollout-{version}.yaml"
    content = {
        "service": "api",
        "release": {"version": version, "artifact": artifact.name},
        "waves": [{"regions": [REGIONS[0]]}, {"regions": [*REGIONS[1:]], "soak": soak}],
        "decision_timeout": "0s",
        "regions": regions,
    }
    path.write_text(json.dumps(content))
    return path


class Bench:
    """The hosts, a client, and one call to roll a version out."""

    def __init__(self, client: FraisierClient, hosts: list[SystemdHost], folder: Path, make: MakeRelease) -> None:
        self.client, self.hosts, self.folder, self.make = client, hosts, folder, make

    async def start(self, version: str, *, healthy: bool = True, soak: str = "0s") -> Handle:
        artifact = self.make(version, healthy)
        return await self.client.start(manifest(self.folder, self.hosts, artifact, version, soak=soak), actor="tests")

    async def roll(self, version: str, *, healthy: bool = True) -> RolloutPhase:
        handle = await self.start(version, healthy=healthy)
        return (await asyncio.wait_for(handle.result(), 120)).phase

    async def until(self, handle: Handle, phase: RolloutPhase) -> str:
        for _ in range(600):
            status = await handle.query(RolloutWorkflow.status)
            if status.phase is phase:
                return status.rollout_id
            await asyncio.sleep(0.1)
        raise AssertionError(f"never {phase}: {status}")


@pytest.fixture
def bench(client: FraisierClient, clean_hosts: list[SystemdHost], tmp_path: Path, make_release: MakeRelease) -> Bench:
    for host in clean_hosts:
        host.run("journalctl", "--rotate")
        host.run("journalctl", "--vacuum-time=1s")
    return Bench(client, clean_hosts, tmp_path, make_release)


@pytest.mark.usefixtures("worker")
async def test_a_good_release_a_bad_one_and_a_rollback_by_a_plain_signal(bench: Bench, local_stack: LocalStack) -> None:
    assert versions(bench.hosts) == ["", "", ""]
    assert await bench.roll("1.0.0") is RolloutPhase.SUCCEEDED
    assert versions(bench.hosts) == ["1.0.0"] * 3

    assert await bench.roll("2.0.0", healthy=False) is RolloutPhase.FAILED
    assert versions(bench.hosts) == ["1.0.0"] * 3
    assert [starts(host, "2.0.0") for host in bench.hosts] == [1, 0, 0]

    handle = await bench.start("3.0.0", soak="5m")
    await bench.until(handle, RolloutPhase.SOAKING)
    assert versions(bench.hosts) == ["3.0.0"] * 3
    temporal = (await find_server("temporal")).path
    address = local_stack.env()["TEMPORAL_ADDRESS"]
    signal = ("workflow", "signal", "--address", address, "--workflow-id", "rollout:api", "--name", "rollback")
    await asyncio.to_thread(subprocess.run, [temporal, *signal], check=True)
    result = await asyncio.wait_for(handle.result(), 120)
    assert result.phase is RolloutPhase.ROLLED_BACK
    assert versions(bench.hosts) == ["1.0.0"] * 3


@pytest.mark.usefixtures("worker")
async def test_the_first_release_ever_is_taken_back_to_nothing(bench: Bench) -> None:
    assert await bench.roll("1.0.0", healthy=False) is RolloutPhase.FAILED
    assert versions(bench.hosts) == ["", "", ""]


async def test_a_worker_killed_in_mid_wave_costs_nothing(bench: Bench, worker: WorkerProcess) -> None:
    assert await bench.roll("1.0.0") is RolloutPhase.SUCCEEDED
    handle = await bench.start("2.0.0")
    for _ in range(300):
        if starts(bench.hosts[1], "2.0.0") or starts(bench.hosts[2], "2.0.0"):
            break
        await asyncio.sleep(0.05)
    worker.kill()
    rollout_id = (await handle.describe()).id
    worker.start()
    assert (await asyncio.wait_for(handle.result(), 120)).phase is RolloutPhase.SUCCEEDED, rollout_id
    assert versions(bench.hosts) == ["2.0.0"] * 3
    assert [starts(host, "2.0.0") for host in bench.hosts] == [1, 1, 1]
    subjects = await _subjects(bench.client)
    assert len(subjects) == len({*subjects})


async def _subjects(client: FraisierClient) -> list[str]:
    """Every event's claim but its ID: two of the same would be one event told twice."""
    bus = client._to.bus
    return [
        f"{event.event_type} {event.region} {event.deployment_id} {event.target} {event.data.get('generation')} "  # type: ignore[union-attr]
        f"{event.data.get('wave')} {event.data.get('release_digest')} "  # type: ignore[union-attr]
        f"{event.data.get('failures')}"  # type: ignore[union-attr]
        for domain in ("deployment", "health")
        async for event in bus.read(domain, service="api")
    ]


@pytest.mark.usefixtures("worker")
async def test_a_plain_nats_client_sees_the_streams_and_a_rollout_in_order(
    bench: Bench, local_stack: LocalStack
) -> None:
    handle = await bench.start("1.0.0")
    rollout_id = await bench.until(handle, RolloutPhase.ROLLING_OUT)
    assert (await asyncio.wait_for(handle.result(), 120)).phase is RolloutPhase.SUCCEEDED
    nats = (await find_server("nats")).path
    env = local_stack.env()
    login = {"NATS_URL": env["NATS_SERVERS"], "NATS_USER": env["NATS_USERNAME"], "NATS_PASSWORD": env["NATS_PASSWORD"]}

    def cli(*arguments: str) -> str:
        done = subprocess.run(
            [nats, *arguments], env={**os.environ, **login}, capture_output=True, text=True, check=True
        )
        return done.stdout

    listed = cli("stream", "list")
    assert all(name in listed for name in ("DEPLOYMENT_EVENTS", "HEALTH_EVENTS", "DATABASE_EVENTS", "METRICS_EVENTS"))
    info = json.loads(cli("stream", "info", "DEPLOYMENT_EVENTS", "--json"))
    assert (info["config"]["discard"], info["config"]["max_msgs_per_subject"]) == ("new", 1)
    told = cli(
        "subscribe", "fraisier.deployment.>", "--stream", "DEPLOYMENT_EVENTS", "--all",
        "--raw", "--count", str(info["state"]["messages"]),
    )  # fmt: skip
    stored = [json.loads(line) for line in told.splitlines() if line.startswith("{")]
    bodies = [body for body in stored if body["deploymentid"] == rollout_id]
    types = [body["type"].removeprefix("dev.fraisier.deployment.") for body in bodies if body["region"] == "global"]
    assert types == ["triggered", "wave_started", "gate_passed", "wave_started", "completed"]
    regions = [body["region"] for body in bodies if body["type"].endswith("deployment.started")]
    assert regions[:2] == ["us-east-1", "us-east-1"]
