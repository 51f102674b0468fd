"""What a rollout does beside an event that is not stored yet, and what it does not."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from fraisier.nats import NatsClient, NatsEventBus
from fraisier.providers.hooks import Hook, Hooks, Moments
from fraisier.workflows.contracts import RolloutPhase
from fraisier.workflows.steps import EventInput
from tests.support.production import until
from tests.support.simulated import World
from tests.workflows.harness import Harness, make_plan, run_worker


class Held(Interceptor):
    """Keeps the event that a region starts from being published until `stored` is set."""

    def __init__(self) -> None:
        self.stored = asyncio.Event()

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002
        return _Publisher(next, self.stored)


class _Publisher(ActivityInboundInterceptor):
    def __init__(self, after: ActivityInboundInterceptor, stored: asyncio.Event) -> None:
        super().__init__(after)
        self._stored = stored

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002
        event = input.args[0]
        if isinstance(event, EventInput) and event.event_type == "deployment.started":
            await self._stored.wait()
        return await self.next.execute_activity(input)


@pytest.fixture
def held() -> Held:
    return Held()


@pytest.fixture
async def harness(temporal_client: Client, nats_client: NatsClient, held: Held) -> AsyncIterator[Harness]:
    bus = NatsEventBus(nats_client)
    async with run_worker(temporal_client, bus, nats_client, World(), interceptors=[held]) as running:
        yield running


async def history_of(harness: Harness, workflow_id: str) -> list[HistoryEvent]:
    handle = harness.client.get_workflow_handle(workflow_id)
    return [event async for event in handle.fetch_history_events()]


def scheduled(events: list[HistoryEvent]) -> dict[str, int]:
    """By activity, after which workflow task it was first asked for."""
    found: dict[str, int] = {}
    for event in events:
        asked = event.activity_task_scheduled_event_attributes
        if event.HasField("activity_task_scheduled_event_attributes"):
            found.setdefault(asked.activity_type.name, asked.workflow_task_completed_event_id)
    return found


async def first_region(harness: Harness, workflow_id: str) -> str:
    """The workflow of the rollout's first region, once it has asked for its first activity."""
    child = ""

    async def asked() -> bool:
        nonlocal child
        for event in await history_of(harness, workflow_id):
            child = event.child_workflow_execution_started_event_attributes.workflow_execution.workflow_id or child
        return bool(child and scheduled(await history_of(harness, child)))

    await until(asked)
    return child


async def test_a_region_stages_beside_the_event_of_its_start_and_activates_nothing_before_it(
    harness: Harness, held: Held
) -> None:
    handle = await harness.start(make_plan(["a"]))
    region = await first_region(harness, handle.id)

    async def decided_on_what_was_staged() -> bool:
        kinds = [event.WhichOneof("attributes") for event in await history_of(harness, region)]
        staged = "activity_task_completed_event_attributes"
        return staged in kinds and "workflow_task_completed_event_attributes" in kinds[kinds.index(staged) :]

    await until(decided_on_what_was_staged)
    assert harness.world.effects == [("a1", "stage", "2.0.0")]
    assert [*scheduled(await history_of(harness, region))] == ["publish", "stage"]
    held.stored.set()
    assert (await harness.finish(handle)).phase is RolloutPhase.SUCCEEDED
    assert harness.world.activations() == ["a1"]


async def test_a_region_whose_hooks_come_first_stages_after_them(harness: Harness, held: Held) -> None:
    hooks = Hooks(region=Moments(before=(Hook(run=("warm",), on="host"),)))
    handle = await harness.start(make_plan(["a"], hooks=hooks))
    region = await first_region(harness, handle.id)
    assert [*scheduled(await history_of(harness, region))] == ["publish"]
    held.stored.set()
    assert (await harness.finish(handle)).phase is RolloutPhase.SUCCEEDED
    assert [what for _, what, _ in harness.world.effects][:2] == ["warm", "stage"]


async def test_a_region_is_told_to_be_done_while_old_releases_are_removed(harness: Harness, held: Held) -> None:
    held.stored.set()
    pruned = harness.world.blocked["a1", "prune"] = asyncio.Event()
    plan = make_plan(["a"])
    handle = await harness.start(plan)

    async def told() -> bool:
        events = await harness.events("deployment", plan)
        return any(one.event_type == "deployment.completed" and one.data["scope"] == "region" for one in events)

    await until(told)
    assert "prune" not in [what for _, what, _ in harness.world.effects]
    assert (await harness.client.get_workflow_handle(handle.id).describe()).close_time is None
    pruned.set()
    assert (await harness.finish(handle)).phase is RolloutPhase.SUCCEEDED
    assert ("a1", "prune", "2.0.0") in harness.world.effects


async def test_the_first_generation_is_minted_beside_the_preflight(harness: Harness, held: Held) -> None:
    held.stored.set()
    handle = await harness.start(make_plan(["a"]))
    await harness.finish(handle)
    asked = scheduled(await history_of(harness, handle.id))
    assert asked["mint_generation"] == asked["preflight"]
