"""What may be changed of a rollout under way, and what comes of it: by itself, and over simulated targets."""

import asyncio
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowUpdateFailedError

from fraisier.nats import set_freeze
from fraisier.workflows.adjustments import AdjustmentRefused, Standing, adjusted
from fraisier.workflows.contracts import RolloutPhase
from fraisier.workflows.plans import OnFailure, Plan, WindowPlan
from fraisier.workflows.rollout import RolloutWorkflow
from fraisier.workflows.verbs import Adjustment, Verb, VerbRequest
from tests.workflows.harness import Harness, make_plan, with_region

WAVES = (["a"], ["b", "c"], ["d", "e"])


def standing(wave: int, **regions: str) -> Standing:
    waves = {number: "done" if number < wave else "running" if number == wave else "waiting" for number in (1, 2, 3)}
    return Standing(wave=wave, waves=waves, regions=dict.fromkeys("abcde", "waiting") | regions)


def order(plan: Plan) -> list[tuple[str, ...]]:
    return [wave.regions for wave in plan.waves]


def test_regions_are_dropped_added_and_put_in_another_order() -> None:
    now = standing(1, a="running")
    plan = adjusted(make_plan(*WAVES), Adjustment(drop=("c", "d")), now)
    assert order(plan) == [("a",), ("b",), ("e",)]
    plan = adjusted(plan, Adjustment(add=("c",), order=("e", "c")), now)
    assert order(plan) == [("a",), ("e",), ("c", "b")]


def test_a_wave_and_a_region_get_other_settings() -> None:
    now = standing(2, a="succeeded", b="running")
    plan = make_plan(*WAVES, targets=4)
    plan = adjusted(plan, Adjustment(soak="5m", max_parallel=1, failure_tolerance="50%"), now)
    assert (plan.waves[1].soak, plan.waves[1].max_parallel) == (timedelta(minutes=5), 1)
    assert [plan.regions[name].tolerance for name in "abcde"] == [0, 2, 2, 0, 0]
    plan = adjusted(plan, Adjustment(region="d", max_parallel="50%", soak="1m"), now)
    assert (plan.regions["d"].max_parallel, plan.regions["d"].soak) == (2, timedelta(minutes=1))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({}, "say what shall be otherwise"),
        ({"wave": 1}, "say what shall be otherwise"),
        ({"drop": ("x",)}, "there is no region x; there are a, b, c, d, e"),
        ({"drop": ("b",)}, "b cannot be dropped: it is running; rollback takes it back"),
        ({"add": ("c",)}, "c cannot be added: it was not dropped"),
        ({"order": ("c", "d")}, "c is in no wave that has not begun; in those there are d, e"),
        ({"wave": 1, "soak": "1m"}, "wave 1 is over"),
        ({"wave": 4, "soak": "1m"}, "there is no wave 4; there are 3"),
        ({"region": "a", "failure_tolerance": 1}, "a has rolled back already"),
    ],
)
def test_what_is_unknown_or_too_late_is_refused(change: dict[str, Any], says: str) -> None:
    with pytest.raises(AdjustmentRefused, match=says):
        adjusted(make_plan(*WAVES), Adjustment.model_validate(change), standing(2, a="rolled_back", b="running"))


TIMER_STARTED = EventType.EVENT_TYPE_TIMER_STARTED


async def send(handle: Any, verb: Verb, **request: Any) -> Any:
    return await handle.execute_update(RolloutWorkflow.verb, args=[verb, VerbRequest(by="ops", **request)])


