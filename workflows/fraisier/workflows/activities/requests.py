"""The activity that listens for verbs that come as events."""

import asyncio
from collections.abc import Awaitable
from typing import Any

from temporalio import activity

from fraisier.workflows.activities.heartbeat import heartbeating
from fraisier.workflows.failures import WorkerStops, mapped_failures
from fraisier.workflows.ports import EventLog
from fraisier.workflows.sent_verbs import VERB_SENT, next_sent
from fraisier.workflows.steps import ListenInput, SentVerb

REREAD_S = 5.0
"""How long it goes without reading the stream, whatever the hints say."""


class RequestActivities:
    """What people and regions ask of a rollout by events.

    Args:
        log: the streams.
    """

    def __init__(self, log: EventLog) -> None:
        self._log = log

    @activity.defn
    async def listen(self, asked: ListenInput) -> SentVerb:
        """Wait for the next verb that is sent to a rollout by an event. Stateless: a lost worker loses nothing."""
        async with heartbeating():
            with mapped_failures():
                return await self._next(asked)

    async def _next(self, asked: ListenInput) -> SentVerb:
        which: dict[str, Any] = {"event_type": VERB_SENT, "rollout_id": asked.rollout_id, "service": asked.service}
        async with self._log.hints(**which, alone=True) as hint:
            while True:
                hint.clear()
                facts = self._log.facts(**which, after=asked.after, alone=True)
                sent = next_sent([fact async for fact in facts], asked)
                if sent is not None:
                    return sent
                if activity.is_cancelled():
                    # It may have been swallowed below us (see `CANCEL_AGAIN_S`).
                    raise asyncio.CancelledError
                if activity.is_worker_shutdown():
                    raise WorkerStops("listening goes on at another worker")
                await _either(hint.wait(), activity.wait_for_worker_shutdown())


async def _either(*waits: Awaitable[object]) -> None:
    """Wait until one of them is over, at most `REREAD_S` seconds."""
    tasks = [asyncio.ensure_future(one) for one in waits]
    try:
        await asyncio.wait(tasks, timeout=REREAD_S, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
