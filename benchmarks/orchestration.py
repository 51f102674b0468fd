"""Orchestration: how long Temporal and JetStream take between two steps, beside Temporal alone on the same server.

The targets live in memory. The servers are those of ``fraisier up``: JetStream syncs before it acknowledges, and
Temporal's polling of its own queues is not slowed down (``history.*ProcessorMaxPollRPS=5000``).
"""

import asyncio
import itertools
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from measuring.command import command_line, interruptible, tell
from measuring.figures import Figures
from measuring.simulated import SimulatedProvider, World, told
from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from fraisier.nats import NatsClient, NatsEventBus, get_nats_config, new_event
from fraisier.orchestrator.connections import Connections
from fraisier.orchestrator.searching import register_search_attributes
from fraisier.orchestrator.stack import LocalStack
from fraisier.orchestrator.stack.local import ANY_PORTS
from fraisier.orchestrator.worker import TASK_QUEUE, build_worker
from fraisier.providers.models import HealthCheck
from fraisier.workflows.contracts import RolloutInput, RolloutPhase
from fraisier.workflows.converter import DATA_CONVERTER
from fraisier.workflows.gate_plans import GatePlan
from fraisier.workflows.plans import Plan, RegionPlan, ReleasePlan, TargetPlan, WavePlan
from fraisier.workflows.pool import ProviderPool
from fraisier.workflows.rollout import RolloutWorkflow

ROUNDS = 40
BUSY = (1, 10, 100)
BUSY_ROUNDS = 3
FEWEST = 20
"""Rounds below which percentiles say nothing."""
WITHIN_S = 60
GATE = GatePlan(name="healthy", event="health.check_passed", none_of=(), timeout=timedelta(seconds=WITHIN_S))
RELEASE = ReleasePlan(service="bench", version="2.0.0", digest=f"sha256:{'2' * 64}")
_numbers = itertools.count(1)


@workflow.defn
class Floor:
    """Waits for a signal, then starts an activity: the least that any orchestration on Temporal can do."""

    def __init__(self) -> None:
        self._asked = False

    @workflow.run
    async def run(self) -> float:
        """When the activity was entered."""
        await workflow.wait_condition(lambda: self._asked)
        return await workflow.execute_activity(enter, start_to_close_timeout=timedelta(seconds=WITHIN_S))

    @workflow.signal
    def go(self) -> None:
        """Go on."""
        self._asked = True


@activity.defn
async def enter() -> float:
    """The time."""
    return time.time()


@dataclass
class Bench:
    """What the measurements share."""

    temporal: Client
    bus: NatsEventBus
    world: World
    figures: Figures

    async def floor(self, job: str) -> None:
        """Signal to activity, bare."""
        handle = await self.temporal.start_workflow(Floor.run, id=f"floor-{next(_numbers)}", task_queue="floor")
        await asyncio.sleep(0.1)  # it waits by then
        began = time.time()
        await handle.signal(Floor.go)
        self.figures.add(job, "temporal", (await handle.result() - began) * 1000)

    async def gate(self) -> None:
        """The last gating event is acknowledged → the next region's first step; and → its first activity."""
        self._renew()
        self.world.silent = True
        order = _order(("a",), ("b",))
        handle = await self._start(order)
        await self._until(handle, RolloutPhase.GATE)
        await asyncio.sleep(0.2)  # the gate reads and waits by then
        self.world.silent = False
        passed = told(order.rollout_id, order.plan.service, "a1", self.world.generation, RELEASE)
        await self.bus.publish_event(new_event("health.check_passed", region="a", **passed))
        acknowledged = time.time()
        await handle.result()
        first = await self._first_activity(order, "b")
        self.figures.add("gate → first activity", "fraisier", (first - acknowledged) * 1000)
        self.figures.add("gate → first step", "fraisier", (self.world.entered["b1", "stage"] - acknowledged) * 1000)

    async def start(self) -> None:
        """The rollout is started → its first look at a target, and its first step."""
        self._renew()
        began = time.time()
        handle = await self._start(_order(("a",)))
        await handle.result()
        for job, step in (("start → preflight", "preflight"), ("start → first step", "stage")):
            self.figures.add(job, "fraisier", (self.world.entered["a1", step] - began) * 1000)

    async def rollback(self, busy: int) -> None:
        """The signal → the first target that is taken back, while so many are in the middle of a step."""
        self._renew()
        self.world.held = {"activate"}
        handle = await self._start(_order(("a",), targets=busy))
        while self.world.busy["activate"] < busy:  # noqa: ASYNC110 (the targets only note what they see)
            await asyncio.sleep(0.05)
        self.world.held = set()
        began = time.time()
        await handle.signal("rollback", {"by": "bench"})
        await handle.result()
        first = min(when for (_, step), when in self.world.entered.items() if step == "rollback")
        self.figures.add(f"rollback, {busy} busy", "fraisier", (first - began) * 1000)

    def _renew(self) -> None:
        self.world.entered.clear()
        self.world.busy.clear()
        self.world.held, self.world.silent = set(), False

    async def _start(self, order: RolloutInput):  # noqa: ANN202 (a long generic)
        return await self.temporal.start_workflow(
            RolloutWorkflow.run, order, id=f"rollout:{order.plan.service}", task_queue=TASK_QUEUE
        )

    async def _until(self, handle, phase: RolloutPhase) -> None:  # noqa: ANN001
        while (await handle.query(RolloutWorkflow.status)).phase is not phase:  # noqa: ASYNC110
            await asyncio.sleep(0.05)

    async def _first_activity(self, order: RolloutInput, region: str) -> float:
        child = self.temporal.get_workflow_handle(f"rollout:{order.plan.service}:{order.rollout_id}:{region}")
        # A history has the start of an activity where its end is, so the first in it is the first that ended.
        started = [
            event.event_time.ToNanoseconds() / 1e9
            async for event in child.fetch_history_events()
            if event.HasField("activity_task_started_event_attributes")
        ]
        assert started, "the region had no activity"
        return min(started)


