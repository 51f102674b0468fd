"""What the failure of one region does to the others: by wave, by region, and when it cannot be reached at all."""

from fraisier.workflows.contracts import RolloutPhase
from fraisier.workflows.plans import OnFailure, Preflight
from fraisier.workflows.rollout import RolloutWorkflow
from tests.workflows.harness import SECONDS, Harness, make_plan, with_region


async def test_a_region_that_fails_lets_the_rest_of_its_own_wave_go_on(harness: Harness) -> None:
    harness.world.unhealthy.add(("a1", "2.0.0"))
    plan = make_plan(["a", "b"], ["c"], wave_parallel=1, on_failure=OnFailure.CONTINUE)
    result = await harness.finish(await harness.start(plan))
    assert (result.phase, result.regions) == (
        RolloutPhase.SUCCEEDED,
        {"a": "failed", "b": "succeeded", "c": "succeeded"},
    )
    assert harness.world.activations() == ["a1", "b1", "c1"]


async def test_a_region_that_is_wholly_unreachable_does_not_stop_the_rest(harness: Harness) -> None:
    harness.world.unfit |= {"a1", "a2"}
    plan = make_plan(["a"], ["b"], targets=2, on_failure=OnFailure.CONTINUE, gate_timeout=600)
    result = await harness.finish(await harness.start(plan))
    assert (result.phase, result.regions) == (RolloutPhase.SUCCEEDED, {"a": "failed", "b": "succeeded"})
    assert harness.world.activations() == ["b1", "b2"]
    failed = [e for e in await harness.events("deployment", plan) if e.event_type == "deployment.failed"]
    assert [(e.region, e.target, e.data["detail"]) for e in failed] == [("a", None, "a1: its disk is full")]


async def test_each_failed_region_does_what_is_said_of_it(harness: Harness) -> None:
    harness.world.unhealthy |= {("a1", "2.0.0"), ("b1", "2.0.0")}
    plan = make_plan(["a", "b"], ["c"], decision_timeout=600)
    plan = with_region(plan, "a", on_failure=OnFailure.CONTINUE)
    handle = await harness.start(plan)
    status = await harness.until(handle, phase=RolloutPhase.DECISION)
    assert "b failed" in status.waiting_for
    assert harness.world.versions() == {"a1": "2.0.0", "b1": "1.0.0", "c1": "1.0.0"}
    await handle.signal(RolloutWorkflow.skip)
    assert (await harness.finish(handle)).regions == {"a": "failed", "b": "rolled_back", "c": "succeeded"}


async def test_what_a_wave_says_holds_for_its_regions_and_its_gates(harness: Harness) -> None:
    harness.world.unhealthy.add(("b1", "2.0.0"))
    plan = make_plan(["a"], ["b"], ["c"])
    waves = (plan.waves[0], plan.waves[1].model_copy(update={"on_failure": OnFailure.ROLLBACK_ALL}), plan.waves[2])
    result = await harness.finish(await harness.start(plan.model_copy(update={"waves": waves})))
    assert (result.phase, result.regions) == (RolloutPhase.FAILED, {"a": "rolled_back", "b": "rolled_back"})


async def test_a_region_soaks_before_another_takes_its_place(harness: Harness) -> None:
    plan = with_region(make_plan(["a", "b"], wave_parallel=1), "a", soak=600 * SECONDS)
    handle = await harness.start(plan)
    await harness.until_region(handle, "a", state="succeeded")
    await handle.signal(RolloutWorkflow.rollback)
    result = await harness.finish(handle)
    assert result.phase is RolloutPhase.ROLLED_BACK
    assert harness.world.activations() == ["a1"]


async def test_each_wave_is_looked_at_before_it_starts_and_one_that_is_unfit_waits_for_a_decision(
    harness: Harness,
) -> None:
    harness.world.unfit.add("b1")
    plan = make_plan(["a"], ["b"], preflight=Preflight.WAVE, decision_timeout=600)
    handle = await harness.start(plan)
    status = await harness.until(handle, phase=RolloutPhase.DECISION)
    assert "b failed: b1: its disk is full" in status.waiting_for
    assert harness.world.activations() == ["a1"]
    harness.world.unfit.clear()
    await handle.signal(RolloutWorkflow.retry)
    result = await harness.finish(handle)
    assert (result.phase, harness.world.activations()) == (RolloutPhase.SUCCEEDED, ["a1", "b1"])


async def test_where_nobody_decides_in_time_the_rollout_says_what_it_leaves(harness: Harness) -> None:
    harness.world.unhealthy.add(("b1", "2.0.0"))
    result = await harness.finish(await harness.start(make_plan(["a"], ["b"], decision_timeout=1)))
    assert result.phase is RolloutPhase.FAILED
    left = "2.0.0 runs in a 1 of 1 targets; 1 of 2 regions are as before"
    assert result.reason.endswith(f"; nobody decided within 1s: {left}")
