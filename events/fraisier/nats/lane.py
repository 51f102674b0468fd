"""One handler's own lane: its order, its concurrency, its threads, its retries, its time."""

import asyncio
import inspect
import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from fraisier.nats.events import Event
from fraisier.nats.handling import Handler, HandlerBroke, HandlerCancelled, HandlerTimeout, NotStarted, Subscription
from fraisier.nats.jobs import Job, Worker, WorkerTask
from fraisier.nats.metrics import HANDLER_ERRORS, HANDLER_SECONDS
from fraisier.nats.threads import DaemonThreads
from fraisier.nats.waiting import end_of, pause, rest_of_cancellation

logger = logging.getLogger(__name__)

CONCURRENCY = 8
"""Events that one handler handles at once, each of another rollout."""

HUNG = 64
"""Calls of a plain handler that may hang at once; with more of them its next ones fail at once."""

LAST_WORDS_S = 1.0
"""How long a handler that was cancelled for being late may take to end before the next event has its turn."""

IN_A_ROW = 16
"""Events that one worker handles before everybody else has a turn on the event loop."""


class Lane:
    """Calls one handler: in order within a rollout, side by side over rollouts, and in nobody else's way.

    Args:
        subscription: whose handler.
    """

    def __init__(self, subscription: Subscription) -> None:
        self._subscription = subscription
        self._closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ready: deque[Job] = deque()
        self._behind: dict[str, deque[Job]] = {}
        self._workers: set[Worker] = set()
        self._seconds = HANDLER_SECONDS.labels(subscription.name)
        self._errors = HANDLER_ERRORS.labels(subscription.name)
        # Threads of its own: a handler that blocks must not take those of the others.
        self._threads = DaemonThreads(f"fraisier-{subscription.name}")
        self._tamed = _tamed(subscription.handler)

    @property
    def runs_here(self) -> bool:
        """Whether the handler is what asks."""
        task = asyncio.current_task()
        return any(worker.task is task for worker in self._workers)

    def submit(self, event: Event, stop: asyncio.Event) -> "asyncio.Future[None]":
        """Take a place behind the events of the same rollout.

        Args:
            event: what to handle.
            stop: once it is set, no call begins any more: an event whose turn comes then, or which waits for its next
                try, fails with `NotStarted`.
        """
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            # A program may run one loop after another; what waited in the last one is gone with it.
            self._loop, self._ready, self._behind, self._workers = loop, deque(), {}, set()
        job = Job(event, stop, loop.create_future())
        behind = self._behind.get(event.deployment_id)
        if behind is None:
            self._behind[event.deployment_id] = deque()
            self._ready.append(job)
            self._staff()
        else:
            behind.append(job)
        return job.result

    def close(self) -> None:
        """Give the threads back; what runs goes on to its end."""
        self._closed = True
        self._threads.close()

    async def abort(self) -> None:
        """Cancel what runs, and wait a second for its end; what waits is not started."""
        waiting = [*self._ready, *(job for jobs in self._behind.values() for job in jobs)]
        self._ready.clear()
        self._behind.clear()
        for job in waiting:
            if not job.result.done():
                job.result.set_exception(NotStarted())
        tasks = [worker.task for worker in self._workers if worker.task is not None]
        for worker in self._workers:
            worker.dropped = True
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=LAST_WORDS_S)

    def _staff(self) -> None:
        if getattr(asyncio.current_task(), "over", False):
            return  # nobody begins anything when the loop ends
        if len(self._workers) < CONCURRENCY and self._loop is not None:
            worker = Worker()
            self._workers.add(worker)
            worker.task = WorkerTask(self._work(worker), loop=self._loop)

    async def _work(self, worker: Worker) -> None:
        handled = 0
        try:
            while self._ready and not worker.abandoned:
                job = self._ready.popleft()
                try:
                    await self._handle(job, worker)
                finally:
                    self._next(job)
                handled += 1
                if handled % IN_A_ROW == 0:
                    await asyncio.sleep(0)
        except asyncio.CancelledError:
            # Else a handler cancelled its own task and ended before that arrived.
            if worker.ends:
                raise
        finally:
            self._workers.discard(worker)
            if self._ready:
                self._staff()

    def _next(self, job: Job) -> None:
        """Let the next event of the same rollout have its turn, once."""
        if job.passed:
            return
        job.passed = True
        if not job.result.done():
            job.result.set_exception(NotStarted())
        behind = self._behind.get(job.event.deployment_id)
        if behind:
            self._ready.append(behind.popleft())
            self._staff()
        else:
            self._behind.pop(job.event.deployment_id, None)

    async def _handle(self, job: Job, worker: Worker) -> None:
        try:
            await self._with_retries(job, worker)
        except Exception as error:  # noqa: BLE001 (a handler may raise anything)
            if not job.result.done():
                job.result.set_exception(error)
        else:
            if not job.result.done():
                job.result.set_result(None)

    async def _with_retries(self, job: Job, worker: Worker) -> None:
        subscription = self._subscription
        retries = subscription.retry_count if subscription.retry_on_failure else 0
        for attempt in range(retries + 1):
            if self._closed or job.result.done():
                return  # unregistered meanwhile, or nobody waits for it: it is not wanted any more
            if job.stop.is_set():
                raise NotStarted
            try:
                await self._once(job, worker)
            except Exception as error:
                self._errors.inc()
                logger.warning(
                    "handler %s failed on %s, attempt %d of %d: %.500r",
                    subscription.name, job.event.event_type, attempt + 1, retries + 1, error,
                )  # fmt: skip
                if attempt == retries:
                    raise
                await pause(subscription.retry_delay * 2**attempt, job.stop)
            else:
                return

    async def _once(self, job: Job, worker: Worker) -> None:
        began = time.monotonic()
        try:
            if self._subscription.is_async:
                await self._on_loop(job, worker)
            else:
                await self._in_thread(job)
        finally:
            self._seconds.observe(time.monotonic() - began)

    async def _in_thread(self, job: Job) -> None:
        name, timeout = self._subscription.name, self._subscription.timeout
        if self._threads.busy >= HUNG + CONCURRENCY:
            raise HandlerTimeout(f"{HUNG} calls of {name} hang already")
        call = self._threads.run(self._tamed, job.event)
        await end_of(call, timeout=timeout)
        if not call.done():
            call.cancel()
            raise HandlerTimeout(f"{name} did not end in {timeout} s")
        result = call.result()
        if inspect.iscoroutine(result):
            result.close()
            raise TypeError(f"{name} is async: register it with is_async=True")

    async def _on_loop(self, job: Job, worker: Worker) -> None:
        loop, task, name = asyncio.get_running_loop(), worker.task, self._subscription.name
        assert task is not None  # noqa: S101 (it is this one)

        def drop(result: "asyncio.Future[None]") -> None:
            if result.cancelled():
                worker.dropped = True
                task.cancel()

        worker.late = worker.dropped = False
        worker.watch = loop.call_later(self._subscription.timeout, self._too_late, job, worker)
        job.result.add_done_callback(drop)
        cancelled = False
        try:
            await self._subscription.handler(job.event)
        except asyncio.CancelledError:
            cancelled = True
        except (Exception, GeneratorExit):
            raise
        except BaseException as end:
            raise HandlerBroke(f"it raised {end!r}") from end
        finally:
            worker.watch.cancel()
            job.result.remove_done_callback(drop)
            if task.asked and not worker.ends:
                cancelled = await rest_of_cancellation(task) or cancelled
                task.asked = 0
        if cancelled and worker.ends:
            raise asyncio.CancelledError
        if worker.late:
            raise HandlerTimeout(f"{name} did not end in {self._subscription.timeout} s")
        if cancelled:
            raise HandlerCancelled(f"{name} cancelled itself")

    def _too_late(self, job: Job, worker: Worker) -> None:
        worker.late = True
        if worker.task is not None and self._loop is not None:
            worker.task.cancel()
            worker.watch = self._loop.call_later(LAST_WORDS_S, self._abandon, job, worker)

    def _abandon(self, job: Job, worker: Worker) -> None:
        """Leave a call alone that goes on after its cancellation, and give its place to another worker."""
        worker.abandoned = True
        self._workers.discard(worker)
        if not job.result.done():
            timeout = self._subscription.timeout
            job.result.set_exception(HandlerTimeout(f"{self._subscription.name} did not end in {timeout} s"))
        self._next(job)
        if self._ready:
            self._staff()


def _tamed(handler: Handler) -> Callable[[Event], Any]:
    """A handler whose `SystemExit` is its own failure: raised on an event loop it would end the loop."""

    def call(event: Event) -> Any:
        try:
            return handler(event)
        except BaseException as end:
            if isinstance(end, Exception) and not isinstance(end, StopIteration):
                raise
            raise HandlerBroke(f"it raised {end!r}") from end

    return call
