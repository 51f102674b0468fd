"""What our own publishers really put into events is what the catalogue says; and no gate counts what it cannot read."""

import asyncio
import json

import pytest

from fraisier.nats import NatsEventBus, new_event
from fraisier.providers.health import Sighting
from fraisier.providers.lifecycle import LifecycleProvider
from fraisier.providers.models import FencingToken, HealthCheck, ReleaseRef, Step
from fraisier.workflows.contracts import RolloutPhase
from fraisier.workflows.gate_plans import GatePlan
from fraisier.workflows.gate_steps import GateInput, RegionExpectation, Verdict
from fraisier.workflows.gates.events import EventGate
from fraisier.workflows.jetstream import JetStreamLog
from fraisier.workflows.rollout import RolloutWorkflow
from tests.support.catalogue import told
from tests.workflows.harness import SECONDS, Harness, make_plan

RELEASE = ReleaseRef(version="2.0.0", digest="sha256:" + "2" * 64)
PASSED = "health.check_passed"


async def test_a_rollout_with_every_turn_tells_what_is_catalogued(harness: Harness) -> None:
    harness.world.silent.add(("a1", PASSED))
    harness.world.unhealthy.add(("b1", "2.0.0"))
    handle = await harness.start(make_plan(["a"], ["b"], gate_timeout=1, final_soak=600, decision_timeout=600))
    await harness.until(handle, phase=RolloutPhase.DECISION)
    await handle.signal(RolloutWorkflow.skip, {"by": "ops"})
    await asyncio.wait_for(harness.world.entered["b1", "rollback"].wait(), 60)
    await harness.until(handle, phase=RolloutPhase.DECISION)
    harness.world.unhealthy.clear()
    await handle.signal(RolloutWorkflow.retry, {"by": "ops"})
    await harness.until(handle, phase=RolloutPhase.SOAKING)
    for verb in ("pause", "resume", "rollback"):
        await handle.signal(verb, {"by": "ops", "reason": "errors", "id": verb})
    result = await harness.finish(handle)
    assert result.phase is RolloutPhase.ROLLED_BACK
    deployment = "triggered wave_started started completed failed rolled_back gate_inconclusive paused resumed"
    asked = "skip_requested retry_requested rollback_requested"
    assert await told(harness.bus, result.rollout_id) == {
        *(f"deployment.{event}" for event in f"{deployment} {asked}".split()),
        PASSED,
        "health.check_failed",
    }


@pytest.mark.parametrize(
    ("sighting", "kind"),
    [
        (Sighting(passed=True, detail="200"), PASSED),
        (Sighting(passed=False, detail="503"), "health.check_failed"),
        (Sighting(passed=False, detail="", answered=False), "health.check_timeout"),
    ],
)
async def test_a_providers_steps_tell_what_is_catalogued(bus: NatsEventBus, sighting: Sighting, kind: str) -> None:
    token = FencingToken(generation=1, ordinal=1, attempt=1)
    step = Step(rollout_id="r1", service="api", region="eu", target="a", name="health", token=token)
    provider = LifecycleProvider(event_bus=bus, region="eu")

    async def probe() -> Sighting:
        return sighting

    async def tail() -> str:
        return "its last line"

    check = HealthCheck(command=("true",), interval="60s", healthy_after=1, progress_deadline="60s")
    await provider.conclude_health(step, RELEASE, check, probe=probe, tail=tail)
    await provider.tell(step, "deployment.rolled_back", None, detail="nothing ran before")
    outcome = "completed" if sighting.passed else "failed"
    assert await told(bus, "r1") == {
        "health.check_started",
        kind,
        f"deployment.{outcome}",
        "deployment.rolled_back",
    }


@pytest.mark.parametrize("change", [{"dataschema": f"urn:fraisier:event:{PASSED}:9"}, {"attempts": "many"}])
async def test_a_gate_does_not_open_on_a_payload_that_it_cannot_read(
    bus: NatsEventBus, change: dict[str, object]
) -> None:
    data = {"release_digest": RELEASE.digest, "generation": 7}
    good = new_event(PASSED, deployment_id="r1", region="eu", service="api", target="a", data=data)
    body = json.loads(good.to_json())
    body = {**body, **change} if "dataschema" in change else {**body, "data": data | change}
    await bus.ensure_streams()
    await bus.client.jetstream.publish(good.subject, json.dumps(body).encode())
    log = JetStreamLog(bus, bus.client)
    asked = GateInput(
        gate=GatePlan(name="healthy", event=PASSED, timeout=SECONDS),
        rollout_id="r1",
        service="api",
        digest=RELEASE.digest,
        regions={"eu": RegionExpectation(targets=("a",), tolerance=0, generation=7)},
        after=0,
        seconds_left=1,
    )

    async def ask() -> EventGate:
        gate = EventGate(asked)
        gate.take([fact async for fact in log.facts(event_type=PASSED, rollout_id="r1", service="api", after=0)])
        return gate

    gate = await ask()
    assert gate.judge() is None
    assert gate.expired().verdict is Verdict.INCONCLUSIVE
    assert "unreadable body" in gate.expired().detail
    await bus.publish_event(good.model_copy(update={"event_id": "another"}))
    report = (await ask()).judge()
    assert report is not None
    assert report.verdict is Verdict.PASS
