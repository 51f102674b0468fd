"""What the gate before a wave said is stored before anything else is told, and before any region of the wave starts."""

import asyncio
import dataclasses
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

from temporalio import activity
from temporalio.testing import ActivityEnvironment

from fraisier.nats import new_event
from fraisier.workflows.activities.events import EventActivities
from fraisier.workflows.contracts import RolloutPhase, RolloutResult
from fraisier.workflows.gate_plans import CommandMeasure, GatePlan
from fraisier.workflows.gate_steps import Onward, Verdict
from fraisier.workflows.jetstream import JetStreamLog
from fraisier.workflows.plans import Plan, Preflight
from fraisier.workflows.rollout import RolloutWorkflow
from fraisier.workflows.steps import EventInput, WaveInput
from tests.support.harness import Ground
from tests.support.production import until
from tests.workflows.boundaries import AFTER, BEFORE, Passage
from tests.workflows.harness import SECONDS, Harness, make_gate_input, make_plan

STARTED, PASSED = "deployment.wave_started", "deployment.gate_passed"
MEASURED = GatePlan(
    name="true", measure=CommandMeasure(argv=("true",)), pass_if="exit_status == 0", timeout=90 * SECONDS
)
"""A gate that passes at once, by an activity that begins no wave."""


def an_event(service: str, event_type: str, step: str, **data: Any) -> EventInput:
    common = {"version": "2.0.0", "release_digest": "sha256:2", "scope": "rollout"}
    return EventInput(
        event_type=event_type, rollout_id="r1", service=service, region="global", step=step, data=common | data
    )


async def test_a_wave_that_begins_twice_is_told_once_after_what_was_owed(harness: Harness) -> None:
    service = f"api-{uuid.uuid4().hex[:8]}"
    passed = an_event(service, PASSED, "gate.1", gate="healthy", wave=1, detail="all", evidence=[1])
    started = an_event(service, STARTED, "2.wave", wave=2, regions=["b"], generation=2)
    asked = WaveInput(owed=passed, positions=("health.check_passed", "metrics.error_rate"), started=started)
    activities = EventActivities(JetStreamLog(harness.bus, harness.nats))
    first = await ActivityEnvironment().run(activities.begin_wave, asked)
    healthy = new_event("health.check_passed", deployment_id="r1", region="a", service=service, data={})
    stored = await harness.bus.publish_event(healthy)
    again = await ActivityEnvironment().run(activities.begin_wave, asked)
    assert set(first.positions) == {"health.check_passed", "metrics.error_rate"}
    assert first.positions["health.check_passed"] < stored.sequence <= again.positions["health.check_passed"]
    told = [event async for event in harness.bus.read("deployment", service=service)]
    assert [event.event_type for event in told if hasattr(event, "event_type")] == [PASSED, STARTED]


async def test_a_pass_that_a_lost_attempt_has_told_stands(harness: Harness) -> None:
    service = f"api-{uuid.uuid4().hex[:8]}"
    passed = an_event(service, PASSED, "gate.1", gate="healthy", wave=1)
    started = an_event(service, STARTED, "2.wave", wave=2, regions=["b"], generation=2)
    asked = make_gate_input().model_copy(
        update={
            "service": service,
            "rollout_id": "r1",
            "onward": Onward(passed=passed, wave=WaveInput(positions=("health.check_passed",), started=started)),
            "seconds_left": 0,
        }
    )
    log = JetStreamLog(harness.bus, harness.nats)
    told = passed.model_copy(update={"data": passed.data | {"detail": "a 1 of 1", "evidence": [7]}})
    await log.publish(told)
    again = ActivityEnvironment()
    again.info = dataclasses.replace(again.info, attempt=2)
    report = await again.run(EventActivities(log).ask_gate, asked)
    assert (report.verdict, report.detail, report.evidence) == (Verdict.PASS, "a 1 of 1", (7,))
    assert report.begun is not None


