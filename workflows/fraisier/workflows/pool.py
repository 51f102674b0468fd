"""Connected providers, one a target and worker: the real `TargetPool`."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from fraisier.providers.base import Provider
from fraisier.providers.errors import ProviderError
from fraisier.workflows.plans import TargetPlan

ProviderFactory = Callable[[str, dict[str, Any], str], Provider]
"""Makes a provider from its name, a target's options and the region."""


class ProviderPool:
    """Keeps a target's connection between steps, so that a step costs no handshake.

    Args:
        make: makes a provider that is not connected yet.
    """

    def __init__(self, make: ProviderFactory) -> None:
        self._make = make
        self._open: dict[tuple[str, str], Provider] = {}
        self._opening: dict[tuple[str, str], asyncio.Lock] = {}

    @asynccontextmanager
    async def use(self, region: str, target: TargetPlan) -> AsyncIterator[Provider]:
        """The target's provider, connected.

        After an error that a new connection may mend the connection is closed, so that the next use opens one.

        Raises:
            ProviderError: it cannot be connected.
        """
        key = (region, target.model_dump_json())
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

    async def close(self) -> None:
        """Close every connection."""
        for key, provider in list(self._open.items()):
            await self._discard(key, provider)

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
