"""A new Fraisier beside an old one during a rollout: each carries on what it began."""

import asyncio
import secrets
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.workflowservice.v1 import DescribeWorkerDeploymentRequest
from temporalio.client import Client, WorkflowHandle
from temporalio.common import WorkerDeploymentVersion
from temporalio.workflow import NondeterminismError

from fraisier.nats import NatsClient, NatsEventBus
from fraisier.orchestrator.errors import ExitCode
from fraisier.orchestrator.pollers import count_workers
from fraisier.orchestrator.stack import LocalStack
from fraisier.orchestrator.versioning import DEPLOYMENT, VARIABLE, become_current, build_id, pinned
from fraisier.workflows.contracts import RolloutPhase
from fraisier.workflows.roster import TemporalRoster
from tests.support.changed_rollout import ChangedRolloutWorkflow
from tests.support.cli import Cli
from tests.support.simulated import World
from tests.support.workers import WorkerProcess
from tests.workflows.harness import WORKFLOWS, make_plan, run_worker, strict_replayer

CHANGED = [ChangedRolloutWorkflow, *WORKFLOWS[1:]]


async def builds(handle: WorkflowHandle[Any, Any]) -> set[str]:
    """The versions of the workers that carried a workflow on."""
    done = [event.workflow_task_completed_event_attributes for event in (await handle.fetch_history()).events]
    return {one.deployment_version.build_id for one in done if one.deployment_version.build_id}


async def test_a_rollout_ends_with_the_version_that_it_began_with(temporal_client: Client, nats_client: NatsClient):
    name, bus = f"fraisier-{secrets.token_hex(4)}", NatsEventBus(nats_client)
    old, new = WorkerDeploymentVersion(name, "old"), WorkerDeploymentVersion(name, "new")
    queue = f"queue-{name}"
    async with run_worker(
        temporal_client, bus, nats_client, World(), queue=queue, deployment_config=pinned(old), max_cached_workflows=0
    ) as harness:
        await become_current(temporal_client, old)
        opened = harness.world.blocked["a1", "activate"] = asyncio.Event()
        first = await harness.start(make_plan(["a"], ["b"]))
        await asyncio.wait_for(harness.world.entered["a1", "activate"].wait(), 60)
        async with run_worker(
            temporal_client, bus, nats_client, World(), queue=queue, deployment_config=pinned(new), workflows=CHANGED
        ) as beside:
            await become_current(temporal_client, new)
            await become_current(temporal_client, old)  # an old worker that starts again takes nothing back
            assert await TemporalRoster(temporal_client).count(queue) > 0
            second = await beside.start(make_plan(["c"]))
            assert (await asyncio.wait_for(second.result(), 90)).phase is RolloutPhase.SUCCEEDED
            opened.set()
            assert (await harness.finish(first)).phase is RolloutPhase.SUCCEEDED
            assert (await builds(first), await builds(second)) == ({"old"}, {"new"})
            assert (sorted(harness.world.versions()), sorted(beside.world.versions())) == (["a1", "b1"], ["c1"])
    replayer = strict_replayer(workflows=CHANGED)
    with pytest.raises(NondeterminismError):
        await replayer.replay_workflow(await first.fetch_history())


async def test_a_worker_makes_its_version_current_and_is_counted(
    local_stack: LocalStack, short_histories: str, tmp_path: Path
):
    env = {**local_stack.env(), "TEMPORAL_ADDRESS": short_histories, VARIABLE: "pinned"}
    worker = WorkerProcess(env, tmp_path)
    worker.start()
    try:
        client = await Client.connect(short_histories)
        asked = DescribeWorkerDeploymentRequest(namespace="default", deployment_name=DEPLOYMENT)
        for _ in range(600):
            found = await client.workflow_service.describe_worker_deployment(asked)
            current = found.worker_deployment_info.routing_config.current_deployment_version.build_id
            if current:
                break
            await asyncio.sleep(0.1)
        assert current == build_id()
        assert await count_workers(client) == 1
    finally:
        worker.kill()


async def test_another_word_than_pinned_is_refused(cli: Cli):
    code, _, error = await cli("worker", FRAISIER_WORKER_VERSIONING="pined")
    assert (code, "neither pinned nor off" in error) == (ExitCode.INVALID, True)
