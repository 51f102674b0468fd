"""Rollouts over simulated targets: order, gates, failures and verbs, on real Temporal and NATS servers."""

import asyncio
import os
import subprocess

import pytest
from temporalio.client import WorkflowUpdateFailedError

from fraisier.nats import Event, new_event
from fraisier.orchestrator.launcher import find_server
from fraisier.orchestrator.stack import LocalStack
from fraisier.workflows.contracts import RolloutPhase
from fraisier.workflows.plans import OnFailure
from fraisier.workflows.rollout import RolloutWorkflow
from fraisier.workflows.verbs import Verb, VerbRequest
from tests.workflows.harness import NEW, Harness, make_plan


async def test_waves_go_in_order_and_every_event_stands_once(harness: Harness) -> None:
    plan = make_plan(["a"], ["b", "c"], ["d"], targets=2, max_parallel=2)
    result = await harness.finish(await harness.start(plan))
    assert result.phase is RolloutPhase.SUCCEEDED
    assert set(harness.world.versions().values()) == {"2.0.0"}
    regions = [target[0] for target in harness.world.activations()]
    assert regions[:2] == ["a", "a"]
    assert sorted(regions[2:6]) == ["b", "b", "c", "c"]
    assert regions[6:] == ["d", "d"]
    deployment = await harness.events("deployment", plan)
    rollout = [event.event_type for event in deployment if event.region == "global"]
    gate, wave = "deployment.gate_passed", "deployment.wave_started"
    assert rollout == ["deployment.triggered", wave, gate, wave, gate, wave, "deployment.completed"]
    completed = [(e.region, e.target) for e in deployment if e.event_type == "deployment.completed"]
    assert sorted(completed, key=str) == sorted(
        [(r, f"{r}{n}") for r in "abcd" for n in (1, 2)] + [(r, None) for r in ("a", "b", "c", "d", "global")], key=str
    )


async def test_a_region_that_fails_goes_back_and_later_waves_do_not_start(harness: Harness) -> None:
    harness.world.unhealthy.add(("b2", "2.0.0"))
    plan = make_plan(["a"], ["b"], ["c"], targets=3)
    result = await harness.finish(await harness.start(plan))
    assert (result.phase, result.regions) == (RolloutPhase.FAILED, {"a": "succeeded", "b": "rolled_back"})
    assert "b failed: b2: not healthy: 503" in result.reason
    assert harness.world.activations() == ["a1", "a2", "a3", "b1", "b2"]
    assert harness.world.rollbacks() == ["b2", "b1"]
    versions = harness.world.versions()
    assert {name for name, version in versions.items() if version == "2.0.0"} == {"a1", "a2", "a3"}
    back = [e for e in await harness.events("deployment", plan) if e.event_type == "deployment.rolled_back"]
    assert [(e.region, e.target) for e in back] == [("b", "b2"), ("b", "b1"), ("b", None)]


async def test_rollback_in_the_last_soak_takes_every_region_back_in_reverse(harness: Harness) -> None:
    plan = make_plan(["a"], ["b", "c"], targets=2, final_soak=300, wave_parallel=1)
    handle = await harness.start(plan)
    await harness.until(handle, phase=RolloutPhase.SOAKING)
    await handle.signal("rollback", {"by": "ops", "reason": "errors", "ticket": 7})
    result = await harness.finish(handle)
    assert (result.phase, result.reason) == (RolloutPhase.ROLLED_BACK, "rollback asked by ops: errors")
    assert harness.world.rollbacks() == ["c2", "c1", "b2", "b1", "a2", "a1"]
    assert set(harness.world.versions().values()) == {"1.0.0"}
    events = await harness.events("deployment", plan)
    back = [e.region for e in events if e.event_type == "deployment.rolled_back" and e.target is None]
    assert back == ["c", "b", "a", "global"]
    (asked,) = [e for e in events if e.event_type == "deployment.rollback_requested"]
    assert (asked.data["by"], asked.data["reason"]) == ("ops", "errors")


