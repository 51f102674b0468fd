"""What a handler is, and how it can end."""

import functools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fraisier.nats.events import Event
from fraisier.nats.filters import EventFilter

if TYPE_CHECKING:
    from fraisier.nats.lane import Lane

Handler = Callable[[Event], Any] | Callable[[Event], Awaitable[Any]]


class HandlerTimeout(Exception):
    """A handler did not end in its time."""


class HandlerCancelled(Exception):
    """A handler ended by a cancellation of its own making."""


class HandlerBroke(Exception):
    """A handler raised what would end the process, such as `SystemExit`."""


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
        name: the handler's name, the same after a restart that registers in the same order.
        handler: the function.
        event_filter: which events it wants.
        is_async: whether it runs on the event loop; otherwise in a thread.
        retry_on_failure: whether it is called again when it raises.
        retry_count: how often at most.
        retry_delay: seconds before the first retry.
        timeout: seconds that one call may take.
    """

    id: str
    name: str
    handler: Handler
    event_filter: EventFilter
    is_async: bool
    retry_on_failure: bool
    retry_count: int
    retry_delay: float
    timeout: float
    lane: "Lane" = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        from fraisier.nats.lane import Lane  # noqa: PLC0415 (it needs the subscription)

        object.__setattr__(self, "lane", Lane(self))


def handler_name(handler: Handler) -> str:
    """Where a handler is defined."""
    inner = handler.func if isinstance(handler, functools.partial) else handler
    return f"{inner.__module__}.{getattr(inner, '__qualname__', type(inner).__qualname__)}"
