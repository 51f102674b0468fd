"""A rollback or a cancellation at every boundary between two steps of a rollout, enumerated: none is lost."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest
from temporalio.client import WorkflowHandle

from fraisier.workflows.contracts import RolloutPhase
from fraisier.workflows.plans import Plan
from fraisier.workflows.rollout import RolloutWorkflow
from tests.support.harness import Ground
from tests.support.simulated import OLD
from tests.workflows.boundaries import AFTER, BEFORE, Boundary, Passage
from tests.workflows.harness import NEW, make_plan

OWN = ("publish", "preflight", "mint_generation", "begin_wave", "ask_gate")
"""The steps that a rollout takes itself, none of a region's."""

TOLD_OF_THE_END = "publish deployment.completed global"

AT_ONCE = 12
"""How many rollouts run beside each other."""

STEPS = ("preflight", "stage", "activate", "check_health", "ask_gate", "mint_generation", "begin_wave")
"""Activities whose effect is looked back on too, with the signal between it and its report; an event is only told."""


def small_rollout() -> Plan:
    """Two waves of one region with one target, and a soak behind each; hosts of its own."""
    plan = make_plan(["a"], ["b"], soak=0.1, final_soak=0.1)
    regions = {
        name: region.model_copy(
            update={
                "targets": tuple(
                    one.model_copy(update={"options": {"host": f"{plan.service}-{one.name}"}}) for one in region.targets
                )
            }
        )
        for name, region in plan.regions.items()
    }
    return plan.model_copy(update={"regions": regions})


async def passage_of(ground: Ground) -> Passage:
    """What a rollout passes that nobody disturbs."""
    plan = small_rollout()
    passage = ground.boundaries.passages[plan.service] = Passage()
    result = await ground.harness.finish(await ground.harness.start(plan))
    assert result.phase is RolloutPhase.SUCCEEDED
    return passage


Act = Callable[[WorkflowHandle[Any, Any]], Awaitable[None]]


@dataclass
class Ended:
    """How a rollout ended, and what each of its targets runs then."""

    phase: RolloutPhase
    runs: set[str]


async def signal(handle: WorkflowHandle[Any, Any]) -> None:
    await handle.signal(RolloutWorkflow.rollback, {"by": "tests", "reason": "to see"})


async def cancel(handle: WorkflowHandle[Any, Any]) -> None:
    await handle.cancel()


async def disturbed_at(ground: Ground, place: Boundary, act: Act) -> Ended:
    """Do that at a boundary of a rollout of its own."""
    plan = small_rollout()
    handle = ground.harness.client.get_workflow_handle_for(RolloutWorkflow.run, f"rollout:{plan.service}")

    async def disturb() -> None:
        await act(handle)
        await handle.query(RolloutWorkflow.status)  # answered after it was taken

    passage = ground.boundaries.passages[plan.service] = Passage({place: disturb})
    result = await asyncio.wait_for((await ground.harness.start(plan)).result(), 120)
    assert not passage.acts, f"{place} was never reached"
    hosts = [host.release for name, host in ground.harness.world.hosts.items() if name.startswith(plan.service)]
    return Ended(result.phase, {release.version if release else "" for release in hosts})


async def disturbed(ground: Ground, places: list[Boundary], act: Act) -> dict[Boundary, Ended]:
    """A rollout for each place, some beside each other."""
    room = asyncio.Semaphore(AT_ONCE)

    async def one(place: Boundary) -> Ended:
        async with room:
            return await disturbed_at(ground, place, act)

    return dict(zip(places, await asyncio.gather(*map(one, places)), strict=True))


@pytest.mark.slow
async def test_a_rollback_at_every_boundary_leaves_the_old_release_everywhere(ground: Ground):
    known = await passage_of(ground)
    assert (known.passed[0], known.passed[-1]) == ("publish deployment.triggered global", TOLD_OF_THE_END)
    assert {"preflight", "stage a1", "activate b1", "check_health b1", "ask_gate", "begin_wave", "prune"} <= {
        *known.passed
    }
    places = known.boundaries(BEFORE) + [one for one in known.boundaries(AFTER) if one.activity.startswith(STEPS)]
    ended = await disturbed(ground, places, signal)
    # The last activity tells of the end: whoever asks while it runs is told that it is too late.
    late = ended.pop(Boundary(TOLD_OF_THE_END, 1, BEFORE))
    assert (late.phase, late.runs) == (RolloutPhase.SUCCEEDED, {NEW.version})
    assert {one.phase for one in ended.values()} == {RolloutPhase.ROLLED_BACK}
    assert {place: one for place, one in ended.items() if one.runs - {OLD.version}} == {}


@pytest.mark.slow
async def test_a_cancellation_at_every_boundary_ends_the_rollout_where_it_is(ground: Ground):
    """At every one of the rollout's own steps: a region is told of it by the rollout, as of a rollback."""
    known = (await passage_of(ground)).boundaries(BEFORE)[:-1]
    ended = await disturbed(ground, [one for one in known if one.activity.startswith(OWN)], cancel)
    assert {one.phase for one in ended.values()} == {RolloutPhase.CANCELLED}
