"""The worker process: carries out workflows and activities until it is asked to stop."""

import asyncio
import logging
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from threading import Thread
from typing import Any

from temporalio.client import Client
from temporalio.common import WorkerDeploymentVersion
from temporalio.worker import Worker

from fraisier.nats import ArtifactStore, check_durability
from fraisier.orchestrator.connections import Connections, connections
from fraisier.orchestrator.errors import Unreachable
from fraisier.orchestrator.searching import register_search_attributes
from fraisier.orchestrator.settings import TASK_QUEUE, artifact_cache
from fraisier.orchestrator.stopping import stop_on_signals, stopped_or_lost
from fraisier.orchestrator.versioning import become_current, pinned, this_version
from fraisier.providers.base import Provider
from fraisier.providers.migrations.migrator import PostgresMigrator
from fraisier.providers.registry import import_providers, load_provider
from fraisier.workflows.activities.calendar import CalendarActivities
from fraisier.workflows.activities.events import EventActivities
from fraisier.workflows.activities.freezes import FreezeActivities
from fraisier.workflows.activities.measures import MeasureActivities
from fraisier.workflows.activities.migrations import MigrationActivities
from fraisier.workflows.activities.requests import RequestActivities
from fraisier.workflows.activities.targets import TargetActivities
from fraisier.workflows.activities.workers import WorkerActivities
from fraisier.workflows.jetstream import ArtifactCache, JetStreamLog
from fraisier.workflows.look import LookWorkflow
from fraisier.workflows.measures.meter import GateMeter
from fraisier.workflows.pool import ProviderPool
from fraisier.workflows.region import RegionWorkflow
from fraisier.workflows.region_rollback import RegionRollbackWorkflow
from fraisier.workflows.rollout import RolloutWorkflow
from fraisier.workflows.roster import TemporalRoster
from fraisier.workflows.sandbox import SANDBOX

logger = logging.getLogger(__name__)

GRACE = timedelta(seconds=20)
"""How long running activities may go on after a stop was asked for; then they are cancelled and run elsewhere."""

ENDS_WITHIN = GRACE + timedelta(seconds=10)
"""How long a worker may take to end; then the process ends without it."""

HEARTBEAT_THROTTLE = timedelta(seconds=2)
"""A cancellation reaches an activity with a heartbeat: seconds late, not half a minute."""

WORKFLOWS = (RolloutWorkflow, RegionWorkflow, RegionRollbackWorkflow, LookWorkflow)


def build_worker(
    to: Connections,
    pool: ProviderPool,
    cache: Path,
    *,
    region: str = "",
    deployment: WorkerDeploymentVersion | None = None,
) -> Worker:
    """A worker with everything in it, not started yet.

    Args:
        to: the servers.
        pool: its providers.
        cache: the folder of its artifacts.
        region: the only one whose steps it takes; all central work unless given.
        deployment: the version of a worker that rollouts stay with.
    """
    targets = TargetActivities(pool, ArtifactCache(ArtifactStore(to.nats), cache))
    steps = steps_at_targets(targets, MigrationActivities(pool, PostgresMigrator()))
    return Worker(
        to.temporal,
        task_queue=f"{TASK_QUEUE}.{region}" if region else TASK_QUEUE,
        deployment_config=pinned(deployment) if deployment else None,
        # No workflow ever runs on a region's queue. A worker whose steps fill all its slots asks for no more of them,
        # and would look as if it were gone if it did not ask for workflows either.
        workflows=(LookWorkflow,) if region else WORKFLOWS,
        workflow_runner=SANDBOX,
        activities=steps if region else [*steps, *central_activities(JetStreamLog(to.bus, to.nats), to.temporal)],
        graceful_shutdown_timeout=GRACE,
        max_heartbeat_throttle_interval=HEARTBEAT_THROTTLE,
        default_heartbeat_throttle_interval=HEARTBEAT_THROTTLE,
    )


