"""Real servers for the session: NATS and Temporal, found by the launcher, on ports of their own."""

import asyncio
from collections.abc import Iterator

import pytest
from temporalio.client import Client

from fraisier.orchestrator.stack import LocalStack
from fraisier.orchestrator.stack.local import ANY_PORTS
from fraisier.workflows.converter import DATA_CONVERTER


@pytest.fixture(scope="session")
def local_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """A running stack without a worker; `LocalStack.env()` connects a program to it."""
    stack = LocalStack(tmp_path_factory.mktemp("stack"))
    asyncio.run(stack.up(worker=False, ports=ANY_PORTS))
    try:
        yield stack
    finally:
        asyncio.run(stack.down())


@pytest.fixture(scope="session")
def temporal_server(local_stack: LocalStack) -> str:
    """The address of a real Temporal server."""
    return local_stack.env()["TEMPORAL_ADDRESS"]


@pytest.fixture
async def temporal_client(temporal_server: str) -> Client:
    """A client with the product's data converter, for one test."""
    return await Client.connect(temporal_server, data_converter=DATA_CONVERTER)
