"""What the gate before a wave said is stored before anything else is told, and before any region of the wave starts."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from temporalio import activity
from temporalio.testing import ActivityEnvironment

from fraisier.nats import new_event
from fraisier.workflows.activities.events import EventActivities
from fraisier.workflows.contracts import RolloutPhase, RolloutResult
from fraisier.workflows.jetstream import JetStreamLog
from fraisier.workflows.plans import Plan, Preflight
from fraisier.workflows.rollout import RolloutWorkflow
from fraisier.workflows.steps import EventInput, WaveInput
from tests.support.harness import Ground
from tests.support.production import until
from tests.workflows.boundaries import BEFORE, Passage
from tests.workflows.harness import Harness, make_plan

STARTED, PASSED = "deployment.wave_started", "deployment.gate_passed"


def an_event(event_type: str, step: str, **data: Any) -> EventInput:
    common = {"version": "2.0.0", "release_digest": "sha256:2", "scope": "rollout"}
    return EventInput(
        event_type=event_type, rollout_id="r1", service="api-begun", region="global", step=step, data=common | data
    )


async def test_a_wave_that_begins_twice_is_told_once_after_what_was_owed(harness: Harness) -> None:
    passed = an_event(PASSED, "gate.1", gate="healthy", wave=1, detail="all", evidence=[1])
    started = an_event(STARTED, "2.wave", wave=2, regions=["b"], generation=2)
    asked = WaveInput(owed=passed, positions=("health.check_passed", "metrics.error_rate"), started=started)
    activities = EventActivities(JetStreamLog(harness.bus, harness.nats))
    first = await ActivityEnvironment().run(activities.begin_wave, asked)
    healthy = new_event("health.check_passed", deployment_id="r1", region="a", service="api-begun", data={})
    stored = await harness.bus.publish_event(healthy)
    again = await ActivityEnvironment().run(activities.begin_wave, asked)
    assert set(first.positions) == {"health.check_passed", "metrics.error_rate"}
    assert first.positions["health.check_passed"] < stored.sequence <= again.positions["health.check_passed"]
    told = [event async for event in harness.bus.read("deployment", service="api-begun")]
    assert [event.event_type for event in told if hasattr(event, "event_type")] == [PASSED, STARTED]


async def disturbed(
    ground: Ground, plan: Plan, number: int, act: Callable[[Any], Awaitable[None]]
) -> tuple[RolloutResult, list[str]]:
    """Do something before an activity of a rollout; returns its result and the whole rollout's events in order."""
    handle = ground.harness.client.get_workflow_handle_for(RolloutWorkflow.run, f"rollout:{plan.service}")

    async def do() -> None:
        await act(handle)

    passage = ground.boundaries.passages[plan.service] = Passage({(number, BEFORE): do})
    result = await ground.harness.finish(await ground.harness.start(plan))
    assert not passage.acts
    told = await ground.harness.events("deployment", plan)
    return result, [event.event_type.partition(".")[2] for event in told if event.region == "global"]


async def told_of(harness: Harness, plan: Plan, event_type: str) -> bool:
    return any(event.event_type == event_type for event in await harness.events("deployment", plan))


async def second_start(ground: Ground) -> int:
    """The number of the activity that begins the second wave of a rollout of two regions."""
    plan = make_plan(["a"], ["b"])
    passage = ground.boundaries.passages[plan.service] = Passage()
    await ground.harness.finish(await ground.harness.start(plan))
    (_, second) = [number for number, name in enumerate(passage.passed, start=1) if name == "begin_wave"]
    assert passage.passed[second - 2].startswith(("ask_gate", "mint_generation"))  # nothing lies between
    return second


async def test_a_rollout_that_is_paused_before_a_wave_tells_what_its_gate_said_first(ground: Ground) -> None:
    number, plan = await second_start(ground), make_plan(["a"], ["b"])

    async def pause(handle: Any) -> None:
        await handle.signal(RolloutWorkflow.pause, {"by": "ops"})
        await until(lambda: told_of(ground.harness, plan, "deployment.paused"))
        await handle.signal(RolloutWorkflow.resume, {"by": "ops"})

    result, told = await disturbed(ground, plan, number, pause)
    assert result.phase is RolloutPhase.SUCCEEDED
    assert told[:4] == ["triggered", "wave_started", "gate_passed", "paused"]
    assert told.count("gate_passed") == 1


async def test_a_rollout_that_is_cancelled_before_a_wave_tells_what_its_gate_said_first(ground: Ground) -> None:
    number = await second_start(ground)

    async def cancel(handle: Any) -> None:
        await handle.cancel()
        while True:  # until the activity hears of it
            activity.heartbeat()
            await asyncio.sleep(0.05)

    result, told = await disturbed(ground, make_plan(["a"], ["b"]), number, cancel)
    assert result.phase is RolloutPhase.CANCELLED
    assert told == ["triggered", "wave_started", "gate_passed", "cancelled"]


async def test_a_gate_whose_pass_cannot_be_told_lets_no_wave_start(harness: Harness) -> None:
    opened = harness.world.blocked["a1", "activate"] = asyncio.Event()
    plan = make_plan(["a"], ["b"])
    handle = await harness.start(plan)
    await asyncio.wait_for(harness.world.entered["a1", "activate"].wait(), 60)
    rollout = (await handle.query(RolloutWorkflow.status)).rollout_id
    another = new_event(
        PASSED, deployment_id=rollout, region="global", service=plan.service, data={"gate": "no"}, step="gate.1"
    )
    await harness.bus.publish_event(another)
    opened.set()
    result = await harness.finish(handle)
    assert result.phase is RolloutPhase.FAILED
    assert "an event could not be stored: event" in result.reason
    assert harness.world.versions()["b1"] == "1.0.0"
    told = [event.event_type for event in await harness.events("deployment", plan) if event.region == "global"]
    assert told.count(STARTED) == 1


async def test_a_gate_whose_wave_is_looked_at_first_is_told_before_that(ground: Ground) -> None:
    plan = make_plan(["a"], ["b"], preflight=Preflight.WAVE)
    passage = ground.boundaries.passages[plan.service] = Passage()
    await ground.harness.finish(await ground.harness.start(plan))
    own = [name for name in passage.passed if name in ("publish", "preflight", "ask_gate", "begin_wave")]
    asked = own.index("ask_gate")
    assert own[asked + 1 : asked + 4] == ["publish", "preflight", "begin_wave"]
