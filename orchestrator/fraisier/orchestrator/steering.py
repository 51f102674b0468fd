"""Sending verbs to rollouts and asking how they stand: it needs Temporal alone, so NATS may be away."""

import asyncio
import secrets
import uuid
from datetime import datetime, timedelta, timezone
from typing import cast

from temporalio.client import (
    Client,
    WorkflowExecutionStatus,
    WorkflowFailureError,
    WorkflowHandle,
    WorkflowUpdateFailedError,
    WorkflowUpdateStage,
)
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from fraisier.orchestrator.errors import Refused, Unreachable
from fraisier.orchestrator.listing import RolloutSummary, list_rollouts
from fraisier.orchestrator.pollers import answered, count_workers
from fraisier.orchestrator.settings import TASK_QUEUE
from fraisier.workflows.contracts import RolloutInput, RolloutResult
from fraisier.workflows.failures import describe
from fraisier.workflows.look import LookWorkflow
from fraisier.workflows.plans import Plan
from fraisier.workflows.rollout import RolloutWorkflow
from fraisier.workflows.search import STATE, searched_by
from fraisier.workflows.status import RolloutStatus
from fraisier.workflows.steps import LookInput, RegionLook
from fraisier.workflows.verbs import Verb, VerbRequest, refused_one_way

EVENT_S = 3.0
"""How long the answer to a verb waits for the verb's event, in seconds."""

LOOK_TIMEOUT = timedelta(minutes=5)

Handle = WorkflowHandle[RolloutWorkflow, RolloutResult]