async def test_a_soak_is_cut_and_regions_are_dropped_while_the_rollout_runs(harness: Harness) -> None:
    plan = make_plan(["a"], ["b"], ["c"], ["d"], soak=600)
    handle = await harness.start(plan)
    await harness.until(handle, phase=RolloutPhase.SOAKING)
    change = Adjustment(drop=("b",), order=("d",))
    await send(handle, Verb.ADJUST, adjust=change, id="1", reason="eu is not ready")
    await send(handle, Verb.ADJUST, adjust=change, id="1")
    with pytest.raises(WorkflowUpdateFailedError) as refused:
        await send(handle, Verb.ADJUST, adjust=Adjustment(drop=("a",)), id="2")
    assert "a cannot be dropped" in str(refused.value.cause)
    await handle.signal(RolloutWorkflow.adjust, {"soak": "ages"})
    await handle.signal(RolloutWorkflow.adjust, {"soak": "0s", "by": "ops"})
    await handle.signal(RolloutWorkflow.adjust, {"wave": 3, "soak": "0s"})
    result = await harness.finish(handle)
    assert (result.phase, result.regions["b"]) == (RolloutPhase.SUCCEEDED, "dropped")
    assert harness.world.activations() == ["a1", "d1", "c1"]
    told = [e for e in await harness.events("deployment", plan) if e.event_type == "deployment.adjusted"]
    assert sorted(((e.data["by"], e.data["change"]) for e in told), key=str) == [
        ("", {"wave": 3, "soak": "0s"}),
        ("ops", {"drop": ["b"], "order": ["d"]}),
        ("ops", {"soak": "0s"}),
    ]


async def test_a_soak_that_runs_is_extended_and_then_cut(harness: Harness) -> None:
    handle = await harness.start(make_plan(["a"], final_soak=600))
    assert await _soaks(handle, 1) == [(600, False)]
    await send(handle, Verb.ADJUST, adjust=Adjustment(soak="1h"), id="1")
    (first, cut), (second, still) = await _soaks(handle, 2)
    assert (first, cut, still) == (600, True, False)
    assert 600 < second <= 3600  # what had passed by then counts
    await send(handle, Verb.ADJUST, adjust=Adjustment(soak="0s"), id="2")
    assert (await harness.finish(handle)).phase is RolloutPhase.SUCCEEDED
    assert [cancelled for _, cancelled in await _soaks(handle, 2)] == [True, True]


async def _soaks(handle: Any, count: int) -> list[tuple[float, bool]]:
    """The timers of a rollout that does nothing but soak, once there are so many: seconds, and whether cancelled."""
    while True:
        events = (await handle.fetch_history()).events
        started = [one.timer_started_event_attributes for one in events if one.event_type == TIMER_STARTED]
        over = {one.timer_canceled_event_attributes.timer_id for one in events}
        if len(started) >= count:
            return [(one.start_to_fire_timeout.ToTimedelta().total_seconds(), one.timer_id in over) for one in started]
        await asyncio.sleep(0.05)


async def test_a_running_region_hears_of_another_tolerance_and_parallelism(harness: Harness) -> None:
    blocked = harness.world.blocked["a1", "health"] = asyncio.Event()
    harness.world.unhealthy.add(("a1", "2.0.0"))
    held = {name: harness.world.blocked.setdefault((name, "activate"), asyncio.Event()) for name in ("a2", "a3")}
    handle = await harness.start(make_plan(["a"], targets=3))
    await asyncio.wait_for(harness.world.entered["a1", "health"].wait(), 60)
    await send(handle, Verb.ADJUST, adjust=Adjustment(failure_tolerance=1), id="1")
    await send(handle, Verb.ADJUST, adjust=Adjustment(region="a", max_parallel=2), id="2")
    rollout = (await handle.query(RolloutWorkflow.status)).rollout_id
    region = harness.client.get_workflow_handle(f"{handle.id}:{rollout}:a")
    for told in ([], ["x"], [{"max_parallel": 2, "tolerance": 1}, "two"]):
        await region.signal("adjust", args=told)
    blocked.set()
    for name, step in held.items():
        await asyncio.wait_for(harness.world.entered[name, "activate"].wait(), 60)
        if name == "a3":
            held["a2"].set()
            step.set()
    result = await harness.finish(handle)
    assert (result.phase, result.regions) == (RolloutPhase.SUCCEEDED, {"a": "succeeded"})


