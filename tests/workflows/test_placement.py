"""Regions whose steps are taken by workers of their own."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.service import RPCError

from fraisier.orchestrator.client import FraisierClient
from fraisier.workflows import policy, roster
from fraisier.workflows.contracts import RolloutPhase
from fraisier.workflows.plans import Placement, Plan
from fraisier.workflows.rollout import RolloutWorkflow
from fraisier.workflows.steps import OFFER
from tests.support.simulated import World
from tests.workflows.harness import Harness, make_plan, run_worker

QUICK = timedelta(seconds=1)


def placed(plan: Plan, *regions: str) -> Plan:
    """The plan with some regions placed on workers of their own."""
    own = {name: plan.regions[name].model_copy(update={"placement": Placement.REGIONAL}) for name in regions}
    return plan.model_copy(update={"regions": plan.regions | own})


@asynccontextmanager
async def regional_worker(harness: Harness, region: str) -> AsyncIterator[World]:
    """A worker of a region, over a world that only it reaches."""
    queue = f"{harness.queue}.{region}"
    async with run_worker(harness.client, harness.bus, harness.nats, World(), queue=queue) as own:
        yield own.world


async def test_a_regions_own_worker_alone_takes_its_steps(harness: Harness):
    async with regional_worker(harness, "b") as world:
        handle = await harness.start(placed(make_plan(["a"], ["b"], targets=2, final_soak=300), "b"))
        await harness.until(handle, phase=RolloutPhase.SOAKING)
        assert (harness.world.activations(), world.activations()) == (["a1", "a2"], ["b1", "b2"])
        await handle.signal(RolloutWorkflow.rollback)
        result = await harness.finish(handle)
        assert result.phase is RolloutPhase.ROLLED_BACK
        assert (harness.world.rollbacks(), world.rollbacks()) == (["a2", "a1"], ["b2", "b1"])
        assert world.versions() == {"b1": "1.0.0", "b2": "1.0.0"}
        assert {target for target, _, _ in harness.world.effects} == {"a1", "a2"}


async def test_a_region_that_nobody_works_for_fails_the_preflight(harness: Harness, rollouts: FraisierClient):
    plan = placed(make_plan(["a"], ["b"], targets=2), "b")
    result = await harness.finish(await harness.start(plan))
    assert result.phase is RolloutPhase.FAILED
    assert result.reason == (
        f"preflight of b, nothing was changed: no worker polls the task queue {harness.queue}.b: start one that "
        "reaches the region's targets, `fraisier worker --region b`"
    )
    assert harness.world.effects == []
    a, b = await rollouts.details(plan.service)
    assert sorted(a.states) == ["a1", "a2"]
    assert sorted(b.silent) == ["b1", "b2"]
    assert "fraisier worker --region b" in b.silent["b1"]


@pytest.fixture
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy, "TAKEN_WITHIN", QUICK)


async def begun_without_worker(harness: Harness, plan: Plan) -> Any:
    """A rollout whose second region lost its worker between the preflight and its first step."""
    opened = harness.world.blocked["a1", "health"] = asyncio.Event()
    async with regional_worker(harness, "b"):
        handle = await harness.start(plan)
        await asyncio.wait_for(harness.world.entered["a1", "health"].wait(), 60)
    opened.set()
    return handle


async def not_taken(harness: Harness, handle: Any) -> None:
    """Wait until a step of the second region was offered and not taken."""
    await harness.until_region(handle, "b", state="running")
    status = await handle.query(RolloutWorkflow.status)
    region = harness.client.get_workflow_handle(f"rollout:{status.service}:{status.rollout_id}:b")
    for _ in range(600):
        with suppress(RPCError):  # the region is just about to be started
            history = await region.fetch_history()
            if any(event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT for event in history.events):
                return
        await asyncio.sleep(0.1)
    raise AssertionError("the step was taken, or never offered")


@pytest.mark.usefixtures("_quick")
async def test_a_step_is_offered_until_a_worker_takes_it(harness: Harness):
    handle = await begun_without_worker(harness, placed(make_plan(["a"], ["b"]), "b"))
    await not_taken(harness, handle)
    async with regional_worker(harness, "b") as world:
        result = await harness.finish(handle)
    assert result.phase is RolloutPhase.SUCCEEDED
    assert world.versions() == {"b1": "2.0.0"}
    # Temporal counts anew, and the target has perhaps seen attempts of an offer before.
    assert world.attempts["b1", "stage"] > OFFER
    assert world.attempts["b1", "activate"] == 1


@pytest.mark.usefixtures("_quick")
async def test_a_step_that_waits_for_a_worker_is_given_up_for_a_rollback(harness: Harness):
    handle = await begun_without_worker(harness, placed(make_plan(["a"], ["b"]), "b"))
    await not_taken(harness, handle)
    await handle.signal(RolloutWorkflow.rollback)
    result = await harness.finish(handle)
    assert (result.phase, result.regions) == (RolloutPhase.ROLLED_BACK, {"a": "rolled_back", "b": "stopped"})
    assert harness.world.versions() == {"a1": "1.0.0"}


@pytest.mark.usefixtures("_quick")
async def test_a_step_that_nobody_is_there_to_take_fails(harness: Harness, monkeypatch: pytest.MonkeyPatch):
    handle = await begun_without_worker(harness, placed(make_plan(["a"], ["b"]), "b"))
    monkeypatch.setattr(roster, "RECENT", -QUICK)
    result = await harness.finish(handle)
    assert result.phase is RolloutPhase.FAILED
    assert f"b failed: b1: no worker polls the task queue {harness.queue}.b" in result.reason