class Steering:
    """Steers rollouts, and tells how they stand.

    Args:
        temporal: the connection to Temporal.
    """

    def __init__(self, temporal: Client) -> None:
        self._temporal = temporal

    async def status(self, service: str) -> RolloutStatus:
        """The status of a service's newest rollout, open or ended.

        Raises:
            Refused: there was none.
            Unreachable: no worker answers.
        """
        silence = f"If the rollout of {service} is open, it goes on when one is there: see `fraisier rollout list`"
        try:
            return await answered(self._temporal, self._handle(service).query(RolloutWorkflow.status), silence)
        except RPCError as error:
            raise self._explained(error, f"there was never a rollout of {service}") from error

    async def result(self, service: str) -> RolloutResult:
        """How the newest rollout of a service ended; waits until it does.

        Raises:
            Refused: there was none, or it was ended from outside.
        """
        try:
            return await self._handle(service).result()
        except RPCError as error:
            raise self._explained(error, f"there was never a rollout of {service}") from error
        except WorkflowFailureError as error:
            raise Refused(
                f"the rollout of {service} did not end by itself: {describe(error.cause or error)}"
            ) from error

    async def send(self, service: str, verb: Verb, request: VerbRequest) -> RolloutStatus:
        """Send a verb to the open rollout of a service and return the status after it.

        A ``rollback`` that finds none open takes back what the last one left changed, as a rollout of its own.

        Args:
            service: the rollout's.
            verb: what is asked.
            request: who asks and why; it gets an `id` unless it has one, so that no verb takes effect twice.

        Raises:
            Refused: there is no open rollout, or the verb makes no sense now.
            Unreachable: no worker answers; the verb was left as a signal, and takes effect when one is back.
        """
        request = request.model_copy(update={"id": request.id or str(uuid.uuid4())})
        silence = f"{verb.value} waits for one as a signal: look with `fraisier rollout status {service}` then."
        try:
            try:
                return await answered(self._temporal, self._ask(service, verb, request), silence)
            except Unreachable:
                await self._leave(service, verb, request)
                raise
        except WorkflowUpdateFailedError as error:
            raise Refused(f"{verb.value} of {service} was refused: {describe(error.cause or error)}") from error
        except RPCError as error:
            if verb is Verb.ROLLBACK and error.status is RPCStatusCode.NOT_FOUND:
                return await self._take_back(service, request)
            raise self._explained(error, f"there is no open rollout of {service}") from error

    async def _ask(self, service: str, verb: Verb, request: VerbRequest) -> RolloutStatus:
        """Send a verb as an update. It has taken effect once it is accepted: its event may wait for NATS."""
        handle = self._handle(service)
        update = await handle.start_update(
            RolloutWorkflow.verb, args=[verb, request], wait_for_stage=WorkflowUpdateStage.ACCEPTED
        )
        told = asyncio.ensure_future(update.result())
        try:
            await asyncio.wait({told}, timeout=EVENT_S)
            return told.result() if told.done() else await handle.query(RolloutWorkflow.status)
        finally:
            told.cancel()
            await asyncio.wait({told})

    async def _leave(self, service: str, verb: Verb, request: VerbRequest) -> None:
        """Leave a verb as a signal, which Temporal keeps; an update is lost when no worker takes it."""
        told = request.model_dump(mode="json", exclude_defaults=True, exclude={"adjust"})
        change = request.adjust.model_dump(mode="json", exclude_defaults=True) if request.adjust else {}
        await self._handle(service).signal(verb.value, told | change)

    async def plan(self, service: str) -> Plan:
        """The plan of the newest rollout of a service, open or ended.

        Raises:
            Refused: there was none.
        """
        try:
            first = await anext(self._handle(service).fetch_history_events(page_size=1))
        except RPCError as error:
            raise self._explained(error, f"there was never a rollout of {service}") from error
        payloads = first.workflow_execution_started_event_attributes.input.payloads
        (order,) = await self._temporal.data_converter.decode(payloads, [RolloutInput])
        return cast("RolloutInput", order).plan

    async def details(self, service: str) -> tuple[RegionLook, ...]:
        """What every target of a service's newest rollout runs now, asked of the targets.

        Raises:
            Refused: there was no rollout, or no worker is there.
        """
        return await self._look(await self.plan(service))

    async def _look(self, plan: Plan) -> tuple[RegionLook, ...]:
        service = plan.service
        await self._refuse_without_worker()
        return await self._temporal.execute_workflow(
            LookWorkflow.run,
            tuple(LookInput(service=service, region=region) for region in plan.regions.values()),
            id=f"look:{service}:{secrets.token_hex(4)}",
            task_queue=TASK_QUEUE,
            execution_timeout=LOOK_TIMEOUT,
            static_summary=f"what runs of {service}",
        )

    async def rollouts(self) -> list[RolloutSummary]:
        """All rollouts that Temporal still knows, newest first."""
        return [one async for one in list_rollouts(self._temporal)]

    async def ended(self, service: str) -> bool:
        """Whether the newest rollout of a service has ended."""
        described = await self._handle(service).describe()
        return described.status is not WorkflowExecutionStatus.RUNNING

    async def _start(self, order: RolloutInput, summary: str, what: str) -> Handle:
        service, version = order.plan.service, order.plan.release.version
        try:
            return await self._temporal.start_workflow(
                RolloutWorkflow.run,
                order,
                id=workflow_id(service),
                task_queue=TASK_QUEUE,
                memo={
                    "service": service,
                    "version": version,
                    "rollout_id": order.rollout_id,
                    "started_at": datetime.now(timezone.utc).isoformat(),
                    "actor": order.actor,
                },
                search_attributes=searched_by(service, version),
                static_summary=summary,
                static_details=f"{service} {version} {what}, started by {order.actor or 'somebody'}",
            )
        except WorkflowAlreadyStartedError:
            await self._refuse_second(service)
            raise

    async def _take_back(self, service: str, request: VerbRequest) -> RolloutStatus:
        last = await self.result(service)
        if last.undo is None:
            raise Refused(
                f"there is nothing to take back: the last rollout of {service}, {last.rollout_id}, is "
                f"{last.phase.value.replace('_', ' ')} and left nothing changed"
            )
        if last.one_way and (why := refused_one_way(last.one_way, request)):
            raise Refused(f"rollback of {service} was refused: {why}")
        await self._refuse_without_worker()
        plan = await self.plan(service)
        undo = RolloutInput(
            rollout_id=new_rollout_id(), plan=plan, actor=request.by, reason=request.reason, undo=last.undo
        )
        summary = f"{service} back from {plan.release.version}"
        handle = await self._start(undo, summary, f"is taken back from {', '.join(last.undo.regions)}")
        return await handle.query(RolloutWorkflow.status)

    def _handle(self, service: str) -> Handle:
        return cast("Handle", self._temporal.get_workflow_handle_for(RolloutWorkflow.run, workflow_id(service)))

    async def _refuse_second(self, service: str) -> None:
        """Say who holds the lock, since when and for what: out of Temporal itself, for there may be no worker."""
        try:
            held = await self._handle(service).describe()
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return
            raise
        if held.status is WorkflowExecutionStatus.RUNNING:
            memo, state = await held.memo(), held.typed_search_attributes.get(STATE)
            since = memo.get("started_at") or held.start_time.isoformat()
            by = memo.get("actor") or "somebody"
            now = (state or "starting").replace("_", " ")
            raise Refused(
                f"a rollout of {service} is open: {memo.get('version', '')}, started by {by} at {since[:19]} UTC, "
                f"now {now}. Watch it (fraisier rollout watch {service}), take it back "
                f"(fraisier rollback {service}) or end it (fraisier cancel {service})."
            )

    async def _refuse_without_worker(self) -> None:
        if not await count_workers(self._temporal):
            raise Refused(f"no worker polls the task queue {TASK_QUEUE}, so nothing would happen: run fraisier worker")

    def _explained(self, error: RPCError, why: str) -> Exception:
        if error.status is RPCStatusCode.NOT_FOUND:
            return Refused(f"{why}; see fraisier rollout list")
        return error


def workflow_id(service: str) -> str:
    """The ID of a service's rollout workflow: one open at a time, which is the lock."""
    return f"rollout:{service}"


def new_rollout_id() -> str:
    """A rollout's ID: readable, sorted by time, and fit for a subject."""
    return f"{datetime.now(timezone.utc):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
