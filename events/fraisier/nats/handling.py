"""One handler's own lane: its order, its concurrency, its threads, its retries, its time."""

import asyncio
import functools
import inspect
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from fraisier.nats.events import Event
from fraisier.nats.filters import EventFilter
from fraisier.nats.metrics import HANDLER_ERRORS, HANDLER_SECONDS

logger = logging.getLogger(__name__)

Handler = Callable[[Event], Any] | Callable[[Event], Awaitable[Any]]

CONCURRENCY = 8
"""Events that one handler handles at once, each of another rollout."""


LAST_WORDS_S = 1.0
"""How long a handler that was cancelled for being late may take to end before the next event has its turn."""


class HandlerTimeout(Exception):
    """A handler did not end in its time."""


class HandlerCancelled(Exception):
    """A handler ended by a cancellation of its own making."""


class HandlersFailed(Exception):
    """Some handlers of an event failed, after their retries; the others ran.

    Attributes:
        errors: by the handler's name.
    """

    def __init__(self, errors: dict[str, Exception]) -> None:
        self.errors = errors
        super().__init__("; ".join(f"{name}: {type(error).__name__}: {error}" for name, error in errors.items()))


class NotStarted(Exception):
    """The registry stopped before the handler's turn came; the event comes again."""


@dataclass(frozen=True)
class Subscription:
    """A registered handler.

    Attributes:
        id: what `unregister` takes.
        handler: the function.
        event_filter: which events it wants.
        is_async: whether it runs on the event loop; otherwise in a thread.
        retry_on_failure: whether it is called again when it raises.
        retry_count: how often at most.
        retry_delay: seconds before the first retry.
        timeout: seconds that one call may take.
    """

    id: str
    handler: Handler
    event_filter: EventFilter
    is_async: bool
    retry_on_failure: bool
    retry_count: int
    retry_delay: float
    timeout: float
    lane: "Lane" = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "lane", Lane(self))

    @property
    def name(self) -> str:
        """The handler's name, the same after a restart."""
        inner = self.handler.func if isinstance(self.handler, functools.partial) else self.handler
        return f"{inner.__module__}.{getattr(inner, '__qualname__', type(inner).__qualname__)}"


class Lane:
    """Calls one handler: in order within a rollout, side by side over rollouts, and in nobody else's way.

    Args:
        subscription: whose handler.
    """

    def __init__(self, subscription: Subscription) -> None:
        self._subscription = subscription
        self._closed = False
        self._slots = asyncio.Semaphore(CONCURRENCY)
        self._last: dict[str, asyncio.Future[None]] = {}
        self._seconds = HANDLER_SECONDS.labels(subscription.name)
        self._errors = HANDLER_ERRORS.labels(subscription.name)
        # Threads of its own: a handler that blocks must not take those of the others.
        self._threads = ThreadPoolExecutor(CONCURRENCY, f"fraisier-{subscription.id[:8]}")

    def submit(self, event: Event, stopping: Callable[[], bool]) -> Coroutine[Any, Any, None]:
        """Take a place behind the events of the same rollout; what is returned handles the event when awaited.

        It raises what the handler raised.

        Args:
            event: what to handle.
            stopping: asked when its turn has come; True refuses it with `NotStarted`.
        """
        before = self._last.get(event.deployment_id)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._last[event.deployment_id] = turn
        return self._in_turn(event, before, turn, stopping)

    def close(self) -> None:
        """Give the threads back; what runs in them goes on to its end."""
        self._closed = True
        self._threads.shutdown(wait=False)

    async def _in_turn(
        self,
        event: Event,
        before: "asyncio.Future[None] | None",
        turn: "asyncio.Future[None]",
        stopping: Callable[[], bool],
    ) -> None:
        try:
            if before is not None:
                await asyncio.wait({before})
            async with self._slots:
                if stopping():
                    raise NotStarted
                await self._with_retries(event)
        finally:
            turn.set_result(None)
            if self._last.get(event.deployment_id) is turn:
                del self._last[event.deployment_id]

    async def _with_retries(self, event: Event) -> None:
        subscription = self._subscription
        retries = subscription.retry_count if subscription.retry_on_failure else 0
        for attempt in range(retries + 1):
            if self._closed:
                return  # unregistered meanwhile: nobody wants it any more
            try:
                await self._once(event)
            except Exception as error:
                self._errors.inc()
                logger.warning(
                    "handler %s failed on %s, attempt %d of %d: %r",
                    subscription.name, event.event_type, attempt + 1, retries + 1, error,
                )  # fmt: skip
                if attempt == retries:
                    raise
                await asyncio.sleep(subscription.retry_delay * 2**attempt)
            else:
                return

    async def _once(self, event: Event) -> None:
        began = time.monotonic()
        # Of its own, so that a handler that cancels itself does not cancel us.
        work = asyncio.ensure_future(self._call(event))
        try:
            await asyncio.wait({work}, timeout=self._subscription.timeout)
        finally:
            late = not work.done()
            if late:
                work.cancel()
            self._seconds.observe(time.monotonic() - began)
        if late:
            await asyncio.wait({work}, timeout=LAST_WORDS_S)
            raise HandlerTimeout(f"{self._subscription.name} did not end in {self._subscription.timeout} s")
        if work.cancelled():
            raise HandlerCancelled(f"{self._subscription.name} cancelled itself")
        result = work.result()
        if inspect.iscoroutine(result):
            result.close()
            raise TypeError(f"{self._subscription.name} is async: register it with is_async=True")

    def _call(self, event: Event) -> "Awaitable[Any]":
        handler = self._subscription.handler
        if self._subscription.is_async:
            return _awaited(handler, event)
        return asyncio.get_running_loop().run_in_executor(self._threads, handler, event)


async def _awaited(handler: Handler, event: Event) -> None:
    await handler(event)
