"""Real servers for the session: NATS and Temporal, found by the launcher, on ports of their own."""

import asyncio
import subprocess
from collections.abc import Iterator

import pytest
from pydantic import SecretStr
from temporalio.client import Client

from fraisier.orchestrator.launcher import find_server
from fraisier.orchestrator.stack import LocalStack
from fraisier.orchestrator.stack import temporal_server as server
from fraisier.orchestrator.stack.local import ANY_PORTS
from fraisier.orchestrator.stack.ports import LOOPBACK, free_ports
from fraisier.orchestrator.stack.state import Addresses
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


LONG = 40
"""The number of events from which the server of `short_histories` suggests a new run; the usual one is 4,096."""


@pytest.fixture(scope="session")
def short_histories(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Temporal server that finds a history of `LONG` events long."""
    folder = tmp_path_factory.mktemp("short-histories")
    names = ("nats_port", "monitor_port", "temporal_port", "ui_port")
    addresses = Addresses(**free_ports(dict.fromkeys(names, 0)), password=SecretStr("none"))
    limit = ("--dynamic-config-value", f"limit.historyCount.suggestContinueAsNew={LONG}")
    with (folder / "temporal.log").open("wb") as log:
        program = asyncio.run(find_server("temporal")).path
        command = [*server.command(program, folder, addresses), *limit]
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        asyncio.run(_until_ready(addresses, process))
        yield f"{LOOPBACK}:{addresses.temporal_port}"
    finally:
        process.terminate()
        process.wait(30)


async def _until_ready(addresses: Addresses, process: subprocess.Popen[bytes]) -> None:
    for _ in range(900):
        if await server.ready(addresses):
            return
        assert process.poll() is None, "the server ended instead of serving"
        await asyncio.sleep(0.1)
    raise AssertionError("the server did not become ready")
