"""A gate that asks people, answered from the command line."""

import json

from fraisier.orchestrator.errors import ExitCode
from fraisier.workflows.contracts import RolloutPhase
from fraisier.workflows.gate_plans import Approval, GatePlan
from fraisier.workflows.rollout import RolloutWorkflow
from tests.support.cli import Cli
from tests.workflows.harness import SECONDS, Harness, make_plan


async def test_nobody_in_time_is_inconclusive_and_a_rejection_takes_the_wave_back(harness: Harness, cli: Cli) -> None:
    approval = Approval(approvers=("ann", "bob"))
    gates = (
        GatePlan(name="early", approval=approval, timeout=5 * SECONDS),
        GatePlan(name="sign-off", approval=approval, timeout=600 * SECONDS),
    )
    plan = make_plan(["a"], ["b"], decision_timeout=600).model_copy(update={"gates": gates})
    handle = await harness.start(plan)
    status = await harness.until(handle, phase=RolloutPhase.DECISION)
    assert "gate early after wave 1: inconclusive: no votes: 0 of 1 approvals in time" in status.waiting_for
    code, _, error = await cli("approve", plan.service, "--by", "ann")
    assert (code, "no gate waits for approval" in error) == (ExitCode.REFUSED, True)

    await handle.signal(RolloutWorkflow.skip)
    await harness.until(handle, phase=RolloutPhase.GATE)
    code, out, _ = await cli("rollout", "status", plan.service)
    assert "waiting for gate sign-off of wave 1: 0 of 1 approvals; send approve or reject, by ann, bob" in out
    code, _, error = await cli("approve", plan.service, "--by", "dave")
    assert (code, "takes the votes of ann, bob, not of dave" in error) == (ExitCode.REFUSED, True)
    code, _, _ = await cli("reject", plan.service, "--by", "bob", "--reason", "errors in eu")
    assert code == ExitCode.OK
    status = await harness.until(handle, phase=RolloutPhase.DECISION)
    assert "gate sign-off after wave 1: fail: bob rejects (errors in eu)" in status.waiting_for
    assert harness.world.versions() == {"a1": "1.0.0", "b1": "1.0.0"}
    await handle.signal(RolloutWorkflow.cancel)
    await harness.finish(handle)

    code, out, _ = await cli("rollout", "audit", plan.service, "--output", "json")
    assert [(one["what"], one["by"], one["reason"]) for one in json.loads(out)][1:3] == [
        ("skip", "", ""),
        ("reject", "bob", "errors in eu"),
    ]
    code, out, _ = await cli("events", "tail", "--all", "--no-follow", "--service", plan.service)
    assert "gate sign-off after wave 1 was rejected by bob: errors in eu" in out
