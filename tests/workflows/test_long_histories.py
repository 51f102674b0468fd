"""Workflows go on in runs with histories of their own: nothing done twice, nothing forgotten, no message lost."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from temporalio.client import Client, WorkflowExecution

from fraisier.nats import NatsClient, NatsEventBus
from fraisier.workflows import policy
from fraisier.workflows.contracts import RolloutPhase
from fraisier.workflows.converter import DATA_CONVERTER
from fraisier.workflows.rollout import RolloutWorkflow
from tests.support.simulated import World
from tests.support.temporal import LONG
from tests.workflows.harness import Harness, make_plan, run_worker

AT_ONCE = 3
TARGETS = 16
MOST = LONG + AT_ONCE * 25
"""What is under way when a history is long comes on top of it."""


@pytest.fixture
async def harness(
    short_histories: str, nats_client: NatsClient, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Harness]:
    """A worker over simulated targets, for a server that finds histories long early; three steps at once."""
    monkeypatch.setattr(policy, "AT_ONCE", AT_ONCE)
    client = await Client.connect(short_histories, data_converter=DATA_CONVERTER)
    async with run_worker(client, NatsEventBus(nats_client), nats_client, World()) as running:
        yield running


async def runs(harness: Harness, workflow_id: str) -> list[WorkflowExecution]:
    """Every run of a workflow, oldest first, each replayed and none of them long."""
    found: list[WorkflowExecution] = []
    while not found or any(run.close_time is None for run in found):  # the list lags a little
        found = [run async for run in harness.client.list_workflows(f"WorkflowId = '{workflow_id}'")]
        await asyncio.sleep(0.1)
    for run in found:
        handle = harness.client.get_workflow_handle(run.id, run_id=run.run_id)
        assert len((await handle.fetch_history()).events) <= MOST
        await harness.replay(run.id, run_id=run.run_id)
    return sorted(found, key=lambda run: run.start_time)


def region_id(handle: Any, rollout_id: str, region: str) -> str:
    return f"{handle.id}:{rollout_id}:{region}"


@pytest.mark.parametrize("max_parallel", [1, 10])
async def test_a_region_of_many_targets_goes_on_in_new_runs_and_so_does_its_rollback(
    harness: Harness, max_parallel: int
):
    plan = make_plan(["a"], targets=TARGETS, max_parallel=max_parallel, final_soak=300)
    handle = await harness.start(plan)
    await harness.until(handle, phase=RolloutPhase.SOAKING)
    assert len(harness.world.activations()) == TARGETS
    await handle.signal(RolloutWorkflow.rollback)
    result = await harness.finish(handle)
    assert result.phase is RolloutPhase.ROLLED_BACK
    assert set(harness.world.versions().values()) == {"1.0.0"}
    assert sorted(harness.world.rollbacks()) == sorted(harness.world.activations())
    steps = [effect for effect in harness.world.effects if effect[1] in ("stage", "activate", "rollback")]
    assert len(steps) == len(set(steps)) == 3 * TARGETS
    region = region_id(handle, result.rollout_id, "a")
    assert len(await runs(harness, region)) > 2
    assert len(await runs(harness, f"{region}:rollback")) > 1
