"""The registry: which handler wants which events, and what becomes of a handler that fails."""

import asyncio
import functools
import inspect
import logging
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from fraisier.nats.events import Event

if TYPE_CHECKING:
    from fraisier.nats.bus import NatsEventBus
    from fraisier.nats.consumer import Consumers

logger = logging.getLogger(__name__)

Handler = Callable[[Event], Any] | Callable[[Event], Awaitable[Any]]


class EventFilter(BaseModel):
    """Which events a handler wants. What is not given matches any; ``*`` and ``?`` are wildcards."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    event_type: str | None = None
    service: str | None = None
    region: str | None = None
    deployment_id: str | None = None
    target: str | None = None

    def matches(self, event: Event) -> bool:
        """Whether the event is wanted."""
        wanted = self.model_dump(exclude_none=True)
        return all(fnmatchcase(str(getattr(event, key) or ""), str(pattern)) for key, pattern in wanted.items())


@dataclass(frozen=True)
class Subscription:
    """A registered handler."""

    id: str
    handler: Handler
    event_filter: EventFilter
    is_async: bool
    retry_on_failure: bool
    retry_count: int
    retry_delay: float


class HandlersFailed(Exception):
    """Some handlers of an event failed, after their retries; the others ran.

    Attributes:
        errors: by subscription ID.
    """

    def __init__(self, errors: dict[str, Exception]) -> None:
        self.errors = errors
        super().__init__("; ".join(f"{name}: {type(error).__name__}: {error}" for name, error in errors.items()))


class EventSubscriberRegistry:
    """Handlers, and the loop that feeds them from the streams."""

    def __init__(self) -> None:
        self._subscriptions: dict[str, Subscription] = {}
        self._consumers: Consumers | None = None

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
            is_async: whether it is a coroutine function; found out by default.
            retry_on_failure: whether it is called again when it raises.
            retry_count: how often at most.
            retry_delay: seconds before the first retry; doubled for each further one.

        Raises:
            ValueError: `is_async` contradicts the handler, or a count or delay is negative.
        """
        really_async = _is_coroutine_function(handler)
        if is_async is not None and is_async != really_async:
            kind = "a coroutine function" if really_async else "a plain function"
            raise ValueError(f"{handler!r} is {kind}: leave is_async out or set it to {really_async}")
        if retry_count < 0 or retry_delay < 0:
            raise ValueError("retry_count and retry_delay must be 0 or more")
        subscription = Subscription(
            id=str(uuid.uuid4()),
            handler=handler,
            event_filter=event_filter or EventFilter(),
            is_async=really_async,
            retry_on_failure=retry_on_failure,
            retry_count=retry_count,
            retry_delay=retry_delay,
        )
        self._subscriptions[subscription.id] = subscription
        return subscription.id

    def unregister(self, subscription_id: str) -> bool:
        """Remove a subscription; whether there was one."""
        return self._subscriptions.pop(subscription_id, None) is not None

    def get_subscription_count(self) -> int:
        """How many handlers are registered."""
        return len(self._subscriptions)

    def get_subscriptions_for_event_type(self, event_type: str) -> list[Subscription]:
        """The subscriptions that could want events of a type, whatever else they filter."""
        return [
            one
            for one in self._subscriptions.values()
            if one.event_filter.event_type is None or fnmatchcase(str(event_type), one.event_filter.event_type)
        ]

    async def dispatch(self, event: Event) -> None:
        """Call every handler that wants the event, side by side, and wait for all of them.

        Raises:
            HandlersFailed: some failed after their retries; all were called.
        """
        wanted = [one for one in self._subscriptions.values() if one.event_filter.matches(event)]
        results = await asyncio.gather(*(_call(one, event) for one in wanted), return_exceptions=True)
        failed = {one.id: result for one, result in zip(wanted, results, strict=True) if isinstance(result, Exception)}
        for result in results:
            if isinstance(result, BaseException) and not isinstance(result, Exception):
                raise result
        if failed:
            raise HandlersFailed(failed)

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
        self._consumers = Consumers(event_bus, self.dispatch, durable=durable)
        await self._consumers.start()

    async def stop(self) -> None:
        """Stop feeding; what is being handled is finished first. Idempotent."""
        consumers, self._consumers = self._consumers, None
        if consumers is not None:
            await consumers.stop()


@functools.cache
def get_subscriber_registry() -> EventSubscriberRegistry:
    """The process's own registry."""
    return EventSubscriberRegistry()


def _is_coroutine_function(handler: Handler) -> bool:
    inner = handler.func if isinstance(handler, functools.partial) else handler
    return inspect.iscoroutinefunction(inner) or inspect.iscoroutinefunction(getattr(inner, "__call__", None))  # noqa: B004


async def _call(subscription: Subscription, event: Event) -> None:
    attempts = 1 + (subscription.retry_count if subscription.retry_on_failure else 0)
    for attempt in range(1, attempts + 1):
        try:
            if subscription.is_async:
                await subscription.handler(event)
            else:
                await asyncio.to_thread(subscription.handler, event)
        except Exception:
            logger.exception("handler %s failed on %s, attempt %d", subscription.id, event.event_type, attempt)
            if attempt == attempts:
                raise
            await asyncio.sleep(subscription.retry_delay * 2 ** (attempt - 1))
        else:
            return
