"""A rollout that has ended can be taken back: every region that it left changed, to what ran there before."""

import asyncio
from typing import cast

import pytest
from temporalio.client import WorkflowHandle

from fraisier.orchestrator.client import FraisierClient
from fraisier.orchestrator.errors import Refused
from fraisier.workflows.contracts import RolloutInput, RolloutPhase, RolloutResult
from fraisier.workflows.plans import Plan
from fraisier.workflows.rollout import RolloutWorkflow
from fraisier.workflows.verbs import Verb, VerbRequest
from tests.workflows.harness import Harness, make_plan

ASKED = VerbRequest(by="ops", reason="slow since noon")


async def take_back(harness: Harness, rollouts: FraisierClient, plan: Plan) -> RolloutResult:
    """Send a rollback that finds no open rollout; the result of the one that it starts."""
    status = await rollouts.send(plan.service, Verb.ROLLBACK, ASKED)
    assert (status.service, status.actor) == (plan.service, "ops")
    handle = harness.client.get_workflow_handle_for(RolloutWorkflow.run, f"rollout:{plan.service}")
    return await harness.finish(cast("WorkflowHandle[RolloutWorkflow, RolloutResult]", handle))


async def test_a_rollout_that_succeeded_goes_back_in_reverse_by_a_rollout_of_its_own(
    harness: Harness, rollouts: FraisierClient
):
    plan = make_plan(["a"], ["b", "c"], targets=2, wave_parallel=1)
    first = await harness.finish(await harness.start(plan))
    assert first.phase is RolloutPhase.SUCCEEDED
    result = await take_back(harness, rollouts, plan)
    assert (result.phase, result.reason) == (RolloutPhase.ROLLED_BACK, "rollback asked by ops: slow since noon")
    assert result.rollout_id != first.rollout_id
    assert harness.world.rollbacks() == ["c2", "c1", "b2", "b1", "a2", "a1"]
    assert set(harness.world.versions().values()) == {"1.0.0"}
    told = [e.event_type for e in await harness.events("deployment", plan) if e.deployment_id == result.rollout_id]
    assert told[:2] == ["deployment.triggered", "deployment.rollback_requested"]
    assert told[-1] == "deployment.rolled_back"
    with pytest.raises(Refused, match=f"nothing to take back.*{result.rollout_id}, is rolled back"):
        await rollouts.send(plan.service, Verb.ROLLBACK, ASKED)


async def test_only_what_a_failed_rollout_left_changed_goes_back(harness: Harness, rollouts: FraisierClient):
    harness.world.unhealthy.add(("b1", "2.0.0"))
    plan = make_plan(["a"], ["b"], ["c"])
    assert (await harness.finish(await harness.start(plan))).phase is RolloutPhase.FAILED
    before = harness.world.rollbacks()
    assert (await take_back(harness, rollouts, plan)).regions == {"a": "rolled_back"}
    assert harness.world.rollbacks() == [*before, "a1"]


async def test_what_could_not_go_back_is_tried_again_by_the_next_rollback(harness: Harness, rollouts: FraisierClient):
    plan = make_plan(["a"], ["b"])
    harness.world.hosts["a1"].release = None
    await harness.finish(await harness.start(plan))
    harness.world.unhealthy.add(("b1", "1.0.0"))
    result = await take_back(harness, rollouts, plan)
    assert (result.phase, result.regions) == (RolloutPhase.FAILED, {"a": "rolled_back", "b": "rollback_failed"})
    assert harness.world.versions() == {"a1": "", "b1": "1.0.0"}
    harness.world.unhealthy.clear()
    assert (await take_back(harness, rollouts, plan)).regions == {"b": "rolled_back"}


async def test_a_verb_during_it_is_refused(harness: Harness, rollouts: FraisierClient):
    plan = make_plan(["a"])
    await harness.finish(await harness.start(plan))
    harness.world.blocked["a1", "rollback"] = asyncio.Event()
    await rollouts.send(plan.service, Verb.ROLLBACK, ASKED)
    await asyncio.wait_for(harness.world.entered["a1", "rollback"].wait(), 30)
    with pytest.raises(Refused, match="rollback is already under way, asked by ops"):
        await rollouts.send(plan.service, Verb.PAUSE, VerbRequest())
    harness.world.blocked["a1", "rollback"].set()
    assert (await rollouts.result(plan.service)).phase is RolloutPhase.ROLLED_BACK


def test_an_order_without_an_undo_is_read_as_before():
    plan = make_plan(["a"])
    old = RolloutInput(rollout_id="r", plan=plan).model_dump(mode="json", exclude={"undo", "reason"})
    assert RolloutInput.model_validate(old).undo is None
