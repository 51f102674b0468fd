"""Workflows go on in runs with histories of their own: nothing done twice, nothing forgotten, no message lost."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timezone
from typing import Any

import pytest
from temporalio.client import Client, WorkflowExecution

from fraisier.nats import NatsClient, NatsEventBus, new_event
from fraisier.workflows import policy
from fraisier.workflows.contracts import EDITION, RolloutInput, RolloutPhase
from fraisier.workflows.controls import Controls
from fraisier.workflows.converter import DATA_CONVERTER
from fraisier.workflows.evidence import Evidence
from fraisier.workflows.gatekeeper import Gatekeeper
from fraisier.workflows.plans import PromotionPlan
from fraisier.workflows.requests import Requests
from fraisier.workflows.rollout import RolloutWorkflow
from fraisier.workflows.rollout_state import RolloutState
from fraisier.workflows.sent_verbs import VERB_SENT
from fraisier.workflows.verbs import Verb, VerbRequest
from tests.support.simulated import World
from tests.support.temporal import LONG
from tests.workflows.harness import SECONDS, Harness, make_plan, run_worker, with_region

AT_ONCE = 3
TARGETS = 16
MOST = LONG + AT_ONCE * 25
"""What is under way when a history is long comes on top of it."""


@pytest.fixture
async def harness(
    short_histories: str, nats_client: NatsClient, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Harness]:
    """A worker over simulated targets, for a server that finds histories long early; three steps at once."""
    monkeypatch.setattr(policy, "AT_ONCE", AT_ONCE)
    client = await Client.connect(short_histories, data_converter=DATA_CONVERTER)
    async with run_worker(client, NatsEventBus(nats_client), nats_client, World()) as running:
        yield running


async def runs(harness: Harness, workflow_id: str, *, most: int = MOST) -> list[WorkflowExecution]:
    """Every run of a workflow, oldest first, each replayed and none of them long."""
    found: list[WorkflowExecution] = []
    while not found or any(run.close_time is None for run in found):  # the list lags a little
        found = [run async for run in harness.client.list_workflows(f"WorkflowId = '{workflow_id}'")]
        await asyncio.sleep(0.1)
    for run in found:
        handle = harness.client.get_workflow_handle(run.id, run_id=run.run_id)
        assert len((await handle.fetch_history()).events) <= most
        await harness.replay(run.id, run_id=run.run_id)
    return sorted(found, key=lambda run: run.start_time)


async def order_of(harness: Harness, run: WorkflowExecution) -> dict[str, Any]:
    """What a run was started with."""
    handle = harness.client.get_workflow_handle(run.id, run_id=run.run_id)
    started = (await handle.fetch_history()).events[0].workflow_execution_started_event_attributes
    (order,) = await DATA_CONVERTER.decode(started.input.payloads)
    return dict(order)


def region_id(handle: Any, rollout_id: str, region: str) -> str:
    return f"{handle.id}:{rollout_id}:{region}"


@pytest.mark.parametrize("max_parallel", [1, 10])
async def test_a_region_of_many_targets_goes_on_in_new_runs_and_so_does_its_rollback(
    harness: Harness, max_parallel: int
):
    plan = make_plan(["a"], targets=TARGETS, max_parallel=max_parallel, final_soak=300)
    handle = await harness.start(plan)
    await harness.until(handle, phase=RolloutPhase.SOAKING)
    assert len(harness.world.activations()) == TARGETS
    await handle.signal(RolloutWorkflow.rollback)
    result = await harness.finish(handle)
    assert result.phase is RolloutPhase.ROLLED_BACK
    assert set(harness.world.versions().values()) == {"1.0.0"}
    assert sorted(harness.world.rollbacks()) == sorted(harness.world.activations())
    steps = [effect for effect in harness.world.effects if effect[1] in ("stage", "activate", "rollback")]
    assert len(steps) == len(set(steps)) == 3 * TARGETS
    region = region_id(handle, result.rollout_id, "a")
    for workflow_id, fewest in ((region, 3), (f"{region}:rollback", 2)):
        found = await runs(harness, workflow_id)
        assert len(found) >= fewest
        assert [(await order_of(harness, run))["edition"] for run in found] == [EDITION] * len(found)


MADE_ANEW = {
    RolloutState: {"plan", "_order", "overrides_retries"},
    Controls: {"ballot", "canaries", "decision", "_deciding", "_closing", "_decision"},
    Evidence: {"_order", "_plan", "_early"},
    Gatekeeper: {"_order", "_state", "_controls", "_evidence", "_show"},
    Requests: {"_order", "_state", "_controls", "_obey", "_refuse", "_listening", "_obeying"},
}
"""What a run need not hand over: nothing is asked, voted on, promoted, decided or obeyed when it ends, a generation is
minted anew, and its order holds the plan."""


def test_every_part_of_a_rollout_hands_over_whatever_it_remembers():
    order = RolloutInput(rollout_id="r-1", plan=make_plan(["a"]))
    state, controls, evidence = RolloutState(order, datetime.now(timezone.utc)), Controls(), Evidence(order)

    async def obey(verb: Verb, request: VerbRequest) -> None:
        raise AssertionError(f"{verb} was not sent: {request}")

    async def refuse(verb: str, request: VerbRequest, refusal: str) -> None:
        raise AssertionError(f"{verb} was not sent: {request}, {refusal}")

    requests = Requests(order, state, controls, obey, refuse)
    for part in (
        state,
        controls,
        evidence,
        Gatekeeper(order, state, controls, evidence, on_change=lambda: None),
        requests,
    ):
        assert vars(part).keys() - part.KEPT.keys() == MADE_ANEW[type(part)]
        carried = part.carry()
        part.recall(carried)
        assert part.carry() == carried


REGIONS = tuple(f"r{number:02}" for number in range(12))
FEW = REGIONS[:6]


async def test_a_rollout_of_many_regions_goes_on_in_new_runs_through_a_pause(harness: Harness):
    opened = harness.world.blocked["r061", "activate"] = asyncio.Event()
    handle = await harness.start(make_plan(REGIONS, ["z"], wave_parallel=12))
    await asyncio.wait_for(harness.world.entered["r061", "activate"].wait(), 90)
    await handle.execute_update(RolloutWorkflow.verb, args=[Verb.PAUSE, VerbRequest(by="ann", id="once")])
    before = await handle.query(RolloutWorkflow.status)
    opened.set()
    await harness.until_region(handle, "r06", state="succeeded")
    assert len(harness.world.activations()) < len(REGIONS)
    later = harness.world.blocked["z1", "activate"] = asyncio.Event()
    await handle.execute_update(RolloutWorkflow.verb, args=[Verb.RESUME, VerbRequest(by="ann")])
    await asyncio.wait_for(harness.world.entered["z1", "activate"].wait(), 90)
    repeated = await handle.execute_update(RolloutWorkflow.verb, args=[Verb.PAUSE, VerbRequest(by="ann", id="once")])
    assert not repeated.paused
    later.set()
    result = await harness.finish(handle)
    assert result.phase is RolloutPhase.SUCCEEDED
    assert harness.world.versions() == dict.fromkeys((f"{name}1" for name in (*REGIONS, "z")), "2.0.0")
    assert len(harness.world.activations()) == len(REGIONS) + 1
    after = await handle.query(RolloutWorkflow.status)
    assert (after.started_at, after.rollout_id) == (before.started_at, before.rollout_id)
    assert [wave.state for wave in after.waves] == ["done", "done"]
    assert [gate.verdict for gate in after.gates] == ["pass"]
    assert len(await runs(harness, handle.id)) > 2


async def test_a_rollback_of_many_regions_goes_on_in_new_runs_and_tries_none_twice(harness: Harness):
    harness.world.unhealthy.add(("r031", "1.0.0"))
    handle = await harness.start(make_plan(REGIONS, wave_parallel=12, final_soak=300))
    await harness.until(handle, phase=RolloutPhase.SOAKING)
    await handle.signal(RolloutWorkflow.rollback, {"by": "ann", "reason": "errors"})
    result = await harness.finish(handle)
    assert result.phase is RolloutPhase.FAILED
    assert (
        result.reason == "rollback asked by ann: errors; not everywhere: r03: r031: back on 1.0.0, but not healthy: 503"
    )
    assert sorted(harness.world.rollbacks()) == sorted(f"{name}1" for name in REGIONS)
    assert set(harness.world.versions().values()) == {"1.0.0"}
    assert result.undo is not None
    assert [*result.undo.regions] == ["r03"]
    assert len(await runs(harness, handle.id)) > 3


async def test_a_canary_and_verbs_that_come_as_events_outlive_a_new_run_and_take_effect_once(harness: Harness):
    plan = make_plan(FEW, ["z"], targets=2, max_parallel=2, wave_parallel=6)
    for name in ("r00", "z"):
        plan = with_region(plan, name, canary=1, promotion=PromotionPlan(timeout=600 * SECONDS))
    plan = plan.model_copy(update={"heeds_events": True})
    handle = await harness.start(plan)
    await harness.until_region(handle, "r00", state="canary")
    rollout = (await handle.query(RolloutWorkflow.status)).rollout_id

    async def send(*verbs: str) -> None:
        for verb in verbs:
            data = {"verb": verb, "by": "ann"}
            event = new_event(VERB_SENT, deployment_id=rollout, region="global", service=plan.service, data=data)
            await harness.bus.publish_event(event)

    await send("pause")
    await harness.until(handle, paused=True)
    await send("resume", "pause", "resume")
    promotion = [Verb.PROMOTE, VerbRequest(by="ann", id="once")]
    await handle.execute_update(RolloutWorkflow.verb, args=promotion)
    await harness.until_region(handle, "z", state="canary")
    await handle.execute_update(RolloutWorkflow.verb, args=promotion)
    await send("pause")
    await harness.until(handle, paused=True)
    assert "z2" not in harness.world.activations()
    await handle.execute_update(RolloutWorkflow.verb, args=[Verb.PROMOTE, VerbRequest(by="bob", id="twice")])
    await send("resume")
    result = await harness.finish(handle)
    assert result.phase is RolloutPhase.SUCCEEDED
    assert sorted(harness.world.activations()) == sorted(f"{name}{n}" for name in (*FEW, "z") for n in (1, 2))
    assert len(await runs(harness, handle.id, most=2 * MOST)) > 2  # the verbs come on top of it
    told = [event.event_type.partition(".")[2] for event in await harness.events("deployment", plan)]
    assert [one for one in told if one in ("paused", "resumed")] == ["paused", "resumed"] * 3
    assert (told.count("promoted"), told.count("verb_refused")) == (2, 0)


async def test_the_round_of_what_was_left_behind_goes_on_in_new_runs_and_takes_each_target_once(harness: Harness):
    harness.world.unfit |= {f"{name}1" for name in FEW}
    opened = harness.world.blocked["z1", "activate"] = asyncio.Event()
    plan = make_plan(FEW, ["z"], targets=2, wave_parallel=6, tolerance=1)
    handle = await harness.start(plan.model_copy(update={"requeue": True}))
    await asyncio.wait_for(harness.world.entered["z1", "activate"].wait(), 90)
    harness.world.unfit.clear()
    opened.set()
    result = await harness.finish(handle)
    assert result.phase is RolloutPhase.SUCCEEDED
    assert set(harness.world.versions().values()) == {"2.0.0"}
    assert sorted(harness.world.activations()) == sorted(f"{name}{n}" for name in (*FEW, "z") for n in (1, 2))
    assert len(await runs(harness, handle.id)) > 2
