"""A worker over simulated targets, connected to the session's servers."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from temporalio.client import Client

from fraisier.nats import NatsClient, NatsEventBus, get_nats_config
from fraisier.orchestrator.client import FraisierClient
from fraisier.orchestrator.connections import Connections
from fraisier.orchestrator.stack import LocalStack
from tests.support.simulated import World
from tests.workflows.boundaries import Boundaries
from tests.workflows.harness import Harness, run_worker


@dataclass
class Ground:
    """A worker over targets that live in memory, whose boundaries are watched."""

    harness: Harness
    boundaries: Boundaries


@pytest.fixture
async def nats_client(local_stack: LocalStack) -> AsyncIterator[NatsClient]:
    """A connection to the session's NATS server."""
    env = local_stack.env()
    async with NatsClient(
        [env["NATS_SERVERS"]], username=env["NATS_USERNAME"], password=env["NATS_PASSWORD"]
    ) as client:
        yield client


@pytest.fixture
async def harness(temporal_client: Client, nats_client: NatsClient) -> AsyncIterator[Harness]:
    """A worker over simulated targets."""
    async with run_worker(temporal_client, NatsEventBus(nats_client), nats_client, World()) as running:
        yield running


@pytest.fixture
def rollouts(
    harness: Harness, temporal_client: Client, nats_client: NatsClient, monkeypatch: pytest.MonkeyPatch
) -> FraisierClient:
    """The Python client, on the harness's own task queue."""
    for module in ("steering", "pollers"):
        monkeypatch.setattr(f"fraisier.orchestrator.{module}.TASK_QUEUE", harness.queue)
    return FraisierClient(Connections(temporal_client, nats_client, NatsEventBus(nats_client), get_nats_config()))


@pytest.fixture
async def ground(temporal_client: Client, nats_client: NatsClient) -> AsyncIterator[Ground]:
    boundaries = Boundaries()
    bus = NatsEventBus(nats_client)
    async with run_worker(temporal_client, bus, nats_client, World(), interceptors=[boundaries]) as harness:
        yield Ground(harness, boundaries)
