"""Canaries: the rest of a region follows when somebody, or a gate, promotes them; till then, and else, it does not."""

import asyncio

from fraisier.workflows.contracts import RolloutPhase
from fraisier.workflows.gate_plans import GatePlan
from fraisier.workflows.plans import Plan, PromotionPlan
from fraisier.workflows.rollout import RolloutWorkflow
from tests.workflows.harness import SECONDS, Harness, make_plan, with_region

HEALTHY = GatePlan(name="smoke", event="health.check_passed", none_of=("health.check_failed",), timeout=600 * SECONDS)


def with_canary(*gates: GatePlan, timeout: float = 600, **more: float) -> Plan:
    """Two regions of three targets, the first with a canary."""
    plan = make_plan(["a"], ["b"], targets=3, max_parallel=2, **more)
    return with_region(plan, "a", canary=1, promotion=PromotionPlan(gates=gates, timeout=timeout * SECONDS))


async def test_the_rest_follows_a_canary_when_somebody_promotes_it(harness: Harness) -> None:
    plan = with_canary()
    handle = await harness.start(plan)
    await harness.until_region(handle, "a", state="canary")
    status = await handle.query(RolloutWorkflow.status)
    assert status.waiting_for.startswith("a to be promoted: promote, until ")
    assert harness.world.activations() == ["a1"]
    await handle.signal(RolloutWorkflow.promote, {"regions": "b", "by": "ops"})
    await handle.signal(RolloutWorkflow.promote, {"by": "ops", "reason": "looks good"})
    result = await harness.finish(handle)
    assert (result.phase, result.regions) == (RolloutPhase.SUCCEEDED, {"a": "succeeded", "b": "succeeded"})
    assert sorted(harness.world.activations()[:3]) == ["a1", "a2", "a3"]
    assert harness.world.activations().count("a1") == 1
    (told,) = [e for e in await harness.events("deployment", plan) if e.event_type == "deployment.promoted"]
    assert (told.data["by"], told.data["reason"]) == ("ops", "looks good")


async def test_a_gate_that_asks_about_the_canary_alone_promotes_it(harness: Harness) -> None:
    held = harness.world.blocked["a2", "activate"] = asyncio.Event()
    handle = await harness.start(with_canary(HEALTHY))
    await asyncio.wait_for(harness.world.entered["a2", "activate"].wait(), 60)
    held.set()
    assert (await harness.finish(handle)).phase is RolloutPhase.SUCCEEDED
    assert set(harness.world.versions().values()) == {"2.0.0"}


async def test_promote_goes_before_a_gate_that_is_still_asked(harness: Harness) -> None:
    harness.world.silent.add(("a1", "health.check_passed"))
    plan = with_canary(HEALTHY)
    handle = await harness.start(plan.model_copy(update={"waves": plan.waves[:1]}))
    await harness.until_region(handle, "a", state="canary")
    await handle.signal(RolloutWorkflow.promote)
    assert (await harness.finish(handle)).phase is RolloutPhase.SUCCEEDED


async def test_a_canary_that_nobody_promotes_goes_back_and_begins_again_on_retry(harness: Harness) -> None:
    handle = await harness.start(with_canary(timeout=1, decision_timeout=600))
    status = await harness.until(handle, phase=RolloutPhase.DECISION)
    assert "a failed: a1: its canary was not promoted within 1s" in status.waiting_for
    assert harness.world.versions() == {"a1": "1.0.0"} | dict.fromkeys(("a2", "a3", "b1", "b2", "b3"), "1.0.0")
    await handle.signal(RolloutWorkflow.retry)
    await harness.until_region(handle, "a", state="canary")
    await handle.signal(RolloutWorkflow.promote)
    assert (await harness.finish(handle)).phase is RolloutPhase.SUCCEEDED
    assert harness.world.activations().count("a1") == 2


async def test_a_rollback_while_a_canary_waits_takes_it_back(harness: Harness) -> None:
    handle = await harness.start(with_canary())
    await harness.until_region(handle, "a", state="canary")
    await handle.signal(RolloutWorkflow.rollback)
    result = await harness.finish(handle)
    assert (result.phase, result.regions) == (RolloutPhase.ROLLED_BACK, {"a": "rolled_back"})
    assert harness.world.rollbacks() == ["a1"]


async def test_a_canary_that_is_not_healthy_is_followed_by_nothing(harness: Harness) -> None:
    harness.world.unhealthy.add(("a1", "2.0.0"))
    result = await harness.finish(await harness.start(with_canary()))
    assert (result.phase, result.regions) == (RolloutPhase.FAILED, {"a": "rolled_back"})
    assert harness.world.activations() == ["a1"]
