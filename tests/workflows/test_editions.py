"""What a region knows from its start, it need not mark in its history."""

import asyncio

from temporalio.client import WorkflowHistory

from fraisier.workflows.contracts import EDITION, RegionInput, RolloutPhase
from fraisier.workflows.region import RegionWorkflow
from fraisier.workflows.rollout import RolloutWorkflow
from tests.support.production import until
from tests.workflows.harness import Harness, make_plan

STARTED, TASK_FAILED = "workflow_execution_started_event_attributes", "workflow_task_failed_event_attributes"


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


async def test_a_worker_that_does_not_know_what_a_region_is_told_leaves_it_to_a_newer_one(harness: Harness) -> None:
    plan = make_plan(["a"])
    order = RegionInput(
        rollout_id="r-1", release=plan.release, region=plan.regions["a"], wave=1, generation=1, edition=EDITION
    )
    handle = await harness.client.start_workflow(
        RegionWorkflow.__name__,
        order.model_dump(mode="json") | {"of_a_later_edition": True},
        id=f"rollout:{plan.service}:r-1:a",
        task_queue=harness.queue,
    )

    async def refused() -> bool:
        return any(event.HasField(TASK_FAILED) for event in (await handle.fetch_history()).events)

    try:
        await until(refused)
        assert (await handle.describe()).close_time is None
        assert harness.world.effects == []
    finally:
        await handle.terminate()