@pytest.mark.parametrize("step", ["stage", "activate", "health"])
@pytest.mark.parametrize("region", ["a", "b", "c"])
async def test_rollback_while_a_step_runs_leaves_nothing_new_behind(harness: Harness, region: str, step: str) -> None:
    harness.world.blocked[f"{region}1", step] = asyncio.Event()
    plan = make_plan(["a"], ["b", "c"])
    handle = await harness.start(plan)
    await asyncio.wait_for(harness.world.entered[f"{region}1", step].wait(), 30)
    await handle.signal(RolloutWorkflow.rollback)
    result = await harness.finish(handle)
    assert result.phase is RolloutPhase.ROLLED_BACK
    assert set(harness.world.versions().values()) == {"1.0.0"}
    touched = set(harness.world.activations())
    assert touched <= set(harness.world.rollbacks())


async def test_rollback_while_a_gate_waits(harness: Harness) -> None:
    harness.world.silent.add(("a1", "health.check_passed"))
    handle = await harness.start(make_plan(["a"], ["b"], gate_timeout=300))
    await harness.until(handle, phase=RolloutPhase.GATE)
    await handle.signal(RolloutWorkflow.rollback)
    assert (await harness.finish(handle)).phase is RolloutPhase.ROLLED_BACK
    assert harness.world.rollbacks() == ["a1"]


async def publish_by_hand(stack: LocalStack, event: Event) -> None:
    """As a person does: with the nats command."""
    env = stack.env()
    login = {"NATS_URL": env["NATS_SERVERS"], "NATS_USER": env["NATS_USERNAME"], "NATS_PASSWORD": env["NATS_PASSWORD"]}
    nats = (await find_server("nats")).path
    command = [nats, "publish", event.subject, event.to_json().decode()]
    await asyncio.to_thread(subprocess.run, command, env={**os.environ, **login}, check=True, capture_output=True)


async def test_a_withheld_event_holds_the_next_wave_until_it_is_published_by_hand(
    harness: Harness, local_stack: LocalStack
) -> None:
    harness.world.silent.add(("a2", "health.check_passed"))
    plan = make_plan(["a"], ["b"], targets=2, gate_timeout=60)
    handle = await harness.start(plan)
    status = await harness.until(handle, phase=RolloutPhase.GATE)
    await asyncio.sleep(2.5)  # two re-reads of the gate: time enough for it to open wrongly
    assert harness.world.activations() == ["a1", "a2"]
    passed = [e for e in await harness.events("health", plan) if e.event_type == "health.check_passed"]
    (like,) = passed
    by_hand = new_event(
        "health.check_passed",
        deployment_id=status.rollout_id,
        region="a",
        service=plan.service,
        target="a2",
        data=like.data,
    )
    await publish_by_hand(local_stack, by_hand)
    assert (await harness.finish(handle)).phase is RolloutPhase.SUCCEEDED
    assert harness.world.activations() == ["a1", "a2", "b1", "b2"]


async def test_a_gate_that_runs_out_of_time_is_inconclusive_and_waits_for_a_decision(harness: Harness) -> None:
    harness.world.silent.add(("a1", "health.check_passed"))
    handle = await harness.start(make_plan(["a"], ["b"], gate_timeout=1, decision_timeout=300))
    status = await harness.until(handle, phase=RolloutPhase.DECISION)
    assert status.gates[0].verdict == "inconclusive"
    assert "no health.check_passed from a: a1" in status.waiting_for
    assert harness.world.activations() == ["a1"]
    await handle.signal(RolloutWorkflow.skip)
    assert (await harness.finish(handle)).phase is RolloutPhase.SUCCEEDED
    assert harness.world.activations() == ["a1", "b1"]


async def test_a_failed_region_is_tried_again_on_retry(harness: Harness) -> None:
    harness.world.unhealthy.add(("b1", "2.0.0"))
    handle = await harness.start(make_plan(["a"], ["b"], ["c"], decision_timeout=300))
    await harness.until(handle, phase=RolloutPhase.DECISION)
    assert harness.world.versions()["b1"] == "1.0.0"
    harness.world.unhealthy.clear()
    await handle.signal(RolloutWorkflow.retry, {"by": "ops"})
    assert (await harness.finish(handle)).phase is RolloutPhase.SUCCEEDED
    assert set(harness.world.versions().values()) == {"2.0.0"}


