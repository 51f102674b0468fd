"""A gate waits while NATS is killed, or the leader of its stream: it decides right, and is never started anew."""

import asyncio
from functools import partial
from typing import Any

import nats.errors
import pytest
from nats.js.errors import APIError
from temporalio.client import Client

from fraisier.nats import NatsClient, NatsEventBus, new_event
from fraisier.nats.streams import STREAMS
from fraisier.workflows.contracts import RolloutPhase
from fraisier.workflows.plans import Plan
from tests.support.cluster import Cluster
from tests.support.nats import NatsServer, eventually
from tests.support.production import until
from tests.support.simulated import World
from tests.workflows.harness import Harness, make_plan, run_worker

STREAM = STREAMS["health"]
FIRST, SECOND = "us-east-1", "eu-west-1"
LATE = f"{FIRST}2"
"""The target of the first region whose event comes only after the outage."""


async def waiting_gate(harness: Harness) -> tuple[Plan, Any]:
    """A rollout whose gate has one event and waits for the other."""
    harness.world.silent.add((LATE, "health.check_passed"))
    plan = make_plan([FIRST], [SECOND], targets=2, gate_timeout=300)
    handle = await harness.start(plan)
    await harness.until(handle, phase=RolloutPhase.GATE)
    await until(lambda: is_asked(handle))
    return plan, handle


async def is_asked(handle: Any) -> bool:
    """Whether the gate's activity has begun; a phase begins a moment before."""
    described = await handle.describe()
    pending = described.raw_description.pending_activities
    return any(one.activity_type.name == "ask_gate" and one.last_started_time.seconds for one in pending)


async def tell_at_last(harness: Harness, bus: NatsEventBus, plan: Plan) -> None:
    """Publish what was missing, as the provider would have."""
    started = await harness.events("deployment", plan)
    wave = next(one for one in started if one.event_type == "deployment.wave_started")
    generation = wave.data["generation"]
    told = new_event(
        "health.check_passed",
        deployment_id=wave.deployment_id,
        region=FIRST,
        service=plan.service,
        target=LATE,
        step=f"{generation}.health",
        data={
            "service": plan.service,
            "version": plan.release.version,
            "release_digest": plan.release.digest,
            "generation": generation,
            "scope": "target",
        },
    )
    await bus.publish_event(told)


async def asked_once(handle: Any) -> bool:
    """Whether the gate's activity ran in one attempt from beginning to end."""
    events = (await handle.fetch_history()).events
    gates = {
        event.event_id
        for event in events
        if event.activity_task_scheduled_event_attributes.activity_type.name == "ask_gate"
    }
    started = [event.activity_task_started_event_attributes for event in events]
    return [one.attempt for one in started if one.scheduled_event_id in gates] == [1]


async def test_a_gate_outlives_a_server_that_is_killed_and_comes_back(
    temporal_client: Client, nats_server: NatsServer, bus: NatsEventBus, caplog: pytest.LogCaptureFixture
):
    async with run_worker(temporal_client, bus, bus.client, World()) as harness:
        plan, handle = await waiting_gate(harness)
        nats_server.kill()
        await eventually(lambda: f"$JS.API.DIRECT.GET.{STREAM} waits for NATS" in caplog.text)
        late = asyncio.create_task(tell_at_last(harness, bus, plan))
        assert (await harness.until(handle, phase=RolloutPhase.GATE)).paused is False
        nats_server.start()
        await asyncio.wait_for(late, 60)
        assert (await harness.finish(handle)).phase is RolloutPhase.SUCCEEDED
        assert await asked_once(handle)


async def leader_of(admin: NatsClient) -> str:
    """The node that answers for the stream; empty while there is none."""
    try:
        found = (await admin.jetstream.stream_info(STREAM)).cluster
    except (APIError, nats.errors.Error):
        return ""
    return (found and found.leader) or ""


@pytest.mark.slow
async def test_a_gate_follows_its_stream_to_another_leader_and_outlives_that_one(
    temporal_client: Client, cluster: Cluster
):
    async with cluster.client("orchestrator") as client, cluster.client("admin") as admin:
        bus = NatsEventBus(client)
        async with run_worker(temporal_client, bus, client, World()) as harness:
            plan, handle = await waiting_gate(harness)
            first = await until(partial(leader_of, admin))
            await admin.connection.request(f"$JS.API.STREAM.LEADER.STEPDOWN.{STREAM}", b"", timeout=60)

            async def moved() -> str:
                found = await leader_of(admin)
                return found if found != first else ""

            second = cluster.nodes[await until(moved)]
            second.kill()
            await tell_at_last(harness, bus, plan)
            assert (await harness.finish(handle)).phase is RolloutPhase.SUCCEEDED
            assert await asked_once(handle)
            cluster.start(second.name)
