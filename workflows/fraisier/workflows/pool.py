"""Connected providers, one a target and worker: the real `TargetPool`."""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from fraisier.providers.base import Provider
from fraisier.providers.errors import ProviderError
from fraisier.workflows.plans import TargetPlan

logger = logging.getLogger(__name__)

KEPT = 500
"""How many connections stay open that no step uses: a worker often may have 1,024 files open, and has more targets."""

ProviderFactory = Callable[[str, dict[str, Any], str], Provider]
"""Makes a provider from its name, a target's options and the region."""


class ProviderPool:
    """Keeps a target's connection between steps, so that a step costs no handshake.

    Args:
        make: makes a provider that is not connected yet.
        kept: how many stay open that no step uses; beyond that the ones that were used longest ago are closed.
    """

    def __init__(self, make: ProviderFactory, *, kept: int = KEPT) -> None:
        self._make = make
        self._kept = kept
        self._open: dict[tuple[str, str], Provider] = {}
        self._opening: dict[tuple[str, str], asyncio.Lock] = {}
        self._users: Counter[tuple[str, str]] = Counter()

    @asynccontextmanager
    async def use(self, region: str, target: TargetPlan) -> AsyncIterator[Provider]:
        """The target's provider, connected.

        After an error that a new connection may mend the connection is closed, so that the next use opens one.

        Raises:
            ProviderError: it cannot be connected.
        """
        key = (region, target.model_dump_json())
        self._users[key] += 1
        try:
            provider = await self._connected(key, region, target)
            try:
                yield provider
            except ProviderError as error:
                if error.retryable:
                    await self._discard(key, provider)
                raise
            except BaseException:
                # Cancelled or broken in mid-step: whatever the connection still carries is nobody's any more.
                await self._discard(key, provider)
                raise
        finally:
            self._release(key)
        await self._close_oldest()

    async def close(self) -> None:
        """Close every connection."""
        for key, provider in list(self._open.items()):
            await self._discard(key, provider)

    def _release(self, key: tuple[str, str]) -> None:
        """Note that a step no longer uses a connection, which is now the one that was used last."""
        self._users[key] -= 1
        if not self._users[key]:
            del self._users[key]
            self._opening.pop(key, None)
            if key in self._open:
                self._open[key] = self._open.pop(key)

    async def _close_oldest(self) -> None:
        while len(self._open) - len(self._users) > self._kept:
            oldest = next(key for key in self._open if key not in self._users)
            try:
                await self._discard(oldest, self._open[oldest])
            except Exception:
                # The step that has just ended did its work, whatever becomes of another one's connection.
                logger.exception("the connection of a target that nobody uses could not be closed")

    async def _connected(self, key: tuple[str, str], region: str, target: TargetPlan) -> Provider:
        async with self._opening.setdefault(key, asyncio.Lock()):
            provider = self._open.get(key)
            if provider is None:
                provider = self._make(target.provider, target.options, region)
                try:
                    await provider.connect()
                except BaseException:
                    await provider.disconnect()  # it may have come half way
                    raise
                self._open[key] = provider
            return provider

    async def _discard(self, key: tuple[str, str], provider: Provider) -> None:
        if self._open.get(key) is provider:
            del self._open[key]
        await provider.disconnect()
