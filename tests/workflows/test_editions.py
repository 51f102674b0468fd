"""What a region knows from its start, it need not mark in its history."""

import asyncio
from typing import Any

from temporalio import workflow
from temporalio.client import Client, WorkflowHistory

from fraisier.nats import NatsClient, NatsEventBus
from fraisier.workflows.contracts import EDITION, RegionInput, RolloutPhase
from fraisier.workflows.region import RegionWorkflow
from fraisier.workflows.rollout import RolloutWorkflow
from tests.support.production import until
from tests.support.simulated import World
from tests.workflows.harness import Harness, make_plan, run_worker


async def region_histories(harness: Harness, rollout: WorkflowHistory) -> dict[str, WorkflowHistory]:
    """The histories of a rollout's regions, forward and back, by the workflow's ID without the rollout's."""
    started = [event.child_workflow_execution_started_event_attributes.workflow_execution for event in rollout.events]
    ids = [one.workflow_id for one in started if one.workflow_id]
    return {one.split(":", 3)[-1]: await harness.client.get_workflow_handle(one).fetch_history() for one in ids}


async def test_no_history_of_a_region_has_a_mark_of_what_its_edition_has(harness: Harness) -> None:
    opened = harness.world.blocked["b1", "activate"] = asyncio.Event()
    handle = await harness.start(make_plan(["a"], ["b"], targets=2))
    await asyncio.wait_for(harness.world.entered["b1", "activate"].wait(), 60)
    await handle.signal(RolloutWorkflow.rollback, {"by": "ann"})
    opened.set()
    assert (await harness.finish(handle)).phase is RolloutPhase.ROLLED_BACK
    found = await region_histories(harness, await handle.fetch_history())
    assert set(found) == {"a", "b", "a:rollback", "b:rollback"}
    for name, history in found.items():
        marks = [event.marker_recorded_event_attributes for event in history.events]
        assert not [one for one in marks if one.marker_name], name


@workflow.defn(name=RegionWorkflow.__name__, sandboxed=False)
class LaterRegionWorkflow:
    """What a newer worker makes of a region."""

    @workflow.run
    async def run(self, order: dict[str, Any]) -> int:
        """The edition that it was given."""
        return int(order["edition"])


async def test_a_region_of_a_later_edition_waits_for_a_worker_that_knows_it(
    temporal_client: Client, nats_client: NatsClient
) -> None:
    plan = make_plan(["a"])
    release, region = plan.release, plan.regions["a"]
    known = RegionInput(rollout_id="r-1", release=release, region=region, wave=1, generation=1, edition=EDITION)
    later = known.model_dump(mode="json") | {"edition": EDITION + 1}
    bus, world = NatsEventBus(nats_client), World()

    async def refused() -> bool:
        failures = [
            event.workflow_task_failed_event_attributes.failure for event in (await handle.fetch_history()).events
        ]
        return "Failed decoding arguments" in [failure.message for failure in failures]

    async with run_worker(temporal_client, bus, nats_client, world) as older:
        handle = await temporal_client.start_workflow(
            RegionWorkflow.__name__, later, id=f"rollout:{plan.service}:r-1:a", task_queue=older.queue
        )
        await until(refused)
    assert (await handle.describe()).close_time is None
    assert world.effects == []
    workflows = [LaterRegionWorkflow]
    async with run_worker(temporal_client, bus, nats_client, world, queue=older.queue, workflows=workflows):
        assert await asyncio.wait_for(handle.result(), 60) == EDITION + 1
