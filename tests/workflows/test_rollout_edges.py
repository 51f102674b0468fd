"""Verbs, cancellations and broken parts at the moments when they hurt most."""

import asyncio
from dataclasses import replace
from typing import Any

from fraisier.nats import new_event
from fraisier.workflows.contracts import RolloutPhase
from fraisier.workflows.rollout import RolloutWorkflow
from fraisier.workflows.together import AT_MOST
from tests.workflows.harness import SECONDS, Harness, make_plan


async def _entered(harness: Harness, target: str, step: str) -> None:
    await asyncio.wait_for(harness.world.entered[target, step].wait(), 30)


async def test_cancelling_the_workflow_during_a_rollback_lets_the_rollback_finish(harness: Harness) -> None:
    opened = harness.world.blocked["b1", "rollback"] = asyncio.Event()
    plan = make_plan(["a"], ["b"], final_soak=300)
    handle = await harness.start(plan)
    await harness.until(handle, phase=RolloutPhase.SOAKING)
    await handle.signal(RolloutWorkflow.rollback)
    await _entered(harness, "b1", "rollback")
    await handle.cancel()
    await handle.query(RolloutWorkflow.status)  # answered after the cancellation was seen
    opened.set()
    result = await harness.finish(handle)
    assert result.phase is RolloutPhase.ROLLED_BACK
    assert set(harness.world.versions().values()) == {"1.0.0"}


async def test_a_rollback_asked_while_a_failed_region_goes_back_takes_the_others_back_too(harness: Harness) -> None:
    harness.world.unhealthy.add(("b1", "2.0.0"))
    opened = harness.world.blocked["b1", "rollback"] = asyncio.Event()
    plan = make_plan(["a"], ["b"])
    handle = await harness.start(plan)
    await _entered(harness, "b1", "rollback")
    await handle.signal(RolloutWorkflow.rollback)
    opened.set()
    result = await harness.finish(handle)
    assert result.phase is RolloutPhase.ROLLED_BACK
    assert set(harness.world.versions().values()) == {"1.0.0"}


async def test_a_region_rollback_that_is_terminated_stops_no_other(harness: Harness) -> None:
    harness.world.blocked["b1", "rollback"] = asyncio.Event()
    plan = make_plan(["a"], ["b"], final_soak=300)
    handle = await harness.start(plan)
    status = await harness.until(handle, phase=RolloutPhase.SOAKING)
    await handle.signal(RolloutWorkflow.rollback)
    await _entered(harness, "b1", "rollback")
    child = f"rollout:{plan.service}:{status.rollout_id}:b:rollback"
    await harness.client.get_workflow_handle(child).terminate("by hand")
    result = await harness.finish(handle)
    assert result.phase is RolloutPhase.FAILED
    assert result.regions == {"a": "rolled_back", "b": "rollback_failed"}
    assert "b1" in result.reason
    assert harness.world.versions()["a1"] == "1.0.0"


async def test_running_steps_are_stopped_in_the_order_of_the_plan(harness: Harness) -> None:
    groups = 3
    targets = [f"a{number}" for number in range(1, groups * AT_MOST + 1)]
    harness.world.blocked |= {(target, "activate"): asyncio.Event() for target in targets}
    plan = make_plan(["a"], targets=len(targets), max_parallel=len(targets))
    handle = await harness.start(plan)
    for target in targets:
        await _entered(harness, target, "activate")
    await handle.signal(RolloutWorkflow.rollback)
    result = await harness.finish(handle)
    region = harness.client.get_workflow_handle(f"rollout:{plan.service}:{result.rollout_id}:a")
    cancelled = [
        event.activity_task_cancel_requested_event_attributes.scheduled_event_id
        for event in (await region.fetch_history()).events
        if event.HasField("activity_task_cancel_requested_event_attributes")
    ]
    assert len(cancelled) == groups
    assert cancelled == sorted(cancelled)


async def test_rollback_twice_and_while_paused_goes_back_once(harness: Harness) -> None:
    plan = make_plan(["a"], ["b"], soak=300)
    handle = await harness.start(plan)
    await harness.until(handle, phase=RolloutPhase.SOAKING)
    await handle.signal(RolloutWorkflow.pause)
    await handle.signal(RolloutWorkflow.rollback)
    await handle.signal(RolloutWorkflow.rollback)
    await handle.signal(RolloutWorkflow.pause)
    result = await harness.finish(handle)
    assert result.phase is RolloutPhase.ROLLED_BACK
    assert harness.world.rollbacks() == ["a1"]


async def test_a_region_terminated_in_mid_step_counts_as_failed_and_goes_back(harness: Harness) -> None:
    harness.world.blocked["b1", "activate"] = asyncio.Event()
    plan = make_plan(["a"], ["b"], ["c"])
    handle = await harness.start(plan)
    await _entered(harness, "b1", "activate")
    status = await handle.query(RolloutWorkflow.status)
    await harness.client.get_workflow_handle(f"rollout:{plan.service}:{status.rollout_id}:b").terminate("by hand")
    result = await harness.finish(handle)
    assert (result.phase, result.regions) == (RolloutPhase.FAILED, {"a": "succeeded", "b": "rolled_back"})
    assert harness.world.versions()["b1"] == "1.0.0"


async def test_a_release_that_runs_already_can_be_rolled_out_and_taken_back(harness: Harness) -> None:
    plan = make_plan(["a"])
    assert (await harness.finish(await harness.start(plan))).phase is RolloutPhase.SUCCEEDED
    soaking = plan.waves[0].model_copy(update={"soak": 300 * SECONDS})
    handle = await harness.start(plan.model_copy(update={"waves": (soaking,)}))
    await harness.until(handle, phase=RolloutPhase.SOAKING)
    await handle.signal(RolloutWorkflow.rollback)
    result = await harness.finish(handle)
    assert result.phase is RolloutPhase.ROLLED_BACK
    assert harness.world.versions()["a1"] == "2.0.0"