async def test_a_pass_that_an_attempt_beside_this_one_tells_first_stands(harness: Harness) -> None:
    service = f"api-{uuid.uuid4().hex[:8]}"
    passed = an_event(service, PASSED, "gate.1", gate="healthy", wave=1)
    started = an_event(service, STARTED, "2.wave", wave=2, regions=["b"], generation=2)
    onward = Onward(passed=passed, wave=WaveInput(positions=("health.check_passed",), started=started))
    asked = make_gate_input().model_copy(update={"service": service, "rollout_id": "r1", "onward": onward})
    told = passed.model_copy(update={"data": passed.data | {"detail": "a 1 of 1", "evidence": [7]}})

    about = {"deployment_id": "r1", "region": "a", "service": service, "target": "a1"}
    data = {"release_digest": asked.digest, "generation": 1, "scope": "target"}
    await harness.bus.publish_event(new_event("health.check_passed", **about, data=data))
    log = JetStreamLog(harness.bus, harness.nats)
    await log.publish(told)
    report = await ActivityEnvironment().run(EventActivities(log).ask_gate, asked)
    assert (report.verdict, report.evidence) == (Verdict.PASS, (7,))
    assert report.begun is not None


async def disturbed(
    ground: Ground, plan: Plan, name: str, when: str, act: Callable[[Any], Awaitable[None]]
) -> tuple[RolloutResult, list[str]]:
    """Do something at a rollout's last activity of a name; returns the result, and what the whole rollout told."""
    harness, passages = ground.harness, ground.boundaries.passages
    service = f"{plan.service}-quiet"
    release = plan.release.model_copy(update={"service": service})
    quiet = plan.model_copy(update={"service": service, "release": release})
    passage = passages[service] = Passage()
    await harness.finish(await harness.start(quiet))
    place = next(one for one in reversed(passage.boundaries(when)) if one.activity == name)
    handle = harness.client.get_workflow_handle_for(RolloutWorkflow.run, f"rollout:{plan.service}")

    async def do() -> None:
        await act(handle)

    passage = passages[plan.service] = Passage({place: do})
    result = await harness.finish(await harness.start(plan))
    assert not passage.acts
    told = await harness.events("deployment", plan)
    return result, [event.event_type.partition(".")[2] for event in told if event.region == "global"]


async def test_a_rollout_that_is_paused_before_a_wave_tells_what_its_gate_said_first(ground: Ground) -> None:
    plan = make_plan(["a"], ["b"]).model_copy(update={"gates": (MEASURED,)})

    async def pause(handle: Any) -> None:
        await handle.signal(RolloutWorkflow.pause, {"by": "ops"})
        await until(lambda: told_of(ground.harness, plan, "deployment.paused"))
        await handle.signal(RolloutWorkflow.resume, {"by": "ops"})

    result, told = await disturbed(ground, plan, "begin_wave", BEFORE, pause)
    assert result.phase is RolloutPhase.SUCCEEDED
    assert told[:4] == ["triggered", "wave_started", "gate_passed", "paused"]
    assert told.count("gate_passed") == 1


async def told_of(harness: Harness, plan: Plan, event_type: str) -> bool:
    return any(event.event_type == event_type for event in await harness.events("deployment", plan))


async def test_a_rollout_that_is_cancelled_before_a_wave_tells_what_its_gate_said_first(ground: Ground) -> None:
    async def cancel(handle: Any) -> None:
        await handle.cancel()
        while True:  # until the activity hears of it
            activity.heartbeat()
            await asyncio.sleep(0.05)

    plan = make_plan(["a"], ["b"]).model_copy(update={"gates": (MEASURED,)})
    result, told = await disturbed(ground, plan, "begin_wave", BEFORE, cancel)
    assert result.phase is RolloutPhase.CANCELLED
    assert told == ["triggered", "wave_started", "gate_passed", "cancelled"]


