"""A worker over simulated targets, on a real Temporal server and a real NATS server."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from temporalio.client import Client, WorkflowHandle
from temporalio.worker import Interceptor, Replayer, Worker

from fraisier.nats import Event, NatsClient, NatsEventBus
from fraisier.orchestrator.worker import WORKFLOWS, at_work, central_activities, steps_at_targets
from fraisier.providers.hooks import Hooks
from fraisier.providers.migrations.migrator import PostgresMigrator
from fraisier.providers.migrations.models import Migration
from fraisier.providers.models import HealthCheck
from fraisier.providers.traffic.models import Traffic
from fraisier.workflows.activities.migrations import MigrationActivities
from fraisier.workflows.activities.targets import TargetActivities
from fraisier.workflows.arithmetic import resolve_parallel
from fraisier.workflows.contracts import RolloutInput, RolloutResult
from fraisier.workflows.converter import DATA_CONVERTER
from fraisier.workflows.gate_plans import GatePlan
from fraisier.workflows.gate_steps import GateInput, RegionExpectation
from fraisier.workflows.jetstream import JetStreamLog
from fraisier.workflows.plans import OnFailure, Plan, Preflight, RegionPlan, ReleasePlan, TargetPlan, WavePlan
from fraisier.workflows.pool import ProviderPool
from fraisier.workflows.rollout import RolloutWorkflow
from fraisier.workflows.sandbox import SANDBOX
from fraisier.workflows.status import RolloutStatus
from tests.replay.histories import keep
from tests.support.catalogue import told
from tests.support.sandbox import STRICT
from tests.support.simulated import SimulatedProvider, World

NEW = ReleasePlan(service="api", version="2.0.0", digest="sha256:" + "2" * 64)
SECONDS = timedelta(seconds=1)


def make_plan(
    *waves: Sequence[str],
    targets: int = 1,
    tolerance: int = 0,
    max_parallel: int = 1,
    wave_parallel: int | str = "100%",
    soak: float = 0,
    final_soak: float = 0,
    gate_timeout: float = 20,
    on_failure: OnFailure = OnFailure.ROLLBACK_REGION,
    decision_timeout: float = 0,
    traffic: Traffic | None = None,
    hooks: Hooks | None = None,
    preflight: Preflight = Preflight.ALL,
    migrations: Sequence[Migration] = (),
) -> Plan:
    """A plan whose targets are called after their region: ``a1``, ``a2``, …"""
    service = f"api-{uuid.uuid4().hex[:8]}"
    names = [name for wave in waves for name in wave]
    gate = GatePlan(
        name="healthy",
        event="health.check_passed",
        none_of=("health.check_failed",),
        timeout=gate_timeout * SECONDS,
    )
    return Plan(
        service=service,
        release=NEW.model_copy(update={"service": service}),
        waves=tuple(
            WavePlan(
                number=number,
                regions=tuple(wave),
                max_parallel=resolve_parallel(wave_parallel, len(wave)),
                soak=(final_soak if number == len(waves) else soak) * SECONDS,
            )
            for number, wave in enumerate(waves, start=1)
        ),
        regions={
            name: RegionPlan(
                name=name,
                targets=tuple(
                    TargetPlan(name=f"{name}{n}", provider="simulated", options={"host": f"{name}{n}"})
                    for n in range(1, targets + 1)
                ),
                max_parallel=max_parallel,
                tolerance=tolerance,
                health=HealthCheck(command=("true",)),
                traffic=traffic,
                hooks=hooks,
            )
            for name in names
        },
        gates=(gate,),
        on_failure=on_failure,
        decision_timeout=decision_timeout * SECONDS,
        preflight=preflight,
        migrations=tuple(migrations),
    )


def with_region(plan: Plan, name: str, **changes: Any) -> Plan:
    """The plan with something else about a region."""
    return plan.model_copy(update={"regions": plan.regions | {name: plan.regions[name].model_copy(update=changes)}})


def make_gate_input() -> GateInput:
    """A gate that asks for the health of one target, for ten minutes."""
    return GateInput(
        gate=GatePlan(name="healthy", event="health.check_passed", none_of=(), timeout=timedelta(minutes=10)),
        rollout_id="r1",
        service="api",
        digest="sha256:2",
        regions={"a": RegionExpectation(targets=("a1",), tolerance=0, generation=1)},
        after=0,
        seconds_left=600,
    )


class NoArtifacts:
    async def fetch(self, artifact: Any) -> Any:
        raise AssertionError("simulated targets ship nothing")


@dataclass
class Harness:
    """What a test holds: the client, the bus, the world, and the queue of its worker."""

    client: Client
    bus: NatsEventBus
    nats: NatsClient
    world: World
    queue: str

    async def start(self, plan: Plan) -> WorkflowHandle[RolloutWorkflow, RolloutResult]:
        order = RolloutInput(rollout_id=f"r-{uuid.uuid4().hex[:8]}", plan=plan, actor="tests")
        return await self.client.start_workflow(
            RolloutWorkflow.run, order, id=f"rollout:{plan.service}", task_queue=self.queue
        )

    async def finish(self, handle: WorkflowHandle[RolloutWorkflow, RolloutResult]) -> RolloutResult:
        """The result, after every history was replayed by the code of today and every event found in the catalogue."""
        result = await asyncio.wait_for(handle.result(), 90)
        await self.replay(handle.id)
        await told(self.bus, result.rollout_id)
        return result

    async def replay(self, workflow_id: str, run_id: str | None = None) -> None:
        replayer = strict_replayer(data_converter=self.client.data_converter)
        handle = self.client.get_workflow_handle(workflow_id, run_id=run_id)
        parent = history = await handle.fetch_history()
        await replayer.replay_workflow(history)
        keep(history)
        for event in parent.events:
            started = event.child_workflow_execution_started_event_attributes
            if started.workflow_execution.workflow_id:
                child = self.client.get_workflow_handle(
                    started.workflow_execution.workflow_id, run_id=started.workflow_execution.run_id
                )
                history = await child.fetch_history()
                await replayer.replay_workflow(history)
                keep(history)

    async def signals(self, workflow_id: str) -> list[tuple[str, list[Any]]]:
        """What a workflow was told, with what."""
        history = await self.client.get_workflow_handle(workflow_id).fetch_history()
        told = [
            event.workflow_execution_signaled_event_attributes
            for event in history.events
            if event.HasField("workflow_execution_signaled_event_attributes")
        ]
        return [(one.signal_name, [json.loads(payload.data) for payload in one.input.payloads]) for one in told]

    async def events(self, domain: str, plan: Plan) -> list[Event]:
        return [event async for event in self.bus.read(domain, service=plan.service) if isinstance(event, Event)]

    async def until(self, handle: WorkflowHandle[RolloutWorkflow, RolloutResult], **wanted: Any) -> RolloutStatus:
        """Ask for the status until it is as wanted."""
        return await self._until(handle, lambda status: all(getattr(status, name) == wanted[name] for name in wanted))

    async def until_region(
        self, handle: WorkflowHandle[RolloutWorkflow, RolloutResult], region: str, *, state: str
    ) -> None:
        """Ask for the status until a region is as wanted."""

        def stands(status: RolloutStatus) -> bool:
            return any(one.name == region and one.state == state for wave in status.waves for one in wave.regions)

        await self._until(handle, stands)

    async def _until(
        self, handle: WorkflowHandle[RolloutWorkflow, RolloutResult], fits: Callable[[RolloutStatus], bool]
    ) -> RolloutStatus:
        async with _deadline(90):
            while True:
                status = await handle.query(RolloutWorkflow.status)
                if fits(status):
                    return status
                await asyncio.sleep(0.05)


@asynccontextmanager
async def _deadline(seconds: float) -> AsyncIterator[None]:
    task = asyncio.current_task()
    assert task is not None
    timer = asyncio.get_running_loop().call_later(seconds, task.cancel)
    try:
        yield
    finally:
        timer.cancel()


def strict_replayer(**options: Any) -> Replayer:
    """A replayer of today's workflows that refuses a clock in what decides, with more options of a `Replayer`."""
    return Replayer(**{"workflows": WORKFLOWS, "data_converter": DATA_CONVERTER, **options}, workflow_runner=STRICT)


@asynccontextmanager
async def run_worker(
    client: Client,
    bus: NatsEventBus,
    nats: NatsClient,
    world: World,
    *,
    queue: str = "",
    interceptors: Sequence[Interceptor] = (),
    **options: Any,
) -> AsyncIterator[Harness]:
    """A worker over a world of its own, on a queue of its own unless one is given, with more options of a `Worker`."""
    queue = queue or f"fraisier-{uuid.uuid4().hex[:8]}"
    pool = ProviderPool(lambda _, options, region: SimulatedProvider(world, options, event_bus=bus, region=region))
    targets = TargetActivities(pool, NoArtifacts())
    worker = Worker(
        client,
        task_queue=queue,
        **{"workflows": WORKFLOWS, **options},
        workflow_runner=SANDBOX,
        interceptors=interceptors,
        activities=[
            *steps_at_targets(targets, MigrationActivities(pool, PostgresMigrator())),
            *central_activities(JetStreamLog(bus, nats), client),
        ],
        max_heartbeat_throttle_interval=SECONDS,
        default_heartbeat_throttle_interval=SECONDS,
    )
    async with at_work(worker, 30 * SECONDS):
        yield Harness(client=client, bus=bus, nats=nats, world=world, queue=queue)
