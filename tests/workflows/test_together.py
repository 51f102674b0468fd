"""Steps that several targets take at once are one activity, and each target still has an end of its own."""

import asyncio
from collections import Counter
from typing import Any

import pytest
from temporalio.activity import ActivityCancellationDetails
from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowHandle
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from fraisier.providers.models import FencingToken, StepResult
from fraisier.workflows.activities.together import take_together
from fraisier.workflows.contracts import RolloutPhase
from fraisier.workflows.rollout import RolloutWorkflow
from fraisier.workflows.steps import StepOutcome
from fraisier.workflows.together import AT_MOST
from tests.workflows.harness import Harness, make_plan

WORKFLOW_TASK = "EVENT_TYPE_WORKFLOW_TASK_"
DONE = StepResult(changed=True, detail="done")


async def activities(harness: Harness, handle: WorkflowHandle[Any, Any], region: str) -> tuple[Counter[str], int]:
    """How many activities of each type the region's workflow had, and how many events its history has of what it did.

    Those of its workflow tasks are left out: into how many its wakings fall depends on the machine's load.
    """
    rollout = (await handle.query(RolloutWorkflow.status)).rollout_id
    service = handle.id.partition(":")[2]
    history = await harness.client.get_workflow_handle(f"rollout:{service}:{rollout}:{region}").fetch_history()
    scheduled = (event.activity_task_scheduled_event_attributes.activity_type.name for event in history.events)
    done = [event for event in history.events if not EventType.Name(event.event_type).startswith(WORKFLOW_TASK)]
    return Counter(name for name in scheduled if name), len(done)


async def test_targets_that_go_at_once_share_their_activities(harness: Harness):
    targets = AT_MOST + 5
    plan = make_plan(["a"], targets=targets, max_parallel=targets)
    handle = await harness.start(plan)
    assert (await harness.finish(handle)).phase is RolloutPhase.SUCCEEDED
    found, length = await activities(harness, handle, "a")
    assert found == {"together": 2 * len(("stage", "activate", "check_health")), "publish": 2, "prune": 1}
    assert length < 1.5 * targets
    effects = Counter((target, what) for target, what, _ in harness.world.effects)
    assert set(effects.values()) == {1}
    assert len(effects) == targets * len(("stage", "activate", "prune"))
    passed = [one.target for one in await harness.events("health", plan) if one.event_type == "health.check_passed"]
    assert sorted(passed, key=str) == sorted(target.name for target in plan.regions["a"].targets)


async def test_a_target_that_goes_alone_has_activities_of_its_own(harness: Harness):
    plan = make_plan(["a"], targets=2)
    handle = await harness.start(plan)
    await harness.finish(handle)
    found, _ = await activities(harness, handle, "a")
    assert found == {"together": 1, "activate": 2, "check_health": 2, "publish": 2, "prune": 1}


@pytest.mark.parametrize("targets", [1, 3], ids=["alone", "together"])
async def test_a_target_that_fails_says_the_same_alone_and_together(harness: Harness, targets: int):
    harness.world.hosts["a1"].token = FencingToken(generation=10**9, ordinal=1, attempt=1)
    plan = make_plan(["a"], targets=targets, max_parallel=targets, tolerance=1 if targets > 1 else 0)
    result = await harness.finish(await harness.start(plan))
    completed = [
        one
        for one in await harness.events("deployment", plan)
        if one.event_type == "deployment.completed" and one.target
    ]
    assert {one.target for one in completed} == {f"a{number}" for number in range(2, targets + 1)}
    if targets == 1:
        assert result.reason == "a failed: a1 has seen a newer attempt"
    else:
        assert result.phase is RolloutPhase.SUCCEEDED
        assert harness.world.versions()["a1"] == "1.0.0"


@pytest.mark.parametrize("step", ["stage", "activate", "health"])
async def test_a_rollback_in_the_middle_of_them_takes_all_back(harness: Harness, step: str):
    harness.world.blocked["a1", step] = asyncio.Event()
    plan = make_plan(["a"], targets=3, max_parallel=3)
    handle = await harness.start(plan)
    for number in (1, 2, 3):
        await asyncio.wait_for(harness.world.entered[f"a{number}", step].wait(), 60)
    await handle.signal(RolloutWorkflow.rollback)
    assert (await harness.finish(handle)).phase is RolloutPhase.ROLLED_BACK
    assert set(harness.world.versions().values()) == {"1.0.0"}
    assert set(harness.world.activations()) <= set(harness.world.rollbacks())


async def ends() -> StepResult:
    return DONE


async def fails() -> StepResult:
    raise ApplicationError("no room", type="CommandFailed", non_retryable=True)


async def waits() -> StepResult:
    return await asyncio.get_running_loop().create_future()


async def cancelled_once_running(environment: ActivityEnvironment, details: ActivityCancellationDetails) -> Any:
    """What the steps come to when the activity is cancelled while one of them still runs."""
    running = asyncio.create_task(environment.run(take_together, [ends(), fails(), waits()]))
    await asyncio.sleep(0.05)
    environment.cancel(details)
    return await running


async def test_asked_to_end_they_tell_what_was_done_by_then():
    outcomes = await cancelled_once_running(ActivityEnvironment(), ActivityCancellationDetails(cancel_requested=True))
    failed = StepOutcome(error="no room", error_type="CommandFailed")
    assert outcomes == (StepOutcome(result=DONE), failed, StepOutcome(stopped=True))


@pytest.mark.parametrize("why", ["worker_shutdown", "paused", "timed_out"])
async def test_what_another_worker_shall_do_again_tells_nothing(why: str):
    with pytest.raises(asyncio.CancelledError):
        await cancelled_once_running(ActivityEnvironment(), ActivityCancellationDetails(**{why: True}))


async def test_what_shall_be_retried_is_raised_when_every_step_has_ended():
    ended = []

    async def breaks() -> StepResult:
        raise OSError("nobody expected it")

    async def ends_later() -> StepResult:
        await asyncio.sleep(0.05)
        ended.append(1)
        return DONE

    with pytest.raises(OSError, match="nobody expected it"):
        await ActivityEnvironment().run(take_together, [breaks(), ends_later()])
    assert ended
