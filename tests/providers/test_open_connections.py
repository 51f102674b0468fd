"""No connection is left open, whatever becomes of the one who asked for it."""

import asyncio
from typing import Any, cast

import pytest

from fraisier.providers.base import Provider
from fraisier.providers.errors import ConnectFailed
from fraisier.workflows.plans import TargetPlan
from fraisier.workflows.pool import ProviderPool
from tests.providers.ssh_bench import SshBench


async def test_a_provider_that_came_half_way_is_disconnected():
    class HalfWay:
        """Let in, and then refused: a host whose engine is down."""

        left = False

        async def connect(self) -> None:
            raise ConnectFailed("no engine", target="t1")

        async def disconnect(self) -> None:
            self.left = True

    made = HalfWay()

    def make(provider: str, options: dict[str, Any], region: str) -> Provider:
        return cast("Provider", made)

    with pytest.raises(ConnectFailed):
        async with ProviderPool(make).use("eu", TargetPlan(name="t1", provider="docker", options={})):
            pass
    assert made.left


async def test_those_who_open_a_connection_at_once_share_it(ssh_bench: SshBench):
    provider = ssh_bench.provider()
    await asyncio.gather(*(provider.inspect("api") for _ in range(4)))
    assert len(ssh_bench.host._connections) == 1
    await provider.disconnect()
