"""What commands tell of a rollout: until when it waits, and what a success went without."""

import json
import re
from datetime import datetime, timedelta, timezone

from fraisier.orchestrator.errors import ExitCode
from fraisier.workflows.contracts import RolloutPhase
from fraisier.workflows.plans import PromotionPlan
from fraisier.workflows.rollout import RolloutWorkflow
from tests.support.cli import Cli
from tests.workflows.harness import Harness, make_plan, with_region

MARGIN = timedelta(minutes=5)
HOUR = timedelta(hours=1)


async def test_a_success_says_everywhere_what_it_went_without(harness: Harness, cli: Cli) -> None:
    harness.world.unhealthy.add(("a1", "2.0.0"))
    plan = make_plan(["a"], ["b"], ["c"], targets=2, tolerance=1, soak=3600)
    handle = await harness.start(plan)
    await harness.until(handle, phase=RolloutPhase.SOAKING)
    await handle.signal(RolloutWorkflow.adjust, {"drop": ["b", "c"], "soak": "0s"})
    assert (await harness.finish(handle)).without == "2 regions dropped, 1 target failed"
    told = "succeeded, 2 regions dropped, 1 target failed"
    for command in (("status", plan.service), ("history", plan.service), ("list",)):
        code, out, error = await cli("rollout", *command)
        rows = [line for line in out.splitlines() if plan.service in line or "tests" in line]
        assert (code, told in " ".join(rows)) == (ExitCode.OK, True), (command, out, error)
    code, out, _ = await cli("rollout", "watch", plan.service)
    last = f"{plan.service} 2.0.0 runs in 1 of 3 regions; not in b (dropped), c (dropped), 1 of 2 targets of a"
    assert (code, out.splitlines()[-1]) == (ExitCode.OK, last)


async def test_it_says_until_when_it_waits_unless_a_pause_stops_the_clock(harness: Harness, cli: Cli) -> None:
    plan = with_region(
        make_plan(["a"], targets=2, final_soak=3600), "a", canary=1, promotion=PromotionPlan(timeout=HOUR)
    )
    handle = await harness.start(plan)
    await harness.until_region(handle, "a", state="canary")
    assert near(await _told(cli, plan.service, "waiting for a to be promoted: promote, until (.*) UTC"))
    await handle.signal(RolloutWorkflow.promote)
    await harness.until(handle, phase=RolloutPhase.SOAKING)
    assert near(await _told(cli, plan.service, "the soak after the last wave; rollback is armed, until (.*) UTC"))
    code, out, _ = await cli("pause", plan.service)
    assert (code, re.search("rollback is armed$", out, re.MULTILINE) is not None) == (ExitCode.OK, True), out
    assert f"fraisier resume {plan.service} lets it go on; fraisier rollout audit {plan.service} tells who" in out
    code, out, _ = await cli("rollout", "status", plan.service, "--output", "json")
    assert (code, json.loads(out)["until"]) == (ExitCode.OK, None)
    await handle.signal(RolloutWorkflow.resume)
    await handle.signal(RolloutWorkflow.adjust, {"soak": "2h"})
    assert near(await _told(cli, plan.service, "rollback is armed, until (.*) UTC"), HOUR * 2)
    await handle.signal(RolloutWorkflow.cancel)
    assert (await harness.finish(handle)).phase is RolloutPhase.CANCELLED


async def test_a_decision_and_a_gate_say_until_when_they_wait(harness: Harness) -> None:
    harness.world.unhealthy.add(("a1", "2.0.0"))
    plan = make_plan(["a"], ["b"], decision_timeout=3600, gate_timeout=7200)
    handle = await harness.start(plan)
    await harness.until(handle, phase=RolloutPhase.DECISION)
    status = await handle.query(RolloutWorkflow.status)
    assert status.until is not None
    assert near(status.until)
    harness.world.unhealthy.clear()
    harness.world.silent.add(("a1", "health.check_passed"))
    await handle.signal(RolloutWorkflow.retry)
    await harness.until(handle, phase=RolloutPhase.GATE)
    status = await handle.query(RolloutWorkflow.status)
    assert status.until is not None
    assert near(status.until, HOUR * 2)
    await handle.signal(RolloutWorkflow.cancel)
    assert (await harness.finish(handle)).phase is RolloutPhase.CANCELLED


async def _told(cli: Cli, service: str, pattern: str) -> datetime:
    code, out, _ = await cli("rollout", "status", service)
    found = re.search(pattern, out)
    assert code == ExitCode.OK
    assert found is not None, out
    return datetime.fromisoformat(found[1]).replace(tzinfo=timezone.utc)


def near(at: datetime, ahead: timedelta = HOUR) -> bool:
    """Whether a time lies about so far ahead."""
    return abs(at - datetime.now(timezone.utc) - ahead) < MARGIN
