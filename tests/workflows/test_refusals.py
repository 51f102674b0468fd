"""What is asked of a rollout in vain by a signal, which nobody answers, leaves a trace."""

from fraisier.orchestrator.audit import read_audit
from fraisier.orchestrator.errors import ExitCode
from fraisier.workflows.contracts import RolloutPhase
from fraisier.workflows.rollout import RolloutWorkflow
from tests.support.cli import Cli
from tests.workflows.harness import Harness, make_plan


async def test_refused_misspelled_and_unreadable_signals_are_audited_and_shown(harness: Harness, cli: Cli) -> None:
    plan = make_plan(["a"], final_soak=600)
    handle = await harness.start(plan)
    await harness.until(handle, phase=RolloutPhase.SOAKING)
    await handle.signal("resume", {"by": "ann", "id": "1", "reason": "go"})
    await handle.signal("adjust", {"soak": "ages", "by": "eve"})
    await handle.signal("Roll_back", {"by": "bob", "reason": "errors"})
    await handle.signal("xyzzy", b"\x00\xff")
    for told in ([], ["a"], [{"region": "a", "why": "x"}, "two"], [{"region": "a", "why": "x"}, "two", "three"]):
        await handle.signal("region_waits", args=told)
    await handle.signal("pause", args=["one", "two"])
    status = await handle.query(RolloutWorkflow.status)
    assert (status.phase, status.paused) == (RolloutPhase.SOAKING, True)
    assert status.refused.startswith("xyzzy, by a signal: there is no verb xyzzy; there are pause, resume, rollback,")
    await handle.signal("resume")
    await handle.signal("adjust", {"soak": "0s", "by": "ops"})
    result = await harness.finish(handle)
    assert (result.phase, harness.world.rollbacks()) == (RolloutPhase.SUCCEEDED, [])

    audit = [one async for one in read_audit(harness.bus, plan.service)]
    assert sorted((one.what, one.by, one.refused.partition(";")[0]) for one in audit if one.refused) == [
        ("Roll_back", "bob", "there is no verb Roll_back"),
        ("adjust", "eve", "soak: 'ages' is not a duration: write a number with its unit, such as 45s, 10m or 1h30m"),
        ("resume", "ann", "it is not paused"),
        ("xyzzy", "", "there is no verb xyzzy"),
    ]
    assert [one.about for one in audit if one.what == "adjust" and not one.refused] == [{"soak": "0s"}]
    code, out, _ = await cli("rollout", "audit", plan.service)
    assert (code, "Roll_back (refused)" in out, "did you mean rollback?" in out) == (ExitCode.OK, True, True)
    assert "adjust soak 0s" in out
