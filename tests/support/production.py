"""The production cluster, running with everything installed, and what its tests have in common."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

import pytest

from fraisier.nats import Event, NatsEventBus, new_event
from tests.support.cluster import Cluster

LONG_S = 60.0

T = TypeVar("T")


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


@pytest.fixture
def as_watcher(monkeypatch: pytest.MonkeyPatch, cluster: Cluster) -> None:
    """The environment of one who looks on."""
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
