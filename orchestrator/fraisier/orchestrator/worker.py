"""The worker process: carries out workflows and activities until it is asked to stop."""

import logging
from datetime import timedelta
from pathlib import Path
from typing import Any

from temporalio.client import Client
from temporalio.worker import Worker

from fraisier.nats import ArtifactStore, NatsClient, NatsEventBus, check_durability
from fraisier.orchestrator.connections import connections
from fraisier.orchestrator.errors import Unreachable
from fraisier.orchestrator.searching import register_search_attributes
from fraisier.orchestrator.settings import artifact_cache
from fraisier.orchestrator.stopping import stop_on_signals, stopped_or_lost
from fraisier.providers.base import Provider
from fraisier.providers.registry import load_provider
from fraisier.workflows.activities.calendar import CalendarActivities
from fraisier.workflows.activities.events import EventActivities
from fraisier.workflows.activities.measures import MeasureActivities
from fraisier.workflows.activities.targets import TargetActivities
from fraisier.workflows.jetstream import ArtifactCache, JetStreamLog
from fraisier.workflows.look import LookWorkflow
from fraisier.workflows.measures.meter import GateMeter
from fraisier.workflows.pool import ProviderPool
from fraisier.workflows.region import RegionWorkflow
from fraisier.workflows.region_rollback import RegionRollbackWorkflow
from fraisier.workflows.rollout import RolloutWorkflow
from fraisier.workflows.sandbox import SANDBOX

logger = logging.getLogger(__name__)

TASK_QUEUE = "fraisier"
GRACE = timedelta(seconds=20)
"""How long running activities may go on after a stop was asked for; then they are cancelled and run elsewhere."""

HEARTBEAT_THROTTLE = timedelta(seconds=2)
"""A cancellation reaches an activity with a heartbeat: seconds late, not half a minute."""

WORKFLOWS = (RolloutWorkflow, RegionWorkflow, RegionRollbackWorkflow, LookWorkflow)


def build_worker(client: Client, bus: NatsEventBus, nats: NatsClient, pool: ProviderPool, cache: Path) -> Worker:
    """A worker with everything in it, not started yet."""
    targets = TargetActivities(pool, ArtifactCache(ArtifactStore(nats), cache))
    log = JetStreamLog(bus, nats)
    events = EventActivities(log)
    return Worker(
        client,
        task_queue=TASK_QUEUE,
        workflows=WORKFLOWS,
        workflow_runner=SANDBOX,
        activities=[
            targets.preflight,
            targets.look,
            targets.stage,
            targets.activate,
            targets.check_health,
            targets.drain,
            targets.undrain,
            targets.run_hook,
            targets.rollback,
            targets.prune,
            events.publish,
            events.mint_generation,
            events.last_sequence,
            events.ask_gate,
            MeasureActivities(GateMeter(log)).measure_gate,
            CalendarActivities().opening,
        ],
        graceful_shutdown_timeout=GRACE,
        max_heartbeat_throttle_interval=HEARTBEAT_THROTTLE,
        default_heartbeat_throttle_interval=HEARTBEAT_THROTTLE,
    )


async def run_worker() -> None:
    """Work until SIGTERM or SIGINT, then end what runs in good order.

    Raises:
        NotDurable: NATS acknowledges events before they are on its disk.
        Refused: the Temporal namespace lacks the search attributes and lets nobody add them.
        StreamDrift: a stream is not as configured and cannot be made so.
        Unreachable: NATS or Temporal does not answer, or NATS was lost for good.
    """
    async with connections(patient=True) as to:
        logger.info("events: %s", await check_durability(to.config.connection))
        await to.bus.ensure_streams()
        await register_search_attributes(to.temporal)

        def make(name: str, options: dict[str, Any], region: str) -> Provider:
            """A provider of any installed kind, on this worker's bus."""
            return load_provider(name)(config=options, event_bus=to.bus, region=region)  # type: ignore[call-arg]

        pool = ProviderPool(make)
        worker = build_worker(to.temporal, to.bus, to.nats, pool, artifact_cache())
        with stop_on_signals() as stop:
            async with worker:
                logger.info("worker polls %s; stop it with SIGTERM", TASK_QUEUE)
                await stopped_or_lost(stop, to.nats.closed)
                logger.info("worker ends: running steps have %s s", GRACE.total_seconds())
        await pool.close()
        if not stop.is_set():
            raise Unreachable(f"NATS was lost for good: {to.nats.last_error}. Start the worker again when it is back.")
