"""Gates that measure, ask people or wait for the calendar, over simulated targets on real Temporal and NATS servers."""

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from temporalio.client import WorkflowUpdateFailedError

from fraisier.nats import new_event
from fraisier.workflows.contracts import RolloutPhase
from fraisier.workflows.gate_plans import Approval, CommandMeasure, GatePlan, HttpMeasure, Measure, MetricMeasure
from fraisier.workflows.plans import Plan, WindowPlan
from fraisier.workflows.rollout import RolloutWorkflow
from fraisier.workflows.verbs import Verb, VerbRequest
from tests.support.web_page import WebPage
from tests.workflows.harness import SECONDS, Harness, make_plan


def plan_with(*gates: GatePlan, decision_timeout: float = 300) -> Plan:
    return make_plan(["a"], ["b"], decision_timeout=decision_timeout).model_copy(update={"gates": gates})


def measuring(measure: Measure, pass_if: str, *, timeout: float = 90, **more: Any) -> GatePlan:
    return GatePlan(
        name=measure.kind, measure=measure, pass_if=pass_if, timeout=timeout * SECONDS, interval=SECONDS / 2, **more
    )


async def test_an_http_gate_measures_until_a_condition_decides(harness: Harness, web_page: WebPage) -> None:
    web_page.body = '{"db": "starting"}'
    plan = plan_with(measuring(HttpMeasure(url=web_page.url), 'json.db == "up"', fail_if="status >= 500"))
    handle = await harness.start(plan)
    await web_page.visited(3)
    assert harness.world.activations() == ["a1"]
    web_page.body = '{"db": "up"}'
    assert (await harness.finish(handle)).phase is RolloutPhase.SUCCEEDED
    (shown,) = (await handle.query(RolloutWorkflow.status)).gates
    assert (shown.verdict, shown.measured["status"], shown.measured["body"]) == ("pass", 200, '{"db": "up"}')
    (told,) = [e for e in await harness.events("deployment", plan) if e.event_type == "deployment.gate_passed"]
    assert told.data["measured"]["body"] == '{"db": "up"}'
    assert told.data["detail"].endswith(': so json.db == "up"')