async def test_skip_goes_on_without_the_region_that_failed_and_no_gate_asks_for_it(harness: Harness) -> None:
    harness.world.unhealthy.add(("b1", "2.0.0"))
    handle = await harness.start(make_plan(["a", "b"], ["c"], decision_timeout=300))
    await harness.until(handle, phase=RolloutPhase.DECISION)
    await handle.signal(RolloutWorkflow.skip)
    result = await harness.finish(handle)
    assert (result.phase, result.regions) == (
        RolloutPhase.SUCCEEDED,
        {"a": "succeeded", "b": "rolled_back", "c": "succeeded"},
    )
    assert harness.world.versions() == {"a1": "2.0.0", "b1": "1.0.0", "c1": "2.0.0"}


@pytest.mark.parametrize(
    ("on_failure", "phase", "new"),
    [
        (OnFailure.ROLLBACK_ALL, RolloutPhase.FAILED, set()),
        (OnFailure.PAUSE, RolloutPhase.FAILED, {"a1", "b1"}),
        (OnFailure.CONTINUE, RolloutPhase.SUCCEEDED, {"a1", "b1", "c1"}),
    ],
)
async def test_what_on_failure_says_is_done(
    harness: Harness, on_failure: OnFailure, phase: RolloutPhase, new: set[str]
) -> None:
    harness.world.unhealthy.add(("b1", "2.0.0"))
    result = await harness.finish(await harness.start(make_plan(["a"], ["b"], ["c"], on_failure=on_failure)))
    assert result.phase is phase
    assert {name for name, version in harness.world.versions().items() if version == NEW.version} == new


async def test_continue_within_a_wave(harness: Harness) -> None:
    """A region that failed keeps none from starting that waits for room in its wave."""
    harness.world.unhealthy.add(("a1", "2.0.0"))
    plan = make_plan(["a", "b"], wave_parallel=1, on_failure=OnFailure.CONTINUE)
    result = await harness.finish(await harness.start(plan))
    assert (result.phase, result.regions) == (RolloutPhase.SUCCEEDED, {"a": "failed", "b": "succeeded"})


async def test_tolerated_failures_do_not_fail_a_region(harness: Harness) -> None:
    harness.world.unhealthy.add(("a2", "2.0.0"))
    harness.world.unfit.add("b1")
    result = await harness.finish(await harness.start(make_plan(["a"], ["b"], targets=3, tolerance=1)))
    assert result.phase is RolloutPhase.SUCCEEDED
    assert harness.world.activations() == ["a1", "a2", "a3", "b2", "b3"]


async def test_an_unfit_target_refuses_the_rollout_before_anything_changes(harness: Harness) -> None:
    harness.world.unfit.add("c1")
    result = await harness.finish(await harness.start(make_plan(["a"], ["b"], ["c"])))
    assert result.phase is RolloutPhase.FAILED
    assert "preflight of c, nothing was changed: c1: its disk is full" in result.reason
    assert harness.world.effects == []


async def test_pause_holds_the_next_batch_and_resume_lets_it_go(harness: Harness) -> None:
    harness.world.blocked["a1", "health"] = asyncio.Event()
    handle = await harness.start(make_plan(["a"], ["b"], targets=2))
    await asyncio.wait_for(harness.world.entered["a1", "health"].wait(), 30)
    paused = await handle.execute_update(
        RolloutWorkflow.verb, args=[Verb.PAUSE, VerbRequest(by="ops", reason="lunch", id="p1")]
    )
    assert paused.paused
    harness.world.blocked.pop(("a1", "health")).set()
    await asyncio.sleep(2)  # time enough for the next batch to start wrongly
    assert harness.world.activations() == ["a1"]
    with pytest.raises(WorkflowUpdateFailedError) as refused:
        await handle.execute_update(RolloutWorkflow.verb, args=[Verb.PAUSE, VerbRequest(id="p2")])
    assert "paused already" in str(refused.value.cause)
    await handle.execute_update(RolloutWorkflow.verb, args=[Verb.PAUSE, VerbRequest(by="ops", id="p1")])
    await handle.signal(RolloutWorkflow.resume)
    assert (await harness.finish(handle)).phase is RolloutPhase.SUCCEEDED


