"""Trying again what may pass by itself: a target or a database that does not answer just now."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from temporalio import activity

from fraisier.providers.errors import ProviderError
from fraisier.workflows.policy import UNREACHABLE_AFTER_S

R = TypeVar("R")

RETRY_EVERY_S = 2.0


async def patiently(
    act: Callable[[], Awaitable[R]],
    *,
    about: str,
    patience_s: float = UNREACHABLE_AFTER_S,
    from_the_first_error: bool = False,
    final: tuple[type[ProviderError], ...] = (),
) -> R:
    """Do it, and again while the error may pass and the patience is not over.

    Args:
        act: what is done.
        about: what it is done to, for the log.
        patience_s: how long it is tried, in seconds.
        from_the_first_error: when that time begins; else at once.
        final: errors after which it is not tried again, although they may pass.

    Raises:
        ProviderError: the last one.
    """
    loop = asyncio.get_running_loop()
    deadline = None if from_the_first_error else loop.time() + patience_s
    while True:
        try:
            return await act()
        except ProviderError as error:
            deadline = deadline or loop.time() + patience_s
            if not error.retryable or isinstance(error, final) or loop.time() + RETRY_EVERY_S > deadline:
                raise
            activity.logger.warning("%s: trying again: %s", about, error)
        await asyncio.sleep(RETRY_EVERY_S)
