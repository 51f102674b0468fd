"""Who works: the pollers of a task queue, and what to say when nobody answers."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from temporalio.client import Client, RPCTimeoutOrCancelledError
from temporalio.service import RPCError, RPCStatusCode

from fraisier.orchestrator.errors import Unreachable
from fraisier.orchestrator.settings import TASK_QUEUE
from fraisier.workflows.roster import TemporalRoster

R = TypeVar("R")

ANSWER_S = 15.0
"""How long an answer may take that only a worker can give, in seconds."""

_NOBODY = (RPCStatusCode.DEADLINE_EXCEEDED, RPCStatusCode.CANCELLED, RPCStatusCode.FAILED_PRECONDITION)


async def count_workers(temporal: Client) -> int:
    """How many workers polled the task queue within the last 70 seconds; one that was just killed still counts."""
    return await TemporalRoster(temporal).count(TASK_QUEUE)


async def answered(temporal: Client, call: Coroutine[Any, Any, R], silence: str) -> R:
    """What a worker answers.

    Args:
        temporal: asked who polls when there is no answer.
        call: a query or an update.
        silence: what it means that nobody answered, for people.

    Raises:
        Unreachable: no worker answered within 15 seconds.
    """
    task = asyncio.ensure_future(call)
    try:
        await asyncio.wait({task}, timeout=ANSWER_S)
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait({task})  # the SDK makes an error of its own of a cancellation
    if not task.cancelled():
        try:
            return task.result()
        except RPCTimeoutOrCancelledError:
            pass
        except RPCError as error:
            if error.status not in _NOBODY:
                raise
    workers = await count_workers(temporal)
    why = (
        f"{workers} polled the task queue {TASK_QUEUE} lately, which may be gone by now or wait for NATS"
        if workers
        else f"nobody polls the task queue {TASK_QUEUE}; start one with `fraisier worker`"
    )
    raise Unreachable(f"no worker answered within {ANSWER_S:.0f} s: {why}. {silence}")
