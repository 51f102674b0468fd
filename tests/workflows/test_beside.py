"""What a rollout does beside an event that is not stored yet, and what it does not."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client
from temporalio.exceptions import ApplicationError
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from fraisier.nats import NatsClient, NatsEventBus
from fraisier.providers.hooks import Hook, Hooks, Moments
from fraisier.workflows import policy
from fraisier.workflows.contracts import RolloutPhase
from fraisier.workflows.converter import DATA_CONVERTER
from fraisier.workflows.plans import Plan
from fraisier.workflows.rollout import RolloutWorkflow
from fraisier.workflows.steps import EventInput
from tests.support.production import until
from tests.support.simulated import World
from tests.workflows.harness import Harness, make_plan, run_worker

MANY = 40


class Held(Interceptor):
    """Keeps the event that a region starts from being published until `stored` is set; then it may be `refused`."""

    def __init__(self) -> None:
        self.stored = asyncio.Event()
        self.refused = False

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002
        return _Publisher(next, self)


class _Publisher(ActivityInboundInterceptor):
    def __init__(self, after: ActivityInboundInterceptor, held: Held) -> None:
        super().__init__(after)
        self._held = held

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002
        event = input.args[0]
        if isinstance(event, EventInput) and event.event_type == "deployment.started":
            await self._held.stored.wait()
            if self._held.refused:
                raise ApplicationError("the stream takes no more", non_retryable=True)
        return await self.next.execute_activity(input)


@pytest.fixture
def held() -> Held:
    return Held()


@pytest.fixture
async def harness(temporal_client: Client, nats_client: NatsClient, held: Held) -> AsyncIterator[Harness]:
    bus = NatsEventBus(nats_client)
    async with run_worker(temporal_client, bus, nats_client, World(), interceptors=[held]) as running:
        yield running


async def history_of(harness: Harness, workflow_id: str) -> Sequence[HistoryEvent]:
    return (await harness.client.get_workflow_handle(workflow_id).fetch_history()).events


def scheduled(events: Sequence[HistoryEvent]) -> list[tuple[str, int]]:
    """The activities that were asked for, and after which workflow task each was."""
    asked = [
        event.activity_task_scheduled_event_attributes
        for event in events
        if event.HasField("activity_task_scheduled_event_attributes")
    ]
    return [(one.activity_type.name, one.workflow_task_completed_event_id) for one in asked]


async def first_region(harness: Harness, workflow_id: str) -> str:
    """The workflow of the rollout's first region, once it has asked for its first activity."""
    child = ""

    async def asked() -> bool:
        nonlocal child
        for event in await history_of(harness, workflow_id):
            child = child or event.child_workflow_execution_started_event_attributes.workflow_execution.workflow_id
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
    assert [name for name, _ in scheduled(await history_of(harness, region))] == ["publish", "stage"]
    held.stored.set()
    assert (await harness.finish(handle)).phase is RolloutPhase.SUCCEEDED
    assert harness.world.activations() == ["a1"]


async def test_a_region_whose_hooks_come_first_stages_after_them(harness: Harness, held: Held) -> None:
    hooks = Hooks(region=Moments(before=(Hook(run=("warm",), on="host"),)))
    handle = await harness.start(make_plan(["a"], hooks=hooks))
    region = await first_region(harness, handle.id)
    assert [name for name, _ in scheduled(await history_of(harness, region))] == ["publish"]
    held.stored.set()
    assert (await harness.finish(handle)).phase is RolloutPhase.SUCCEEDED
    assert [what for _, what, _ in harness.world.effects][:2] == ["warm", "stage"]


async def is_told(harness: Harness, plan: Plan, event_type: str) -> bool:
    """Whether a region's event of the type is stored."""
    events = await harness.events("deployment", plan)
    return any(one.event_type == event_type and one.data["scope"] == "region" for one in events)


async def is_at(harness: Harness, region: str, name: str) -> bool:
    """Whether an activity is all that is under way, and nothing is to be decided on."""
    told = (await harness.client.get_workflow_handle(region).describe()).raw_description
    return [one.activity_type.name for one in told.pending_activities] == [name] and not told.HasField(
        "pending_workflow_task"
    )


