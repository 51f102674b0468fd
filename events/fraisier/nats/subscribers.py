"""The registry: which handler wants which events, and what becomes of a handler that fails."""

import asyncio
import functools
import inspect
import itertools
import uuid
from typing import TYPE_CHECKING

from fraisier.nats.events import Event
from fraisier.nats.filters import EventFilter
from fraisier.nats.handling import Handler, HandlersFailed, NotStarted, Subscription, handler_name

if TYPE_CHECKING:
    from fraisier.nats.bus import NatsEventBus
    from fraisier.nats.consumer import Consumers

__all__ = ["EventFilter", "EventSubscriberRegistry", "HandlersFailed", "get_subscriber_registry"]

HANDLER_TIMEOUT_S = 60.0


class EventSubscriberRegistry:
    """Handlers, and the loop that feeds them from the streams.

    Every handler has a lane of its own: it gets the events of one rollout in their order and those of several
    rollouts side by side, and one that is slow, raises or hangs delays nobody but itself.

    Args:
        handler_timeout: seconds that one call of a handler may take; a thread that is over it cannot be stopped
            and is left alone.
    """

    def __init__(self, *, handler_timeout: float = HANDLER_TIMEOUT_S) -> None:
        self._handler_timeout = handler_timeout
        self._subscriptions: dict[str, Subscription] = {}
        self._consumers: Consumers | None = None
        self._stop = asyncio.Event()

    def register(
        self,
        handler: Handler,
        event_filter: EventFilter | None = None,
        *,
        is_async: bool | None = None,
        retry_on_failure: bool = False,
        retry_count: int = 3,
        retry_delay: float = 1.0,
    ) -> str:
        """Register a handler and return the subscription's ID.

        Args:
            handler: a function of one event; a plain one runs in a thread, so that it stops nobody else.
            event_filter: which events it wants; all by default.
            is_async: whether its result is awaited, on the event loop; found out by default. Say True for a plain
                function that returns a coroutine.
            retry_on_failure: whether it is called again when it raises.
            retry_count: how often at most.
            retry_delay: seconds before the first retry; doubled for each further one.

        Raises:
            ValueError: `is_async` is False for an async handler, or a count or delay is negative.
        """
        coroutine = _is_coroutine_function(handler)
        if coroutine and is_async is False:
            raise ValueError(f"{handler!r} is an async handler: register it with is_async=True")
        if retry_count < 0 or retry_delay < 0:
            raise ValueError("retry_count and retry_delay must be 0 or more")
        subscription = Subscription(
            id=str(uuid.uuid4()),
            name=self._new_name(handler_name(handler)),
            handler=handler,
            event_filter=event_filter or EventFilter(),
            is_async=coroutine or bool(is_async),
            retry_on_failure=retry_on_failure,
            retry_count=retry_count,
            retry_delay=retry_delay,
            timeout=self._handler_timeout,
        )
        self._subscriptions[subscription.id] = subscription
        return subscription.id

    def unregister(self, subscription_id: str) -> bool:
        """Remove a subscription; whether there was one. What its handler has begun goes on to its end."""
        subscription = self._subscriptions.pop(subscription_id, None)
        if subscription is not None:
            subscription.lane.close()
        return subscription is not None

    def get_subscription_count(self) -> int:
        """How many handlers are registered."""
        return len(self._subscriptions)

    def get_subscriptions_for_event_type(self, event_type: str) -> list[Subscription]:
        """The subscriptions that could want events of a type, whatever else they filter."""
        return [one for one in self._subscriptions.values() if one.event_filter.may_want(event_type)]

    async def dispatch(self, event: Event, *, handler: str | None = None) -> int:
        """Call every handler that wants the event, side by side, and wait for all of them; how many there were.

        Args:
            event: what to handle.
            handler: only the handler of this name.

        Raises:
            HandlersFailed: some failed after their retries; all were called.
        """
        calls = self.submit(event, handler=handler)
        # A single one needs no task of its own.
        ends = [call for _, call in calls]
        results = [await _outcome(ends[0])] if len(ends) == 1 else await asyncio.gather(*map(_outcome, ends))
        failed = {name: why for (name, _), why in zip(calls, results, strict=True) if why is not None}
        for why in failed.values():
            if isinstance(why, NotStarted):
                raise why
        if failed:
            raise HandlersFailed(failed)
        return len(calls)

    def submit(self, event: Event, *, handler: str | None = None) -> "list[tuple[str, asyncio.Future[None]]]":
        """Call every handler that wants the event; each one's name, and what will tell how its call ended.

        Args:
            event: what to handle.
            handler: only the handler of this name.
        """
        return [
            (one.name, one.lane.submit(event, self._stop))
            for one in self._subscriptions.values()
            if one.event_filter.matches(event) and handler in (None, one.name)
        ]

    async def start(self, event_bus: "NatsEventBus", *, durable: str = "fraisier") -> None:
        """Feed the handlers from the streams until `stop`.

        Args:
            event_bus: its client is connected.
            durable: the name under which the server remembers what was handled; a restart goes on there.

        Raises:
            RuntimeError: it runs already.
        """
        from fraisier.nats.consumer import Consumers  # noqa: PLC0415 (it needs the registry)

        if self._consumers is not None:
            raise RuntimeError("the registry runs already; stop it first")
        self._stop = asyncio.Event()
        consumers = Consumers(event_bus, self.submit, durable=durable)
        self._consumers = consumers
        try:
            await consumers.start()
        except BaseException:
            self._consumers = None
            raise

    async def stop(self) -> None:
        """Stop feeding. Calls that run are finished first, all else comes again later. Idempotent.

        It takes as long as the longest call that runs, `handler_timeout` at most; cancelled, it ends them too.

        Raises:
            RuntimeError: a handler asks, for whose end it would wait.
        """
        if any(one.lane.runs_here for one in self._subscriptions.values()):
            raise RuntimeError(
                "stop() in a handler would wait for that handler: set an event that somebody else awaits"
            )
        consumers, self._consumers = self._consumers, None
        if consumers is not None:
            self._stop.set()
            try:
                await consumers.stop()
            except BaseException:
                await asyncio.gather(*(one.lane.abort() for one in self._subscriptions.values()))
                raise
            finally:
                self._stop = asyncio.Event()

    def _new_name(self, name: str) -> str:
        """The name, with a number where others have it: a name stands for one handler's outcomes and letters."""
        taken = {one.name for one in self._subscriptions.values()}
        numbered = (f"{name}#{number}" for number in itertools.count(2))
        return next(one for one in itertools.chain((name,), numbered) if one not in taken)


@functools.cache
def get_subscriber_registry() -> EventSubscriberRegistry:
    """The process's own registry."""
    return EventSubscriberRegistry()


async def _outcome(call: "asyncio.Future[None]") -> Exception | None:
    try:
        await call
    except Exception as error:  # noqa: BLE001 (a handler may raise anything)
        return error
    return None


def _is_coroutine_function(handler: Handler) -> bool:
    inner = handler.func if isinstance(handler, functools.partial) else handler
    return inspect.iscoroutinefunction(inner) or inspect.iscoroutinefunction(getattr(inner, "__call__", None))  # noqa: B004