async def test_an_override_lets_a_frozen_region_start_and_says_why(harness: Harness) -> None:
    now = datetime.now(timezone.utc).replace(tzinfo=None)
    frozen = WindowPlan(start=now - timedelta(hours=1), lasts=timedelta(days=2), why="audit")
    plan = with_region(make_plan(["a", "b"]), "b", freezes=(frozen,))
    handle = await harness.start(plan)
    await harness.until_region(handle, "a", state="succeeded")
    for request, says in (
        (VerbRequest(), "an override needs a reason"),
        (VerbRequest(reason="x", regions=("a",)), "a is succeeded: there is nothing to override"),
        (VerbRequest(reason="x", regions=("z",)), "z is no region of this rollout"),
    ):
        with pytest.raises(WorkflowUpdateFailedError) as refused:
            await handle.execute_update(RolloutWorkflow.verb, args=[Verb.OVERRIDE, request])
        assert says in str(refused.value.cause)
    await handle.signal(RolloutWorkflow.override, {"by": "ops", "reason": "security fix"})
    assert (await harness.finish(handle)).phase is RolloutPhase.SUCCEEDED
    (told,) = [e for e in await harness.events("deployment", plan) if e.event_type == "deployment.overridden"]
    assert (told.data["by"], told.data["reason"], told.data["regions"]) == ("ops", "security fix", ["b"])


async def test_an_override_lets_a_region_start_that_is_tried_once_more(harness: Harness) -> None:
    harness.world.unhealthy.add(("a1", "2.0.0"))
    blocked = harness.world.blocked["a1", "health"] = asyncio.Event()
    plan = make_plan(["a"], decision_timeout=600)
    handle = await harness.start(plan.model_copy(update={"heeds_freeze": True}))
    await asyncio.wait_for(harness.world.entered["a1", "health"].wait(), 60)
    await set_freeze(harness.nats, on=True, by="ann", reason="x")
    try:
        blocked.set()
        await harness.until(handle, phase=RolloutPhase.DECISION)
        harness.world.unhealthy.clear()
        await send(handle, Verb.RETRY)
        status = await harness.until(handle, phase=RolloutPhase.ROLLING_OUT)
        while not status.waiting_for:
            await asyncio.sleep(0.05)
            status = await handle.query(RolloutWorkflow.status)
        assert status.waiting_for.startswith("a to be let start: all services are frozen by ann since")
        await handle.signal(RolloutWorkflow.override, {"by": "ops", "reason": "the fix"})
        assert (await harness.finish(handle)).phase is RolloutPhase.SUCCEEDED
    finally:
        await set_freeze(harness.nats, on=False, by="tests")


async def test_retry_runs_only_what_failed_or_the_whole_region(harness: Harness) -> None:
    harness.world.unhealthy.add(("a2", "2.0.0"))
    handle = await harness.start(
        make_plan(["a"], ["b"], targets=3, max_parallel=3, on_failure=OnFailure.PAUSE, decision_timeout=600)
    )
    await harness.until(handle, phase=RolloutPhase.DECISION)
    await send(handle, Verb.RETRY, whole=True)
    await harness.until(handle, phase=RolloutPhase.DECISION)
    assert sorted(harness.world.activations()) == ["a1", "a1", "a2", "a2", "a3", "a3"]
    harness.world.unhealthy.clear()
    await send(handle, Verb.RETRY)
    assert (await harness.finish(handle)).phase is RolloutPhase.SUCCEEDED
    assert harness.world.activations()[6] == "a2"
    assert [one for one in harness.world.activations() if one == "a1"] == ["a1", "a1"]


async def test_what_failed_or_was_skipped_is_tried_once_more_at_the_end(harness: Harness) -> None:
    harness.world.unfit |= {"a1", "b1"}
    opened = harness.world.blocked["c1", "health"] = asyncio.Event()
    plan = make_plan(["a"], ["b"], ["c"], ["d"], targets=2, on_failure=OnFailure.CONTINUE)
    plan = with_region(with_region(plan, "a", tolerance=1), "d", on_failure=OnFailure.ROLLBACK_REGION)
    handle = await harness.start(plan.model_copy(update={"requeue": True}))
    await asyncio.wait_for(harness.world.entered["c1", "health"].wait(), 60)
    harness.world.unfit.clear()
    harness.world.unhealthy.add(("c1", "2.0.0"))
    opened.set()
    result = await harness.finish(handle)
    assert (result.phase, result.regions) == (
        RolloutPhase.SUCCEEDED,
        {"a": "succeeded", "b": "succeeded", "c": "failed", "d": "succeeded"},
    )
    assert harness.world.activations() == ["a2", "c1", "d1", "d2", "a1", "b1", "b2", "c1"]