async def test_a_region_is_told_to_be_done_while_old_releases_are_removed(harness: Harness, held: Held) -> None:
    held.stored.set()
    pruned = harness.world.blocked["a1", "prune"] = asyncio.Event()
    plan = make_plan(["a"])
    handle = await harness.start(plan)
    await until(lambda: is_told(harness, plan, "deployment.completed"))
    region = await first_region(harness, handle.id)
    await until(lambda: is_at(harness, region, "prune"))
    assert "prune" not in [what for _, what, _ in harness.world.effects]
    assert (await harness.client.get_workflow_handle(region).describe()).close_time is None
    pruned.set()
    assert (await harness.finish(handle)).phase is RolloutPhase.SUCCEEDED
    assert ("a1", "prune", "2.0.0") in harness.world.effects


async def test_a_region_that_is_cancelled_from_outside_while_old_releases_are_removed_is_done(
    harness: Harness, held: Held
) -> None:
    held.stored.set()
    harness.world.blocked["a1", "prune"] = asyncio.Event()
    plan = make_plan(["a"])
    handle = await harness.start(plan)
    await until(lambda: is_told(harness, plan, "deployment.completed"))
    await harness.client.get_workflow_handle(await first_region(harness, handle.id)).cancel()
    assert (await harness.finish(handle)).phase is RolloutPhase.SUCCEEDED
    assert not await is_told(harness, plan, "deployment.rolled_back")


async def test_a_region_whose_start_cannot_be_told_stages_no_further(harness: Harness, held: Held) -> None:
    held.refused = True
    staging = harness.world.blocked["a1", "stage"] = asyncio.Event()
    handle = await harness.start(make_plan(["a"], targets=3))
    region = await first_region(harness, handle.id)
    await asyncio.wait_for(harness.world.entered["a1", "stage"].wait(), 60)
    held.stored.set()
    result = await harness.finish(handle)  # though a1 is never staged
    kinds = [event.WhichOneof("attributes") for event in await history_of(harness, region)]
    asked_to_end = kinds.index("activity_task_cancel_requested_event_attributes")
    assert "activity_task_completed_event_attributes" in kinds[asked_to_end:]  # and was waited for
    assert not staging.is_set()
    assert result.phase is RolloutPhase.FAILED
    assert "the stream takes no more" in result.reason
    assert harness.world.activations() == []


async def test_the_first_generation_is_minted_beside_the_preflight(harness: Harness, held: Held) -> None:
    held.stored.set()
    plan = make_plan(["a"])
    handle = await harness.start(plan)
    await harness.finish(handle)
    asked = scheduled(await history_of(harness, handle.id))
    (minted,) = [after for name, after in asked if name == "mint_generation"]
    assert ("preflight", minted) in asked


@pytest.fixture
async def long_harness(
    short_histories: str, nats_client: NatsClient, held: Held, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Harness]:
    """The same, where three targets are staged at a time, and a region's history is soon long enough."""
    monkeypatch.setattr(policy, "AT_ONCE", 3)
    client = await Client.connect(short_histories, data_converter=DATA_CONVERTER)
    bus = NatsEventBus(nats_client)
    async with run_worker(client, bus, nats_client, World(), interceptors=[held]) as running:
        yield running


@pytest.mark.parametrize("verb", [RolloutWorkflow.cancel, RolloutWorkflow.pause])
async def test_what_a_region_hears_before_its_next_run_begins_counts_there(
    long_harness: Harness, held: Held, verb: Any
) -> None:
    harness = long_harness
    handle = await harness.start(make_plan(["a"], targets=MANY, max_parallel=10))
    region = await first_region(harness, handle.id)
    await until(lambda: is_at(harness, region, "publish"))
    assert 0 < len(harness.world.effects) < MANY
    await handle.signal(verb, {"by": "ann"})
    heard = {RolloutWorkflow.cancel: "stop", RolloutWorkflow.pause: "hold"}[verb]
    await until(lambda: is_signalled(harness, region, heard))
    held.stored.set()
    if verb is RolloutWorkflow.pause:
        await until(lambda: is_staged(harness))
        await handle.signal(RolloutWorkflow.cancel, {"by": "ann"})
    assert (await harness.finish(handle)).phase is RolloutPhase.CANCELLED
    assert harness.world.activations() == []


async def is_signalled(harness: Harness, region: str, name: str) -> bool:
    return name in [told for told, _ in await harness.signals(region)]


async def is_staged(harness: Harness) -> bool:
    return len(harness.world.effects) == MANY
