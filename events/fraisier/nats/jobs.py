"""What a lane works on, and who works in it."""

import asyncio
from dataclasses import dataclass
from typing import Any

from fraisier.nats.events import Event


@dataclass(eq=False)
class Job:
    """An event for the handler.

    Attributes:
        event: the event.
        stop: once it is set, no call begins any more.
        passed: whether the next event of the same rollout had its turn.
        result: set when it was handled; fails with what the handler raised. Cancelled, it cancels the handler.
    """

    event: Event
    stop: asyncio.Event
    result: "asyncio.Future[None]"
    passed: bool = False


class WorkerTask(asyncio.Task[None]):
    """A worker's task, which knows who cancelled it.

    Attributes:
        asked: how often it was cancelled and that was not taken back.
        over: whether the event loop ends: `asyncio.run` cancels all tasks while the loop stands still.
    """

    asked = 0
    over = False

    def cancel(self, msg: Any = None) -> bool:
        """Cancel it, and count that."""
        self.asked += 1
        self.over = self.over or not self.get_loop().is_running()
        return super().cancel(msg)


class Worker:
    """A task that handles one job after the other.

    Attributes:
        task: its task; None before it began.
        late: whether the call that runs was cancelled for being late.
        dropped: whether its result is no longer wanted.
        abandoned: whether the call went on after its cancellation, and another worker took its place.
        watch: what will end a call that takes too long.
    """

    def __init__(self) -> None:
        self.task: WorkerTask | None = None
        self.watch: asyncio.TimerHandle | None = None
        self.late = self.dropped = self.abandoned = False

    @property
    def ends(self) -> bool:
        """Whether a cancellation is meant for the worker, not for the call that runs."""
        return self.dropped or (self.task is not None and self.task.over)