async def test_a_region_hears_of_pauses_and_their_ends_in_their_order(harness: Harness) -> None:
    harness.world.blocked["a1", "stage"] = asyncio.Event()
    handle = await harness.start(make_plan(["a"]))
    await asyncio.wait_for(harness.world.entered["a1", "stage"].wait(), 30)
    rollout_id = (await handle.query(RolloutWorkflow.status)).rollout_id
    region = f"{handle.id}:{rollout_id}:a"
    asked = ["hold", "release"] * 10
    for _ in range(10):
        await handle.signal(RolloutWorkflow.pause)
        await handle.signal(RolloutWorkflow.resume)
    while len(heard := await harness.signals(region)) < len(asked):  # noqa: ASYNC110 (history tells nobody)
        await asyncio.sleep(0.2)
    assert [name for name, _ in heard] == asked
    harness.world.blocked.pop(("a1", "stage")).set()
    assert (await harness.finish(handle)).phase is RolloutPhase.SUCCEEDED


async def test_a_verb_that_makes_no_sense_now_is_refused_at_once(harness: Harness) -> None:
    harness.world.blocked["a1", "stage"] = asyncio.Event()
    handle = await harness.start(make_plan(["a"]))
    await asyncio.wait_for(harness.world.entered["a1", "stage"].wait(), 30)
    for verb, says in ((Verb.RESUME, "it is not paused"), (Verb.RETRY, "nothing to retry")):
        with pytest.raises(WorkflowUpdateFailedError) as refused:
            await handle.execute_update(RolloutWorkflow.verb, args=[verb, VerbRequest()])
        assert says in str(refused.value.cause)
    harness.world.blocked.pop(("a1", "stage")).set()
    assert (await harness.finish(handle)).phase is RolloutPhase.SUCCEEDED


@pytest.mark.parametrize("how", ["verb", "workflow"])
async def test_cancel_leaves_everything_as_it_is_and_says_so(harness: Harness, how: str) -> None:
    handle = await harness.start(make_plan(["a"], ["b"], soak=300))
    await harness.until(handle, phase=RolloutPhase.SOAKING)
    await (handle.signal(RolloutWorkflow.cancel) if how == "verb" else handle.cancel())
    result = await harness.finish(handle)
    assert result.phase is RolloutPhase.CANCELLED
    assert "everything stays as it is: 2.0.0 runs in a 1 of 1 targets; 1 of 2 regions are as before" in result.reason
    assert harness.world.versions() == {"a1": "2.0.0", "b1": "1.0.0"}


async def test_cancelling_the_workflow_while_a_region_runs_stops_the_region(harness: Harness) -> None:
    harness.world.blocked["a1", "activate"] = asyncio.Event()
    handle = await harness.start(make_plan(["a"], ["b"]))
    await asyncio.wait_for(harness.world.entered["a1", "activate"].wait(), 30)
    await handle.cancel()
    result = await harness.finish(handle)
    assert (result.phase, result.regions) == (RolloutPhase.CANCELLED, {"a": "stopped"})
    assert harness.world.activations() == []


async def test_a_rollback_that_fails_on_one_target_says_so_and_goes_on(harness: Harness) -> None:
    handle = await harness.start(make_plan(["a"], ["b"], targets=2, final_soak=300))
    await harness.until(handle, phase=RolloutPhase.SOAKING)
    harness.world.unhealthy.add(("b1", "1.0.0"))
    await handle.signal(RolloutWorkflow.rollback)
    result = await harness.finish(handle)
    assert result.phase is RolloutPhase.FAILED
    assert "not everywhere: b: b1: back on 1.0.0, but not healthy" in result.reason
    assert set(harness.world.versions().values()) == {"1.0.0"}
