"""The stack's Temporal server with its web UI, from Temporal's own command-line program."""

import asyncio
from pathlib import Path

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest, DescribeTaskQueueRequest
from temporalio.client import Client
from temporalio.service import RPCError

from fraisier.orchestrator.stack import web
from fraisier.orchestrator.stack.ports import LOOPBACK
from fraisier.orchestrator.stack.state import Addresses
from fraisier.workflows.search import SEARCH_ATTRIBUTES

NAMESPACE = "default"
ANSWER_S = 3.0
"""Seconds that one probe may take."""

FASTER = {f"history.{queue}ProcessorMaxPollRPS": 5000 for queue in ("transfer", "timer", "visibility")}
"""The server's defaults of 20 suit thousands of shards; on its one shard they cost 50 ms a step."""

JOURNAL = "journal_mode=WAL"
"""SQLite then flushes once a transaction instead of four times, and loses as little: a quarter less time a step."""


def command(executable: Path, folder: Path, addresses: Addresses) -> list[str]:
    """The command that serves until it is ended, with its data in `folder`."""
    options = {
        "--ip": LOOPBACK,
        "--port": addresses.temporal_port,
        "--ui-port": addresses.ui_port,
        "--db-filename": folder / "temporal.db",
        "--sqlite-pragma": JOURNAL,
        "--log-level": "warn",
        "--namespace": NAMESPACE,
    }
    return [
        str(executable),
        "server",
        "start-dev",
        *(str(part) for option in options.items() for part in option),
        *(part for key in SEARCH_ATTRIBUTES for part in ("--search-attribute", f"{key.name}=Keyword")),
        *(part for key, value in FASTER.items() for part in ("--dynamic-config-value", f"{key}={value}")),
    ]


async def ready(addresses: Addresses) -> bool:
    """Whether the frontend knows the namespace and the UI answers."""
    try:
        client = await _client(addresses)
        await asyncio.wait_for(
            client.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace=NAMESPACE)), ANSWER_S
        )
    except (RPCError, RuntimeError, asyncio.TimeoutError):
        return False
    page = await web.get(addresses.ui_port, "/")
    return page is not None and page.is_success


async def polled(addresses: Addresses, task_queue: str) -> bool:
    """Whether a worker asks for workflow tasks on a task queue."""
    asked = DescribeTaskQueueRequest(
        namespace=NAMESPACE,
        task_queue=TaskQueue(name=task_queue),
        task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
    )
    try:
        client = await _client(addresses)
        answer = await asyncio.wait_for(client.workflow_service.describe_task_queue(asked), ANSWER_S)
    except (RPCError, RuntimeError, asyncio.TimeoutError):
        return False
    return bool(answer.pollers)


async def _client(addresses: Addresses) -> Client:
    """Connect, or raise RuntimeError, which is what the SDK raises when nobody listens."""
    return await asyncio.wait_for(Client.connect(f"{LOOPBACK}:{addresses.temporal_port}"), ANSWER_S)
