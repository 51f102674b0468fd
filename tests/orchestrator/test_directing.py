"""The verbs that are told more than who and why, from the command line."""

import json
from typing import Any

from fraisier.orchestrator.errors import ExitCode
from fraisier.workflows.contracts import RolloutPhase
from fraisier.workflows.plans import OnFailure, PromotionPlan
from tests.support.cli import Cli
from tests.workflows.harness import SECONDS, Harness, make_plan, with_region


async def test_a_rollout_is_promoted_adjusted_and_tried_again_from_the_command_line(harness: Harness, cli: Cli) -> None:
    harness.world.unhealthy.add(("a2", "2.0.0"))
    plan = make_plan(["a"], ["b"], targets=2, soak=600, on_failure=OnFailure.PAUSE, decision_timeout=600)
    plan = with_region(plan, "a", canary=1, promotion=PromotionPlan(timeout=600 * SECONDS))
    handle = await harness.start(plan)
    await harness.until_region(handle, "a", state="canary")

    async def refused(*arguments: str) -> Any:
        code, _, error = await cli(*arguments)
        assert code == ExitCode.REFUSED
        return error

    assert "no canary of b waits, only of a" in await refused("promote", plan.service, "--region", "b")
    assert "nothing keeps a region from starting" in await refused("override", plan.service, "--reason", "x")
    assert "say what shall be otherwise" in await refused("adjust", plan.service)
    code, _, error = await cli("adjust", plan.service, "--soak", "10")
    assert (code, "soak: '10' is not a duration" in error) == (ExitCode.INVALID, True)
    code, out, _ = await cli("promote", plan.service, "--by", "ann", "--reason", "looks good")
    assert code == ExitCode.OK, out

    await harness.until(handle, phase=RolloutPhase.DECISION)
    harness.world.unhealthy.clear()
    # A verb needs Temporal alone: whether NATS answers is the rollout's own concern.
    code, _, _ = await cli("retry", plan.service, "--by", "ann", NATS_SERVERS="nats://127.0.0.1:1")
    assert code == ExitCode.OK
    await harness.until(handle, phase=RolloutPhase.SOAKING)
    code, _, _ = await cli("adjust", plan.service, "--by", "bob", "--soak", "0s", "--failure-tolerance", "1")
    assert code == ExitCode.OK
    assert (await harness.finish(handle)).phase is RolloutPhase.SUCCEEDED
    assert harness.world.activations()[:3] == ["a1", "a2", "a2"]

    _, out, _ = await cli("rollout", "audit", plan.service, "--output", "json")
    assert [(one["what"], one["by"], one["reason"]) for one in json.loads(out)] == [
        ("start", "tests", ""),
        ("promote", "ann", "looks good"),
        ("retry", "ann", ""),
        ("adjust", "bob", ""),
    ]
    assert json.loads(out)[-1]["about"] == {"soak": "0s", "failure_tolerance": 1}
