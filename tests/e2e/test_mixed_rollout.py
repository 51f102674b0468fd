"""One rollout over a systemd host and a Docker engine; each is asked by its own means what it runs."""

import asyncio
import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fraisier.orchestrator.client import FraisierClient
from fraisier.orchestrator.stack import LocalStack
from fraisier.orchestrator.steering import Handle
from fraisier.workflows.contracts import RolloutPhase
from fraisier.workflows.rollout import RolloutWorkflow
from tests.e2e.test_systemd_rollout import client, versions
from tests.providers.docker_bench import DockerBench, build_image
from tests.support.docker_engine import Engine
from tests.support.releases import MakeRelease
from tests.support.systemd_hosts import SystemdHost

__all__ = ["client"]
MODE = f"quiet-{secrets.token_hex(8)}"
PASSWORD = secrets.token_hex(16)
pytestmark = [pytest.mark.systemd, pytest.mark.docker, pytest.mark.timeout(300)]


@pytest.fixture
def containers(docker_engine: Engine) -> Iterator[DockerBench]:
    """The service's containers, as the docker CLI sees them."""
    bench = DockerBench(docker_engine)
    bench.service = f"api-{secrets.token_hex(3)}"
    yield bench
    bench.clean()


def manifest(  # noqa: PLR0917 (a test's own call)
    folder: Path, service: str, host: SystemdHost, engine: str, release: dict[str, Any], soak: str
) -> Path:
    health = {"http": "http://127.0.0.1:8080/health", "interval": "200ms", "progress_deadline": "8s"}
    content = {
        "service": service,
        "release": release,
        "waves": [{"regions": ["metal"]}, {"regions": ["engine"], "soak": soak}],
        "decision_timeout": "0s",
        "on_failure": "rollback_all",
        "regions": {
            "metal": {
                "provider": "bare_metal",
                "username": host.username,
                "key_path": str(host.key_path),
                "known_hosts": str(host.known_hosts),
                "root": "/opt/api",
                "service_unit": "api.service",
                "sudo": True,
                "targets": [{"host": host.host, "port": host.port}],
                "health": health,
            },
            "engine": {
                "provider": "docker",
                "targets": [{"engine": engine, "stop_timeout": "1s"}],
                "env": {"MODE": MODE, "PASSWORD": {"secret": f"file:{folder}/password"}},
                "health": {**health, "expect_version": True},
            },
        },
    }
    path = folder / f"rollout-{release['version']}.yaml"
    path.write_text(json.dumps(content))
    return path


def told(folder: Path, text: str) -> set[str]:
    """The files of the stack that hold a text: histories, streams, logs."""
    return {file.name for file in folder.rglob("*") if file.is_file() and text.encode() in file.read_bytes()}


async def ended(handle: Handle) -> RolloutPhase:
    return (await asyncio.wait_for(handle.result(), 120)).phase


@pytest.mark.usefixtures("worker")
async def test_a_rollout_and_its_rollback_over_a_host_and_an_engine(  # noqa: PLR0917 (fixtures)
    client: FraisierClient,
    clean_hosts: list[SystemdHost],
    containers: DockerBench,
    make_release: MakeRelease,
    tmp_path: Path,
    local_stack: LocalStack,
) -> None:
    host = clean_hosts[0]
    (tmp_path / "password").write_text(f"{PASSWORD}\n")

    async def start(version: str, *, healthy: bool = True, soak: str = "0s") -> Handle:
        release = {
            "version": version,
            "artifact": make_release(version).name,
            "image": build_image(containers.engine, version, healthy=healthy),
        }
        path = manifest(tmp_path, containers.service, host, containers.engine.url, release, soak)
        return await client.start(path, actor="tests")

    async def running() -> tuple[str, str]:
        return versions([host])[0], await containers.serving()

    assert await running() == ("", "")
    assert await ended(await start("1.0.0")) is RolloutPhase.SUCCEEDED
    assert await running() == ("1.0.0", "1.0.0")
    first = await containers.instance()
    (container,) = containers.running()
    assert {f"MODE={MODE}", f"PASSWORD={PASSWORD}"} <= set(container["Config"]["Env"])

    # Only its image is ill: the host takes it, the engine does not, and rollback_all takes both back.
    assert await ended(await start("2.0.0", healthy=False)) is RolloutPhase.FAILED
    assert await running() == ("1.0.0", "1.0.0")

    handle = await start("3.0.0", soak="5m")
    for _ in range(600):
        if (await handle.query(RolloutWorkflow.status)).phase is RolloutPhase.SOAKING:
            break
        await asyncio.sleep(0.1)
    assert await running() == ("3.0.0", "3.0.0")
    assert await containers.instance() != first
    await handle.signal(RolloutWorkflow.rollback)
    assert await ended(handle) is RolloutPhase.ROLLED_BACK
    assert await running() == ("1.0.0", "1.0.0")

    assert "temporal.db" in {name.removesuffix("-wal") for name in told(local_stack.folder, MODE)}
    assert told(local_stack.folder, PASSWORD) == set()
