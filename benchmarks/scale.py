"""Scale: rollouts over many regions and over many targets; what each target costs, and how long histories become.

The targets live in memory. The servers are those of ``fraisier up``: JetStream syncs before it acknowledges, and
Temporal's polling of its own queues is not slowed down (``history.*ProcessorMaxPollRPS=5000``).

``--most 10000`` adds 1,000 regions of 10 targets and 10 regions of 1,000, which takes many minutes.
"""

import asyncio
import itertools
import math
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from measuring.command import command_line, interruptible, tell
from measuring.figures import Figures
from measuring.server import memory_mb
from measuring.simulated import SimulatedProvider, World
from temporalio.client import Client

from fraisier.nats import NatsClient, NatsEventBus, get_nats_config
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

SHAPES = ((10, 10), (100, 10), (10, 100), (1000, 10), (10, 1000))
"""Regions, and targets in each."""

WAVE = 100
"""Regions in a wave."""

BATCH = 4
"""A region goes in so many batches."""

WITHIN = timedelta(hours=1)
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Histories:
    """What a rollout left in Temporal: of all runs of all its workflows."""

    events: int
    longest: int
    runs: int


def plan_of(regions: int, targets: int) -> Plan:
    """A rollout of that shape, with a gate after each wave."""
    service = f"scale-{next(_numbers)}"
    names = [f"region-{number:04}" for number in range(regions)]
    waves = [tuple(names[at : at + WAVE]) for at in range(0, regions, WAVE)]
    return Plan(
        service=service,
        release=ReleasePlan(service=service, version="2.0.0", digest=f"sha256:{'2' * 64}"),
        waves=tuple(WavePlan(number=n, regions=w, max_parallel=len(w)) for n, w in enumerate(waves, start=1)),
        regions={
            name: RegionPlan(
                name=name,
                targets=tuple(
                    TargetPlan(name=f"{name}-{one}", provider="simulated", options={"host": f"{name}-{one}"})
                    for one in range(targets)
                ),
                max_parallel=max(1, targets // BATCH),
                health=HealthCheck(command=("true",)),
            )
            for name in names
        },
        gates=(GatePlan(name="healthy", event="health.check_passed", none_of=(), timeout=WITHIN),),
    )


async def rolled_out(client: Client, plan: Plan) -> tuple[float, Histories]:
    """How long a rollout took, in seconds, and its histories."""
    order = RolloutInput(rollout_id=f"r-{plan.service}", plan=plan)
    began = time.perf_counter()
    handle = await client.start_workflow(
        RolloutWorkflow.run, order, id=f"rollout:{plan.service}", task_queue=TASK_QUEUE
    )
    result = await handle.result()
    took = time.perf_counter() - began
    assert result.phase is RolloutPhase.SUCCEEDED, result.reason
    return took, await histories(client, plan)


async def histories(client: Client, plan: Plan) -> Histories:
    """The histories of a rollout that has ended, once the server lists all of them."""
    query = f"WorkflowId STARTS_WITH 'rollout:{plan.service}' AND ExecutionStatus != 'Running'"
    found: list[int] = []
    while len(found) <= len(plan.regions):
        found = [run.history_length async for run in client.list_workflows(query)]
        await asyncio.sleep(0.5)
    return Histories(events=sum(found), longest=max(found), runs=len(found))


@asynccontextmanager
async def working(home: Path) -> AsyncIterator[Client]:
    """Servers of their own, and a worker over simulated targets in this process."""
    stack = LocalStack(home)
    try:
        await stack.up(tell, worker=False, ports=ANY_PORTS)
        env = stack.env()
        client = await Client.connect(env["TEMPORAL_ADDRESS"], data_converter=DATA_CONVERTER)
        await register_search_attributes(client)
        login = {"username": env["NATS_USERNAME"], "password": env["NATS_PASSWORD"]}
        async with NatsClient([env["NATS_SERVERS"]], **login) as nats:
            bus, world = NatsEventBus(nats), World()
            pool = ProviderPool(
                lambda _, options, region: SimulatedProvider(world, options, event_bus=bus, region=region)
            )
            to = Connections(client, nats, bus, get_nats_config())
            async with build_worker(to, pool, home / "artifacts"):
                yield client
    finally:
        await stack.down()


def shapes(most: int) -> Iterator[tuple[int, int]]:
    """The shapes that have no more targets than that, smallest first."""
    return (shape for shape in SHAPES if shape[0] * shape[1] <= most)


async def measure(most: int) -> None:
    """Roll out over every shape, and show what it cost."""
    figures = Figures("ms a target")
    first = 0.0
    with tempfile.TemporaryDirectory() as folder:
        async with working(Path(folder)) as client:
            await rolled_out(client, plan_of(2, 2))  # what is loaded once is loaded by then
            memory = memory_mb()
            for regions, targets in shapes(most):
                total = regions * targets
                took, left = await rolled_out(client, plan_of(regions, targets))
                cost = took / total * 1000
                first = first or cost
                figures.add(f"{regions} x {targets}", "rollout", cost)
                figures.note(
                    f"{regions:>5} regions x {targets:>4} targets: {took:7.1f} s, {cost:6.1f} ms a target "
                    f"({cost / first:.2f} of the first), {left.events / total:5.1f} history events a target, "
                    f"longest history {left.longest}, {left.runs} runs, worker {memory_mb() - memory:+.0f} MB"
                )
    figures.keep("scale")


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--most", type=int, default=1000, help="the most targets that a shape may have (default: 1000)")
    most = parser.parse_args().most
    if not any(shapes(most)):
        parser.error(f"--most: the smallest shape has {math.prod(SHAPES[0])} targets")
    asyncio.run(measure(most))


if __name__ == "__main__":
    interruptible(main)