async def test_a_pause_that_comes_when_a_gate_has_begun_the_wave_holds_its_regions(ground: Ground) -> None:
    plan = make_plan(["a"], ["b"])

    resuming: list[asyncio.Task[bool]] = []

    async def held_and_resumed(handle: Any) -> bool:
        await until(lambda: told_of(ground.harness, plan, "deployment.paused"))
        held = ground.harness.world.activations().count("b1") == 1  # that of the rollout before
        await handle.signal(RolloutWorkflow.resume, {"by": "ops"})
        return held

    async def pause(handle: Any) -> None:
        await handle.signal(RolloutWorkflow.pause, {"by": "ops"})
        await ground.harness.until(handle, paused=True)
        resuming.append(asyncio.create_task(held_and_resumed(handle)))

    result, told = await disturbed(ground, plan, "ask_gate", AFTER, pause)
    assert await asyncio.gather(*resuming) == [True]
    assert result.phase is RolloutPhase.SUCCEEDED
    begun = [one for one in told if one in ("wave_started", "gate_passed")]
    assert begun == ["wave_started", "gate_passed", "wave_started"]


async def test_an_attempt_that_is_lost_after_it_told_of_a_pass_tells_of_no_other_verdict(ground: Ground) -> None:
    plan = make_plan(["a"], ["b"])

    async def lose(handle: Any) -> None:
        rollout = (await handle.query(RolloutWorkflow.status)).rollout_id
        started = next(e for e in await ground.harness.events("deployment", plan) if e.event_type == STARTED)
        ill = {"release_digest": plan.release.digest, "generation": started.data["generation"], "scope": "target"}
        event = new_event(
            "health.check_failed", deployment_id=rollout, region="a", service=plan.service, target="a1", data=ill
        )
        await ground.harness.bus.publish_event(event)
        raise RuntimeError("the worker is lost")

    result, told = await disturbed(ground, plan, "ask_gate", AFTER, lose)
    assert result.phase is RolloutPhase.SUCCEEDED
    assert told == ["triggered", "wave_started", "gate_passed", "wave_started", "completed"]


async def test_a_wave_that_is_adjusted_when_the_gate_has_begun_it_begins_as_it_is_now(ground: Ground) -> None:
    plan = make_plan(["a"], ["b", "c"])

    async def drop(handle: Any) -> None:
        await handle.signal(RolloutWorkflow.adjust, {"by": "ops", "drop": ["c"]})
        await handle.query(RolloutWorkflow.status)  # answered after it was taken

    result, told = await disturbed(ground, plan, "ask_gate", AFTER, drop)
    assert result.phase is RolloutPhase.SUCCEEDED
    assert (told.count("gate_passed"), told.count("wave_started")) == (1, 3)
    waves = [e.data["regions"] for e in await ground.harness.events("deployment", plan) if e.event_type == STARTED]
    assert waves == [["a"], ["b", "c"], ["b"]]


async def test_a_gate_whose_pass_cannot_be_told_lets_no_wave_start(harness: Harness) -> None:
    for gates in ((MEASURED,), make_plan(["a"]).gates):
        opened = harness.world.blocked["a1", "activate"] = asyncio.Event()
        harness.world.entered["a1", "activate"].clear()
        plan = make_plan(["a"], ["b"]).model_copy(update={"gates": gates})
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
    told = [name.partition(" ")[0] for name in passage.passed]
    own = [name for name in told if name in ("publish", "preflight", "ask_gate", "begin_wave")]
    asked = own.index("ask_gate")
    assert own[asked + 1 : asked + 4] == ["publish", "preflight", "begin_wave"]


async def test_a_rollback_is_heeded_while_a_gate_waits_for_the_generation_of_the_next_wave(ground: Ground) -> None:
    heeded = asyncio.Event()

    async def roll_back(handle: Any) -> None:
        await handle.signal(RolloutWorkflow.rollback, {"by": "ops"})
        await until(lambda: goes_back(handle))  # nobody mints until then
        heeded.set()

    result, told = await disturbed(ground, make_plan(["a"], ["b"]), "mint_generation", BEFORE, roll_back)
    assert (result.phase, result.regions) == (RolloutPhase.ROLLED_BACK, {"a": "rolled_back"})
    assert heeded.is_set()
    assert "gate_passed" not in told


async def goes_back(handle: Any) -> bool:
    activity.heartbeat()
    status = await handle.query(RolloutWorkflow.status)
    return status.phase in (RolloutPhase.ROLLING_BACK, RolloutPhase.ROLLED_BACK)
