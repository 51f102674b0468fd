"""Verbs that come as events: heeded from who may send them, for this rollout, this gate and this wave, and else not."""

import asyncio
import logging
from typing import Any

import pytest

from fraisier.nats import new_event
from fraisier.workflows.contracts import RolloutPhase
from fraisier.workflows.gate_plans import Approval, GatePlan
from fraisier.workflows.gate_steps import Fact
from fraisier.workflows.plans import Plan
from fraisier.workflows.rollout import RolloutWorkflow
from fraisier.workflows.sent_verbs import VERB_SENT, next_sent
from fraisier.workflows.steps import ListenInput
from fraisier.workflows.verbs import Verb
from tests.workflows.harness import SECONDS, Harness, make_plan

ASKED = ListenInput(rollout_id="r1", service="api", digest="sha256:2", regions=("eu", "us"), after=5)


def fact(
    sequence: int = 6, *, region: str = "global", rollout_id: str = "r1", service: str = "api", **data: Any
) -> Fact:
    return Fact(
        event_type=VERB_SENT, region=region, service=service, rollout_id=rollout_id, sequence=sequence, data=data
    )


@pytest.mark.parametrize(
    "forged",
    [
        fact(verb="approve", region="eu"),
        fact(verb="resume", region="eu"),
        fact(verb="pause", region="asia"),
        fact(verb="pause", rollout_id="r0"),
        fact(verb="pause", service="web"),
        fact(5, verb="pause"),
        fact(verb="rollback"),
        fact(verb="pause", release_digest="sha256:1"),
        fact(verb="pause").model_copy(update={"problem": "unreadable"}),
        fact(verb="pause").model_copy(update={"event_type": "deployment.paused"}),
        fact(),
    ],
)
def test_what_may_not_be_asked_so_is_passed_over(forged: Fact) -> None:
    assert next_sent([forged], ASKED) is None
    sent = next_sent([forged, fact(7, verb="approve", by="ann", gate="sign-off", wave=1)], ASKED)
    assert sent is not None
    assert (sent.sequence, sent.verb, sent.request.by, sent.request.id) == (7, Verb.APPROVE, "ann", "event 7")


def test_a_region_may_hold_the_rollout_that_it_is_part_of() -> None:
    sent = next_sent([fact(verb="pause", region="eu", by="eu-watchdog", reason="errors")], ASKED)
    assert sent is not None
    assert (sent.verb, sent.request.by, sent.request.reason) == (Verb.PAUSE, "eu-watchdog", "errors")


async def test_listening_ends_with_the_rollout_and_is_no_defect_in_the_log(
    harness: Harness, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "temporalio")
    handle = await harness.start(make_plan(["a"]).model_copy(update={"heeds_events": True}))
    assert (await harness.finish(handle)).phase is RolloutPhase.SUCCEEDED
    for _ in range(600):  # until a heartbeat is answered that its workflow is over
        ended = [one for one in caplog.records if one.message.startswith("Completing activity as failed")]
        if ended:
            break
        await asyncio.sleep(0.1)
    assert {(one.levelname, "its workflow, or this attempt, is over" in str(one.exc_info)) for one in ended} == {
        ("DEBUG", True)
    }
    assert [one.message for one in caplog.records if "heard no more" in one.message] == []


async def test_people_vote_and_hold_by_events_and_nobody_else_opens_the_gate(harness: Harness) -> None:
    approval = Approval(approvers=("ann", "bob"), quorum=2)
    gate = GatePlan(name="sign-off", approval=approval, timeout=600 * SECONDS)
    plan = make_plan(["a"], ["b"]).model_copy(update={"gates": (gate,), "heeds_events": True})
    handle = await harness.start(plan)
    status = await harness.until(handle, phase=RolloutPhase.GATE)

    async def send(region: str = "global", rollout: str = status.rollout_id, **data: Any) -> None:
        event = new_event(VERB_SENT, deployment_id=rollout, region=region, service=plan.service, data=data)
        await harness.bus.publish_event(event)

    vote = {"verb": "approve", "gate": "sign-off", "wave": 1}
    await send(**vote, by="ann", region="a")
    await send(**vote, by="ann", rollout="r-earlier")
    await send(**vote | {"wave": 2}, by="ann")
    await send(**vote, by="ann", generation=999)
    await send(**vote, by="mallory")
    await send(**vote, by="bob", reason="looks good")
    await send(verb="pause", region="b", by="watchdog")
    await harness.until(handle, paused=True)
    assert (await handle.query(RolloutWorkflow.status)).gates[0].detail == "bob approves (looks good)"
    assert harness.world.activations() == ["a1"]
    await send(verb="resume", by="ops")
    await send(**vote, by="ann")
    assert (await harness.finish(handle)).phase is RolloutPhase.SUCCEEDED
    assert await _told(harness, plan) == [
        ("deployment.approved", "bob"),
        ("deployment.paused", "watchdog"),
        ("deployment.resumed", "ops"),
        ("deployment.approved", "ann"),
    ]


async def _told(harness: Harness, plan: Plan) -> list[tuple[str, str]]:
    """What took effect, and who asked."""
    kinds = ("approved", "rejected", "paused", "resumed")
    events = await harness.events("deployment", plan)
    return [(e.event_type, e.data["by"]) for e in events if e.event_type.partition(".")[2] in kinds]
