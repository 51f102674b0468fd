"""Rollouts of a Compose project; the engine itself is asked what it runs."""

import asyncio
import json
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from fraisier.orchestrator.client import FraisierClient
from fraisier.orchestrator.stack import LocalStack
from fraisier.orchestrator.steering import Handle
from fraisier.workflows.contracts import RolloutPhase
from fraisier.workflows.rollout import RolloutWorkflow
from tests.e2e.test_mixed_rollout import ended, told
from tests.e2e.test_systemd_rollout import client
from tests.providers.compose_bench import WEB, ComposeBench, pack
from tests.providers.composing import SLEEPS
from tests.providers.docker_bench import build_image
from tests.support.docker_engine import Engine
from tests.support.workers import WorkerProcess

__all__ = ["client"]
PASSWORD = secrets.token_hex(16)
pytestmark = [pytest.mark.docker, pytest.mark.timeout(300)]


@pytest.fixture
def project(docker_engine: Engine, tmp_path: Path) -> Iterator[ComposeBench]:
    """The service's project, as the docker CLI sees it."""
    bench = ComposeBench(docker_engine, tmp_path)
    bench.service = f"api-{secrets.token_hex(3)}"
    yield bench
    bench.clean()


def manifest(project: ComposeBench, version: str, *, healthy: bool = True, soak: str = "0s") -> Path:
    engine, folder = project.engine, project.folder
    web = {**WEB, "image": build_image(engine, version, healthy=healthy), "environment": ["PASSWORD=${PASSWORD}"]}
    db = {**SLEEPS, "image": build_image(engine, "1.0.0")}
    pack(folder / f"{version}.tar.gz", {"deploy/api.yaml": json.dumps({"services": {"web": web, "db": db}})})
    content = {
        "service": project.service,
        "release": {"version": version, "artifact": f"{version}.tar.gz"},
        "waves": [{"regions": ["engine"], "soak": soak}],
        "decision_timeout": "0s",
        "regions": {
            "engine": {
                "provider": "compose",
                "file": "deploy/api.yaml",
                "env": {"PASSWORD": {"secret": f"file:{folder}/password"}},
                "targets": [{"engine": engine.url, "settle": "300ms"}],
                "health": {"http": "http://web:8080/health", "interval": "200ms", "progress_deadline": "8s"},
            },
        },
    }
    path = folder / f"rollout-{version}.yaml"
    path.write_text(json.dumps(content))
    return path


async def begun(project: ComposeBench, kind: str) -> None:
    """Wait until a step of the kind has left its mark on the engine."""
    asked = ["--filter", f"label=dev.fraisier.service={project.service}", "--filter", f"label=dev.fraisier.kind={kind}"]
    while not project.engine.run("volume", "ls", "--quiet", *asked):  # noqa: ASYNC110 (the engine tells nobody)
        await asyncio.sleep(0.05)


@pytest.mark.usefixtures("compose_plugin")
async def test_a_project_is_rolled_out_and_back_also_over_the_death_of_a_worker(
    client: FraisierClient, project: ComposeBench, worker: WorkerProcess, local_stack: LocalStack
) -> None:
    (project.folder / "password").write_text(PASSWORD)

    async def start(version: str, *, healthy: bool = True, soak: str = "0s") -> Handle:
        return await client.start(manifest(project, version, healthy=healthy, soak=soak), actor="tests")

    assert await ended(await start("1.0.0")) is RolloutPhase.SUCCEEDED
    assert await project.serving() == "1.0.0"
    assert f"PASSWORD={PASSWORD}" in project.of("web")["Config"]["Env"]
    database = project.of("db")["Id"]

    assert await ended(await start("2.0.0", healthy=False)) is RolloutPhase.FAILED
    assert await project.serving() == "1.0.0"
    assert project.of("db")["Id"] == database

    handle = await start("3.0.0", soak="5m")
    await asyncio.wait_for(begun(project, "gate"), 60)
    worker.kill()
    worker.start()
    for _ in range(900):
        if (await handle.query(RolloutWorkflow.status)).phase is RolloutPhase.SOAKING:
            break
        await asyncio.sleep(0.1)
    assert await project.serving() == "3.0.0"
    await handle.signal(RolloutWorkflow.rollback)
    assert await ended(handle) is RolloutPhase.ROLLED_BACK
    assert await project.serving() == "1.0.0"
    assert told(local_stack.folder, PASSWORD) == set()
