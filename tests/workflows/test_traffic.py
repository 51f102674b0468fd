"""Targets behind proxies: out of traffic before they change, back only when healthy, also on the way back."""

import pytest

from fraisier.providers.traffic.models import CommandTraffic, Traffic
from fraisier.workflows.contracts import RolloutPhase
from fraisier.workflows.region_rollback import RegionRollbackWorkflow
from fraisier.workflows.rollout import RolloutWorkflow
from tests.workflows.harness import Harness, make_plan

PROXIES = Traffic(command=CommandTraffic(drain=("true",), undrain=("true",)))
STEPS = ("drain", "activate", "rollback", "undrain")


def story(harness: Harness) -> list[str]:
    return [f"{what} {target}" for target, what, _ in harness.world.effects if what in STEPS]


async def test_a_target_changes_only_out_of_traffic(harness: Harness):
    handle = await harness.start(make_plan(["a"], targets=2, final_soak=300, traffic=PROXIES))
    await harness.until(handle, phase=RolloutPhase.SOAKING)
    assert story(harness) == [f"{what} a{n}" for n in (1, 2) for what in ("drain", "activate", "undrain")]
    harness.world.effects.clear()
    await handle.signal(RolloutWorkflow.rollback)
    assert (await harness.finish(handle)).phase is RolloutPhase.ROLLED_BACK
    assert story(harness) == [f"{what} a{n}" for n in (2, 1) for what in ("drain", "rollback", "undrain")]


async def test_what_is_not_healthy_stays_out_of_traffic_until_it_is_back(harness: Harness):
    harness.world.unhealthy.add(("a1", "2.0.0"))
    result = await harness.finish(await harness.start(make_plan(["a"], targets=2, traffic=PROXIES)))
    assert result.regions == {"a": "rolled_back"}
    assert story(harness) == ["drain a1", "activate a1", "drain a1", "rollback a1", "undrain a1"]


@pytest.mark.parametrize(
    ("refused", "region", "steps"),
    [
        ("drain", "rolled_back", ["rollback a1", "undrain a1"]),
        ("undrain", "rollback_failed", ["drain a1", "activate a1", "drain a1", "rollback a1"]),
    ],
)
async def test_a_proxy_that_refuses_fails_the_target_but_keeps_none_from_going_back(
    harness: Harness, refused: str, region: str, steps: list[str]
):
    harness.world.refused.add(("a1", refused))
    plan = make_plan(["a"], traffic=PROXIES)
    result = await harness.finish(await harness.start(plan))
    assert (result.phase, result.regions) == (RolloutPhase.FAILED, {"a": region})
    assert f"the proxy does not {refused} a1" in result.reason
    assert story(harness) == steps
    assert harness.world.versions() == {"a1": "1.0.0"}
    back = harness.client.get_workflow_handle_for(
        RegionRollbackWorkflow.run, f"rollout:{plan.service}:{result.rollout_id}:a:rollback"
    )
    assert bool((await back.result()).error) == (refused == "undrain")
