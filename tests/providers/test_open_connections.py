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


class Counted:
    """A connection whose end is seen."""

    def __init__(self, name: str, open_ones: list[str]) -> None:
        self.name, self._open = name, open_ones

    async def connect(self) -> None:
        self._open.append(self.name)

    async def disconnect(self) -> None:
        self._open.remove(self.name)
        if self.name == "t0":
            raise ConnectFailed("it was gone already", target=self.name)


async def test_of_the_connections_that_nobody_uses_the_last_ones_are_kept():
    open_ones: list[str] = []

    def make(provider: str, options: dict[str, Any], region: str) -> Provider:
        return cast("Provider", Counted(options["host"], open_ones))

    pool = ProviderPool(make, kept=2)
    targets = [TargetPlan(name=f"t{n}", provider="docker", options={"host": f"t{n}"}) for n in range(5)]
    async with pool.use("eu", targets[4]):
        for target in targets[:3]:
            async with pool.use("eu", target):
                pass
        assert open_ones == ["t4", "t1", "t2"]  # one that is in use is never closed, and none of the two that are kept
        async with pool.use("eu", targets[1]), pool.use("eu", targets[1]):
            pass
        async with pool.use("eu", targets[3]):
            assert sorted(open_ones) == ["t1", "t2", "t3", "t4"]
        assert open_ones == ["t4", "t1", "t3"]
    assert open_ones == ["t4", "t3"]
    await pool.close()
    assert (open_ones, pool._users, pool._opening) == ([], {}, {})


async def test_those_who_open_a_connection_at_once_share_it(ssh_bench: SshBench):
    provider = ssh_bench.provider()
    await asyncio.gather(*(provider.inspect("api") for _ in range(4)))
    assert len(ssh_bench.host._connections) == 1
    await provider.disconnect()
