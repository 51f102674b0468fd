"""A sliding window over many things to do, and when a history is long enough. Deterministic."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, TypeVar

from temporalio import workflow

from fraisier.workflows import policy

T = TypeVar("T")


def long_enough() -> bool:
    """Whether the workflow shall go on in a run with a history of its own: Temporal says so from some 4,000 events on.

    Temporal's word is part of the history, so a replay hears the same.
    """
    return workflow.info().is_continue_as_new_suggested()


def never() -> bool:
    """For what must be done in one run."""
    return False


async def in_window(
    items: Sequence[T], act: Callable[[T], Awaitable[Any]], *, shut: Callable[[], bool] = long_enough
) -> list[T]:
    """Do something for each item in order, so many at a time, and start no more once it is shut.

    Args:
        items: what it is done for.
        act: what is done.
        shut: whether no more shall start.

    Returns:
        The items for which it was not started.
    """
    left: list[T] = []
    room = asyncio.Semaphore(at_once(len(items)))

    async def one(item: T) -> None:
        async with room:
            if shut():
                left.append(item)
            else:
                await act(item)

    await all_of(one(item) for item in items)
    return left


async def all_of(works: Iterable[Awaitable[Any]]) -> None:
    """Wait until all have ended, and raise the first of their errors."""
    ended = await asyncio.gather(*works, return_exceptions=True)
    for error in ended:
        if isinstance(error, BaseException):
            raise error


def at_once(wanted: int) -> int:
    """How many of so many may be under way."""
    # Histories that began without the limit have all of them under way.
    return wanted if wanted <= policy.AT_ONCE or not workflow.patched("window") else policy.AT_ONCE