def _order(*waves: tuple[str, ...], targets: int = 1) -> RolloutInput:
    number = next(_numbers)
    release = RELEASE.model_copy(update={"service": f"bench-{number}"})
    regions = {
        name: RegionPlan(
            name=name,
            targets=tuple(
                TargetPlan(name=f"{name}{n}", provider="simulated", options={"host": f"{name}{n}"})
                for n in range(1, targets + 1)
            ),
            max_parallel=targets,
            tolerance=0,
            health=HealthCheck(command=("true",)),
        )
        for wave in waves
        for name in wave
    }
    plan = Plan(
        service=release.service,
        release=release,
        waves=tuple(
            WavePlan(number=n, regions=wave, max_parallel=len(wave), soak=timedelta(0))
            for n, wave in enumerate(waves, 1)
        ),
        regions=regions,
        gates=(GATE,),
        on_failure="pause",
        decision_timeout=timedelta(0),
    )
    return RolloutInput(rollout_id=f"r-{number}", plan=plan, actor="bench")


@asynccontextmanager
async def running(stack: LocalStack, figures: Figures) -> AsyncIterator[Bench]:
    """A worker over simulated targets, and one for the floor."""
    env = stack.env()
    world = World()
    temporal = await Client.connect(env["TEMPORAL_ADDRESS"], data_converter=DATA_CONVERTER)
    await register_search_attributes(temporal)
    async with NatsClient([env["NATS_SERVERS"]], username=env["NATS_USERNAME"], password=env["NATS_PASSWORD"]) as nats:
        bus = NatsEventBus(nats)
        await bus.ensure_streams()
        to = Connections(temporal, nats, bus, get_nats_config())
        pool = ProviderPool(lambda _, options, region: SimulatedProvider(world, options, event_bus=bus, region=region))
        bare = Worker(
            temporal,
            task_queue="floor",
            workflows=[Floor],
            activities=[enter],
            workflow_runner=UnsandboxedWorkflowRunner(),
        )
        async with build_worker(to, pool, Path(tempfile.gettempdir())), bare:
            yield Bench(temporal, bus, world, figures)


async def measure(stack: LocalStack, figures: Figures) -> None:
    """All of it, in interleaved rounds; the first warms up and is thrown away."""
    async with running(stack, figures) as bench:
        await bench.floor("warm")
        await bench.gate()
        figures.rounds.clear()
        for _ in range(ROUNDS):
            for job in ("gate → first activity", "gate → first step"):
                await bench.floor(job)
            await bench.gate()
        for _ in range(ROUNDS // 2):
            for job in ("start → preflight", "start → first step"):
                await bench.floor(job)
            await bench.start()
        for busy in BUSY:
            for _ in range(BUSY_ROUNDS):
                await bench.floor(f"rollback, {busy} busy")
                await bench.rollback(busy)


def main() -> None:
    command_line(__doc__).parse_args()
    figures = Figures("ms")
    with tempfile.TemporaryDirectory(prefix="fraisier-bench-") as home:
        stack = LocalStack(Path(home))
        try:
            asyncio.run(stack.up(tell, worker=False, ports=ANY_PORTS))
            asyncio.run(measure(stack, figures))
        finally:
            asyncio.run(stack.down())
    figures.show("temporal")
    for job, sides in figures.rounds.items():
        if len(sides["fraisier"]) >= FEWEST:
            figures.note(f"{job}: p50 {_ratio(sides, 49):.2f}, p99 {_ratio(sides, 98):.2f} times the floor's")
    figures.keep("orchestration")


def _ratio(sides: dict[str, list[float]], percentile: int) -> float:
    ours, floor = (
        statistics.quantiles(sides[side], n=100, method="inclusive")[percentile] for side in ("fraisier", "temporal")
    )
    return ours / floor


if __name__ == "__main__":
    interruptible(main)
