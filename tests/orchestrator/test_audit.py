"""Who asked for what is told by the streams, whichever way it was asked."""

import json

from fraisier.orchestrator.errors import ExitCode
from fraisier.workflows.contracts import RolloutPhase
from fraisier.workflows.rollout import RolloutWorkflow
from fraisier.workflows.verbs import Verb, VerbRequest
from tests.support.cli import Cli
from tests.workflows.harness import Harness, make_plan


async def test_starts_and_verbs_are_listed_with_their_actors(harness: Harness, cli: Cli):
    plan = make_plan(["a"], final_soak=300)
    handle = await harness.start(plan)
    await harness.until(handle, phase=RolloutPhase.SOAKING)
    await handle.execute_update(RolloutWorkflow.verb, args=[Verb.PAUSE, VerbRequest(by="ops", reason="[look]", id="1")])
    await handle.execute_update(RolloutWorkflow.verb, args=[Verb.PAUSE, VerbRequest(by="ops", reason="[look]", id="1")])
    await handle.signal("rollback")
    rollout = (await harness.finish(handle)).rollout_id

    code, out, _ = await cli("rollout", "audit", plan.service, "--output", "json")
    assert code == ExitCode.OK
    assert [(one["what"], one["by"], one["reason"]) for one in json.loads(out)] == [
        ("start", "tests", ""),
        ("pause", "ops", "[look]"),
        ("rollback", "", ""),
    ]
    assert {(one["rollout_id"], one["version"]) for one in json.loads(out)} == {(rollout, "2.0.0")}
    code, out, _ = await cli("rollout", "audit", plan.service)
    assert code == ExitCode.OK
    assert "[look]" in out
    code, out, _ = await cli("events", "tail", "--all", "--no-follow", "--rollout", rollout)
    assert "paused by ops: [look]" in out
    assert "rollback was asked for by a signal" in out


async def test_history_tells_how_every_rollout_ended(harness: Harness, cli: Cli):
    plan = make_plan(["a"], final_soak=300)
    first = await harness.start(plan)
    await harness.until(first, phase=RolloutPhase.SOAKING)
    await first.execute_update(
        RolloutWorkflow.verb, args=[Verb.ROLLBACK, VerbRequest(by="ops", reason="[slow]", id="1")]
    )
    back = (await harness.finish(first)).rollout_id
    second = await harness.start(plan)
    await harness.until(second, phase=RolloutPhase.SOAKING)

    code, out, _ = await cli("rollout", "history", plan.service, "--output", "json")
    assert code == ExitCode.OK
    newest, oldest = json.loads(out)
    assert (newest["outcome"], newest["ended_at"], newest["version"], newest["by"]) == ("", None, "2.0.0", "tests")
    assert (oldest["rollout_id"], oldest["outcome"]) == (back, "rolled_back")
    assert "[slow]" in oldest["reason"]
    assert oldest["started_at"] < oldest["ended_at"] < newest["started_at"]
    code, out, _ = await cli("rollout", "history", plan.service)
    assert code == ExitCode.OK
    assert "rolled back" in out
    await second.signal("cancel")
    await harness.finish(second)
