"""Targets to deploy to."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.providers.compose_bench import ComposeBench
from tests.providers.docker_bench import TAG, DockerBench
from tests.providers.ssh_bench import SshBench
from tests.support.docker_engine import Engine
from tests.support.registry import Registry, log_in


@pytest.fixture
async def ssh_bench(tmp_path: Path) -> AsyncIterator[SshBench]:
    """A running SSH host with nothing deployed."""
    bench = SshBench(tmp_path)
    await bench.host.start()
    bench.know()
    yield bench
    await bench.host.stop()


@pytest.fixture(scope="session")
def engine_with_images(docker_engine: Engine) -> Iterator[Engine]:
    """The engine; the images that tests build there go with the session."""
    yield docker_engine
    # By their names: their IDs are those of others that were built alike.
    names = docker_engine.run("images", "--format", "{{.Repository}}:{{.Tag}}", TAG).split()
    if names:
        docker_engine.run("rmi", "--force", *names)


@pytest.fixture
def docker_bench(engine_with_images: Engine) -> Iterator[DockerBench]:
    """A service with nothing deployed."""
    bench = DockerBench(engine_with_images)
    yield bench
    bench.clean()


@pytest.fixture
def compose_bench(engine_with_images: Engine, compose_plugin: None, tmp_path: Path) -> Iterator[ComposeBench]:
    """A project with nothing deployed."""
    bench = ComposeBench(engine_with_images, tmp_path)
    yield bench
    bench.clean()


@pytest.fixture
async def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Registry]:
    """A registry, and a worker that is logged in to it."""
    registry = Registry(tmp_path)
    await registry.start()
    log_in(tmp_path / "docker", registry.host)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    yield registry
    await registry.stop()
