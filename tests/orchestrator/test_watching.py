"""Watching a rollout to its end, whichever end it has."""

import asyncio

from fraisier.nats import Event
from fraisier.orchestrator.client import FraisierClient
from fraisier.workflows.contracts import RolloutPhase
from fraisier.workflows.status import RolloutStatus
from tests.workflows.harness import Harness, make_plan


async def watched(rollouts: FraisierClient, service: str) -> list[RolloutStatus | Event]:
    """All that is told until the end."""
    return [news async for news in rollouts.watch(service)]


async def test_the_end_and_every_event_before_it_are_told(harness: Harness, rollouts: FraisierClient):
    plan = make_plan(["a"], ["b"])
    await harness.start(plan)
    news = await asyncio.wait_for(watched(rollouts, plan.service), 90)
    told = {one.event_type for one in news if isinstance(one, Event)}
    assert {"deployment.triggered", "deployment.gate_passed", "deployment.completed"} <= told
    last = [one for one in news if isinstance(one, RolloutStatus)][-1]
    assert last.phase is RolloutPhase.SUCCEEDED


async def test_a_rollout_that_is_ended_from_outside_is_watched_no_longer(harness: Harness, rollouts: FraisierClient):
    plan = make_plan(["a"], final_soak=300)
    handle = await harness.start(plan)
    await harness.until(handle, phase=RolloutPhase.SOAKING)
    watching = asyncio.create_task(watched(rollouts, plan.service))
    await asyncio.sleep(0)
    await handle.terminate("by hand")
    news = await asyncio.wait_for(watching, 90)
    assert [one for one in news if isinstance(one, RolloutStatus)][-1].phase is RolloutPhase.SOAKING