async def test_a_command_that_says_no_fails_the_gate_and_a_dry_run_decides_nothing(
    harness: Harness, web_page: WebPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NATS_PASSWORD", "not-for-commands")
    web_page.status = 503
    says = 'echo "$FRAISIER_VERSION ${NATS_PASSWORD:-untold}"; exit 3'
    plan = plan_with(
        measuring(HttpMeasure(url=web_page.url), "status == 200", dry_run=True),
        measuring(CommandMeasure(argv=("sh", "-c", says)), "exit_status == 0"),
        decision_timeout=0,
    )
    handle = await harness.start(plan)
    result = await harness.finish(handle)
    assert (result.phase, result.regions) == (RolloutPhase.FAILED, {"a": "rolled_back"})
    assert "gate command after wave 1: fail: exit_status 3, stdout 2.0.0 untold: not exit_status == 0" in result.reason
    dry, real = (await handle.query(RolloutWorkflow.status)).gates
    assert (dry.verdict, dry.dry_run, dry.measured["status"]) == ("fail", True, 503)
    assert (real.verdict, real.dry_run, real.measured["exit_status"]) == ("fail", False, 3)


async def _metric(harness: Harness, service: str, value: float, region: str = "a") -> None:
    await harness.bus.publish_event(
        new_event("metrics.error_rate", deployment_id="monitor", region=region, service=service, data={"value": value})
    )


async def test_a_metric_gate_counts_what_was_published_since_the_wave_began_and_nothing_foreign(
    harness: Harness,
) -> None:
    measure = MetricMeasure(event="metrics.error_rate", over=timedelta(hours=1))
    plan = plan_with(measuring(measure, "value < 0.01 && count > 1", fail_if="value > 0.5"))
    await _metric(harness, plan.service, 0.0)
    await _metric(harness, plan.service, 0.0)
    handle = await harness.start(plan)
    await harness.until(handle, phase=RolloutPhase.GATE)
    await _metric(harness, "another", 0.9)
    await _metric(harness, plan.service, 0.9, region="b")
    await _metric(harness, plan.service, 0.001)
    await _metric(harness, plan.service, 0.003)
    assert (await harness.finish(handle)).phase is RolloutPhase.SUCCEEDED
    (shown,) = (await handle.query(RolloutWorkflow.status)).gates
    assert (shown.verdict, shown.measured) == ("pass", {"a.value": 0.002, "a.count": 2})


async def test_people_approve_once_each_and_a_pause_holds_what_they_decided(harness: Harness) -> None:
    approval = Approval(approvers=("ann", "bob", "cleo"), quorum=2)
    plan = plan_with(GatePlan(name="sign-off", approval=approval, timeout=300 * SECONDS))
    handle = await harness.start(plan)

    async def vote(by: str, number: str, reason: str = "") -> str:
        try:
            request = VerbRequest(by=by, reason=reason, id=number)
            return (await handle.execute_update(RolloutWorkflow.verb, args=[Verb.APPROVE, request])).waiting_for
        except WorkflowUpdateFailedError as error:
            return str(error.cause)

    await harness.until(handle, phase=RolloutPhase.GATE)
    assert "takes the votes of ann, bob, cleo, not of dave" in await vote("dave", "1")
    assert "1 of 2 approvals; send approve or reject, by bob, cleo" in await vote("ann", "2", "looks good")
    assert "1 of 2 approvals" in await vote("ann", "2", "looks good")
    assert "ann has voted already: approve" in await vote("ann", "3")
    await handle.signal(RolloutWorkflow.approve, {"by": "dave"})
    await handle.signal(RolloutWorkflow.pause)
    await handle.signal(RolloutWorkflow.approve, {"by": "bob", "id": "4"})
    status = await harness.until(handle, paused=True)
    assert harness.world.activations() == ["a1"]
    await handle.signal(RolloutWorkflow.resume)
    assert (await harness.finish(handle)).phase is RolloutPhase.SUCCEEDED
    (shown,) = (await handle.query(RolloutWorkflow.status)).gates
    assert (shown.verdict, shown.detail) == ("pass", "ann approves (looks good), bob approves")
    votes = [e for e in await harness.events("deployment", plan) if e.event_type == "deployment.approved"]
    assert [(e.data["by"], e.data["reason"], e.data["gate"], e.data["wave"]) for e in votes] == [
        ("ann", "looks good", "sign-off", 1),
        ("bob", "", "sign-off", 1),
    ]
    assert status.rollout_id == votes[0].deployment_id


def _freeze(lasts: timedelta) -> WindowPlan:
    now = datetime.now(timezone.utc).replace(tzinfo=None, microsecond=0)
    return WindowPlan(start=now - timedelta(hours=1), lasts=lasts + timedelta(hours=1), why="audit")


async def test_a_frozen_region_starts_when_the_freeze_ends_and_another_can_still_go_back(harness: Harness) -> None:
    plan = make_plan(["a"], ["b", "c"])
    short, long = _freeze(8 * SECONDS), _freeze(timedelta(days=2))
    regions = plan.regions | {
        "b": plan.regions["b"].model_copy(update={"freezes": (short,)}),
        "c": plan.regions["c"].model_copy(update={"time_zone": "Asia/Tokyo", "freezes": (_shifted(long, 9),)}),
    }
    handle = await harness.start(plan.model_copy(update={"regions": regions}))
    await harness.until_region(handle, "b", state="succeeded")
    status = await handle.query(RolloutWorkflow.status)
    assert status.waiting_for.startswith("c to be let start: a freeze (audit), until ")
    assert "Asia/Tokyo, " in status.waiting_for
    assert harness.world.activations() == ["a1", "b1"]
    began = [e for e in await harness.events("deployment", plan) if e.event_type == "deployment.started"]
    ended = (short.start + short.lasts).replace(tzinfo=timezone.utc)
    assert all(e.time >= ended for e in began if e.region == "b")
    await handle.signal(RolloutWorkflow.rollback)
    assert (await harness.finish(handle)).phase is RolloutPhase.ROLLED_BACK
    assert (await handle.query(RolloutWorkflow.status)).waiting_for == ""
    assert set(harness.world.versions().values()) == {"1.0.0"}


def _shifted(window: WindowPlan, hours: int) -> WindowPlan:
    """The same window by the clocks of another zone."""
    return window.model_copy(update={"start": window.start + timedelta(hours=hours)})


async def test_a_region_that_fails_is_not_kept_waiting_by_one_that_is_frozen(harness: Harness) -> None:
    harness.world.unhealthy.add(("a1", "2.0.0"))
    plan = make_plan(["a", "b"])
    frozen = plan.regions["b"].model_copy(update={"freezes": (_freeze(timedelta(days=2)),)})
    handle = await harness.start(plan.model_copy(update={"regions": plan.regions | {"b": frozen}}))
    result = await harness.finish(handle)
    assert (result.phase, result.regions) == (RolloutPhase.FAILED, {"a": "rolled_back"})