async def _taken(harness: Harness, handle: Any, event_type: str, step: str) -> None:
    """Have another content stored under the ID of an event that the rollout will publish."""
    status = await handle.query(RolloutWorkflow.status)
    await harness.bus.publish_event(
        new_event(
            event_type,
            deployment_id=status.rollout_id,
            region="global",
            service=status.service,
            data={"status": "somebody else said so"},
            step=step,
        )
    )


async def test_a_verb_whose_audit_event_cannot_be_stored_takes_effect_nevertheless(harness: Harness) -> None:
    handle = await harness.start(make_plan(["a"], ["b"], final_soak=300))
    await harness.until(handle, phase=RolloutPhase.SOAKING)
    await _taken(harness, handle, "deployment.rollback_requested", "verb.1")
    await handle.signal(RolloutWorkflow.rollback)
    result = await harness.finish(handle)
    assert result.phase is RolloutPhase.ROLLED_BACK
    assert set(harness.world.versions().values()) == {"1.0.0"}


async def test_a_rollout_whose_end_cannot_be_told_has_its_result_nevertheless(harness: Harness) -> None:
    opened = harness.world.blocked["a1", "activate"] = asyncio.Event()
    handle = await harness.start(make_plan(["a"]))
    await _entered(harness, "a1", "activate")
    await _taken(harness, handle, "deployment.completed", "rollout")
    opened.set()
    result = await harness.finish(handle)
    assert result.phase is RolloutPhase.SUCCEEDED
    assert "its end could not be told: event" in result.reason


async def test_a_wave_whose_start_cannot_be_told_ends_the_rollout_with_the_reason(harness: Harness) -> None:
    opened = harness.world.blocked["a1", "activate"] = asyncio.Event()
    plan = make_plan(["a"], ["b"])
    handle = await harness.start(plan)
    await _entered(harness, "a1", "activate")
    told = await harness.events("deployment", plan)
    first = next(event for event in told if event.event_type == "deployment.wave_started")
    for tried in (1, 2):
        await _taken(harness, handle, "deployment.wave_started", f"{first.data['generation'] + tried}.wave")
    opened.set()
    result = await harness.finish(handle)
    assert result.phase is RolloutPhase.FAILED
    assert "an event could not be stored: event" in result.reason
    assert harness.world.versions()["b1"] == "1.0.0"


async def test_a_full_stream_makes_the_rollout_wait_until_there_is_room(harness: Harness) -> None:
    """Nothing is dropped and nothing fails: an operator purges or raises the limit, and it goes on."""
    opened = harness.world.blocked["a1", "activate"] = asyncio.Event()
    handle = await harness.start(make_plan(["a"]))
    await _entered(harness, "a1", "activate")
    js = harness.bus.client.jetstream
    config = (await js.stream_info("DEPLOYMENT_EVENTS")).config
    await js.update_stream(replace(config, max_msgs=1))
    opened.set()
    for _ in range(300):
        if "stream limit exceeded" in await _last_failures(harness, handle):
            break
        await asyncio.sleep(0.1)
    else:
        raise AssertionError("nothing told of the full stream")
    await js.update_stream(config)
    result = await harness.finish(handle)
    assert result.phase is RolloutPhase.SUCCEEDED


async def _last_failures(harness: Harness, handle: Any) -> str:
    """What the UI shows of pending activities, the region's and the rollout's."""
    status = await handle.query(RolloutWorkflow.status)
    region = harness.client.get_workflow_handle(f"rollout:{status.service}:{status.rollout_id}:a")
    found = [(await one.describe()).raw_description.pending_activities for one in (handle, region)]
    return " ".join(activity.last_failure.message for pending in found for activity in pending)


async def test_a_first_release_that_is_taken_back_leaves_nothing(harness: Harness) -> None:
    harness.world.hosts["a1"].release = None
    plan = make_plan(["a"], final_soak=300)
    handle = await harness.start(plan)
    await harness.until(handle, phase=RolloutPhase.SOAKING)
    await handle.signal(RolloutWorkflow.rollback)
    result = await harness.finish(handle)
    assert result.phase is RolloutPhase.ROLLED_BACK
    assert harness.world.versions() == {"a1": ""}


async def test_what_could_not_be_taken_back_stands_in_the_reason_of_a_failure(harness: Harness) -> None:
    harness.world.unhealthy |= {("b1", "2.0.0"), ("b1", "1.0.0")}
    plan = make_plan(["a"], ["b"])
    result = await harness.finish(await harness.start(plan))
    assert result.phase is RolloutPhase.FAILED
    assert "back on 1.0.0, but not healthy" in result.reason


async def test_cancelling_the_workflow_while_a_failed_region_goes_back_ends_it_after_that(harness: Harness) -> None:
    harness.world.unhealthy.add(("b1", "2.0.0"))
    opened = harness.world.blocked["b1", "rollback"] = asyncio.Event()
    plan = make_plan(["a"], ["b"], decision_timeout=300)
    handle = await harness.start(plan)
    await _entered(harness, "b1", "rollback")
    await handle.cancel()
    await handle.query(RolloutWorkflow.status)  # answered after the cancellation was seen
    opened.set()
    result = await harness.finish(handle)
    assert (result.phase, result.regions) == (RolloutPhase.CANCELLED, {"a": "succeeded", "b": "rolled_back"})
    assert harness.world.versions() == {"a1": "2.0.0", "b1": "1.0.0"}
