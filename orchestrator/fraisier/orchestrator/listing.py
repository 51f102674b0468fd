"""All rollouts that Temporal still knows. It needs no worker."""

import contextlib
from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import Any

from pydantic import BaseModel
from temporalio.client import Client, WorkflowExecutionStatus

from fraisier.workflows.contracts import RolloutResult
from fraisier.workflows.payloads import PayloadUnreadable
from fraisier.workflows.search import STATE

_ROLLOUTS = 'WorkflowType = "RolloutWorkflow" AND ExecutionStatus != "ContinuedAsNew"'
"""A rollout that went on in further runs is the last of them."""


class RolloutSummary(BaseModel):
    """A rollout in a list.

    Attributes:
        state: its phase, ``paused``, ``starting``, or how Temporal says that it ended from outside.
        without: what a success went without, for people.
    """

    service: str
    version: str
    rollout_id: str
    state: str
    without: str = ""
    started_at: datetime
    ended_at: datetime | None = None


async def list_rollouts(temporal: Client) -> AsyncIterator[RolloutSummary]:
    """The rollouts, newest first; of one that was encrypted with a key that is not here, what Temporal itself knows."""
    async for run in temporal.list_workflows(_ROLLOUTS):
        memo: Mapping[str, Any] = {}
        state, without = run.status.name.lower() if run.status else "unknown", ""
        if run.status in (WorkflowExecutionStatus.RUNNING, WorkflowExecutionStatus.COMPLETED):
            state = run.typed_search_attributes.get(STATE) or "starting"
        with contextlib.suppress(PayloadUnreadable):
            memo = await run.memo()
            if run.status is WorkflowExecutionStatus.COMPLETED:
                handle = temporal.get_workflow_handle(run.id, run_id=run.run_id, result_type=RolloutResult)
                result = await handle.result(follow_runs=False)
                state, without = result.phase.value, result.without
        yield RolloutSummary(
            service=memo.get("service", run.id.partition(":")[2]),
            version=memo.get("version", ""),
            rollout_id=memo.get("rollout_id", ""),
            state=state,
            without=without,
            started_at=datetime.fromisoformat(memo["started_at"]) if "started_at" in memo else run.start_time,
            ended_at=run.close_time,
        )