def steps_at_targets(targets: TargetActivities, migrations: MigrationActivities) -> list[Callable[..., Any]]:
    """What is done at targets and databases."""
    return [
        targets.preflight,
        targets.look,
        targets.stage,
        targets.activate,
        targets.check_health,
        targets.drain,
        targets.undrain,
        targets.run_hook,
        targets.rollback,
        targets.together,
        targets.prune,
        migrations.preflight_migration,
        migrations.migrate,
    ]


def central_activities(log: JetStreamLog, temporal: Client) -> list[Callable[..., Any]]:
    """What needs no target, and more of the streams than a region may have."""
    events = EventActivities(log)
    freezes = FreezeActivities(log)
    return [
        events.publish,
        events.mint_generation,
        events.last_sequence,
        events.begin_wave,
        events.ask_gate,
        MeasureActivities(GateMeter(log)).measure_gate,
        CalendarActivities().opening,
        freezes.frozen,
        freezes.thawed,
        RequestActivities(log).listen,
        WorkerActivities(TemporalRoster(temporal)).expect_worker,
    ]


@asynccontextmanager
async def at_work(worker: Worker, within: timedelta) -> AsyncIterator[None]:
    """A worker that works for as long as the block runs, and is left behind when it does not end after that.

    Temporal's core can lose the report of an activity that ends in the same moment as its worker, and then waits for it
    for ever (https://github.com/temporalio/sdk-rust/issues/1537). The activity itself has ended by then, and is tried
    again elsewhere.

    Args:
        worker: not started yet.
        within: how long its end may take, longer than its steps have to end in good order.
    """
    await worker.__aenter__()
    try:
        yield
    finally:
        ending = asyncio.create_task(worker.__aexit__(*sys.exc_info()))
        await asyncio.wait({ending}, timeout=within.total_seconds())
        if ending.done():
            ending.result()
        else:
            ending.cancel()
            logger.error("the worker did not end within %s s and is left behind", within.total_seconds())


async def run_worker(region: str = "") -> None:
    """Work until SIGTERM or SIGINT, then end what runs in good order.

    Args:
        region: the only one whose steps are taken; all central work unless given.

    Raises:
        NotDurable: NATS acknowledges events before they are on its disk.
        Invalid: ``FRAISIER_WORKER_VERSIONING`` or the keys of the payloads cannot be used.
        Refused: the Temporal namespace lacks the search attributes and lets nobody add them, or takes no version.
        StreamDrift: a stream is not as configured and cannot be made so.
        Unreachable: NATS or Temporal does not answer, or NATS was lost for good.
    """
    async with connections(patient=True) as to:
        logger.info("events: %s", await check_durability(to.config.connection))
        await to.bus.ensure_streams()
        if not region:
            await register_search_attributes(to.temporal)

        def make(name: str, options: dict[str, Any], region: str) -> Provider:
            """A provider of any installed kind, on this worker's bus."""
            return load_provider(name)(config=options, event_bus=to.bus, region=region)  # type: ignore[call-arg]

        pool = ProviderPool(make)
        # A region's steps are the same to every version, and no workflow runs there.
        deployment = None if region else this_version()
        worker = build_worker(to, pool, artifact_cache(), region=region, deployment=deployment)
        with stop_on_signals() as stop:
            async with at_work(worker, ENDS_WITHIN):
                if deployment is not None:
                    await become_current(to.temporal, deployment)
                logger.info("worker polls %s; stop it with SIGTERM", worker.task_queue)
                # Nobody waits for it, whatever hangs in it.
                Thread(target=import_providers, daemon=True).start()
                await stopped_or_lost(stop, to.nats.closed)
                logger.info("worker ends: running steps have %s s", GRACE.total_seconds())
        await pool.close()
        if not stop.is_set():
            raise Unreachable(f"NATS was lost for good: {to.nats.last_error}. Start the worker again when it is back.")
