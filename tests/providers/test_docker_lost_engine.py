"""An engine that dies or hangs in the middle of a request: the step ends right once it is back, and happens once."""

import asyncio
import json
import secrets
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from fraisier.providers.docker import DockerProvider, connection
from fraisier.providers.errors import CommandUnknown, ConnectFailed
from fraisier.providers.models import HealthCheck, Release
from fraisier.providers.testing import QUICK, Rollout
from tests.providers.ssh_bench import free_port
from tests.support.own_engine import OwnEngine, own_engine
from tests.support.registry import Registry
from tests.support.relay import Relay, relay

PATIENCE_S = 60.0
HEALTH = HealthCheck(http="http://127.0.0.1:8080/health", expect_version=True, **QUICK)
REQUESTS = {
    "pull": "/images/create",
    "create": "/containers/create?name={name}-",
    "start": "/start",
    "stop": "/stop",
    "rename": "/rename?name={name}-",
}
"""What stands in the first line of a request about a release's container; a claim's name goes on with a dot."""


@pytest.fixture(scope="module")
def engine() -> Iterator[OwnEngine]:
    """An engine that the tests may kill; what it runs lives on meanwhile."""
    with own_engine("--live-restore") as engine:
        yield engine


class Shop:
    """A service on the engine, by way of a relay."""

    def __init__(self, engine: OwnEngine, through: Relay) -> None:
        self.engine, self.through = engine, through
        self.name = f"shop-{secrets.token_hex(4)}"
        self.provider = self.new_provider()
        self._ended: dict[int, set[str]] = {}

    def new_provider(self, **more: Any) -> DockerProvider:
        config = {"engine": self.through.url, "name": "t1", "stop_timeout": "1s", "settle": "200ms"}
        return DockerProvider(config={**config, "step_timeout": "20s", **more})

    def release(self, version: str, image: str = "") -> Release:
        image = image or self.engine.web_image(version)
        return Release(service=self.name, version=version, digest=image, image=image)

    async def attempt(self, generation: int, attempt: int, release: Release) -> None:
        """The steps of a rollout, from the one that failed before: as a worker sends it again."""
        rollout, ended = Rollout(release, generation=generation), self._ended.setdefault(generation, set())
        for name, act in (("stage", self.provider.stage), ("activate", self.provider.activate)):
            if name not in ended:
                await act(rollout.step(name, attempt), release)
                ended.add(name)
        health = await self.provider.check_health(rollout.step("health", attempt), release.ref, HEALTH)
        assert health.healthy, health.detail

    def upset(self, request: str, when: Any, happens: Callable[[], object]) -> None:
        """Let something happen in the middle of the next request of a kind."""
        self.through.trigger = REQUESTS[request].format(name=self.name).encode()
        self.through.when, self.through.happens = when, happens

    def containers(self) -> list[dict[str, Any]]:
        """All of them, claims too."""
        listed = self.engine.run(
            "ps", "--all", "--quiet", "--filter", f"label=dev.fraisier.service={self.name}"
        ).split()
        return json.loads(self.engine.run("inspect", *listed)) if listed else []

    def versions(self) -> dict[str, str]:
        """The state of each release's container, by version: there must be one each."""
        found = [one for one in self.containers() if one["Config"]["Labels"]["dev.fraisier.kind"] != "claim"]
        states = {one["Config"]["Labels"]["dev.fraisier.version"]: one["State"]["Status"] for one in found}
        assert len(states) == len(found), [one["Name"] for one in found]
        return states

    def kinds(self) -> list[str]:
        """What they all are."""
        return [one["Config"]["Labels"]["dev.fraisier.kind"] for one in self.containers()]


@pytest.fixture
async def shop(engine: OwnEngine) -> AsyncIterator[Shop]:
    engine.revive()
    socket = engine.folder / f"relay-{secrets.token_hex(4)}.sock"
    async with relay(socket, engine.socket) as through:
        shop = Shop(engine, through)
        yield shop
        await shop.provider.disconnect()
        engine.revive()
        engine.run("rm", "--force", "--volumes", *(one["Id"] for one in shop.containers()), check=False)
    socket.unlink()


@pytest.mark.parametrize(
    ("request_", "when"),
    [
        ("create", "before"),
        ("create", "after"),
        ("start", "before"),
        ("start", "after"),
        ("stop", "after"),
        ("rename", "after"),
    ],
)
async def test_an_engine_that_is_killed(shop: Shop, request_: str, when: Any):
    await shop.attempt(1, 1, shop.release("1.0.0"))
    release = shop.release("2.0.0")
    shop.upset(request_, when, shop.engine.kill)
    with pytest.raises((CommandUnknown, ConnectFailed)) as lost:
        await shop.attempt(2, 1, release)
    assert lost.value.retryable
    assert shop.through.happened.is_set()
    with pytest.raises(ConnectFailed, match="no Docker engine answers"):
        await shop.attempt(2, 2, release)
    await asyncio.to_thread(shop.engine.start)
    await shop.attempt(2, 3, release)
    assert shop.versions() == {"1.0.0": "exited", "2.0.0": "running"}
    assert shop.kinds().count("claim") == 1


@pytest.mark.parametrize(("request_", "when"), [("create", "after"), ("start", "before"), ("stop", "before")])
async def test_an_engine_that_hangs(shop: Shop, request_: str, when: Any, monkeypatch: pytest.MonkeyPatch):
    await shop.attempt(1, 1, shop.release("1.0.0"))
    release = shop.release("2.0.0")
    monkeypatch.setattr(connection, "CALL_S", 2.0)
    monkeypatch.setattr("fraisier.providers.docker.engine.CALL_S", 2.0)
    await shop.provider.disconnect()
    shop.upset(request_, when, shop.engine.hang)
    try:
        with pytest.raises((CommandUnknown, ConnectFailed), match=r"timed out|no answer within") as lost:
            await shop.attempt(2, 1, release)
        assert lost.value.retryable
    finally:
        shop.engine.wake()
    # What it was asked for it may yet do: the next attempt finds it done, or does it.
    monkeypatch.undo()
    await shop.attempt(2, 2, release)
    assert shop.versions() == {"1.0.0": "exited", "2.0.0": "running"}
    assert shop.kinds().count("claim") == 1


async def test_a_candidate_that_an_engine_died_with_goes_with_the_rollback(shop: Shop):
    """On a fixed port the release is tried first; what was left of the trial would otherwise run for ever."""
    shop.provider = shop.new_provider(ports=[f"127.0.0.1:{free_port()}:8080"])
    old = shop.release("1.0.0")
    await shop.attempt(1, 1, old)
    shop.upset("start", "after", shop.engine.kill)
    with pytest.raises((CommandUnknown, ConnectFailed)):
        await shop.attempt(2, 1, shop.release("2.0.0"))
    await asyncio.to_thread(shop.engine.start)
    assert "candidate" in shop.kinds()
    await shop.provider.rollback(Rollout(old, generation=3).step("rollback"), old.ref)
    assert "candidate" not in shop.kinds()
    assert [one["State"]["Status"] for one in shop.containers()].count("running") == 1


async def test_a_hung_engine_holds_up_neither_the_loop_nor_its_threads(shop: Shop):
    """As many calls as the loop has threads, and more, wait for it; something else still gets a thread."""
    await shop.provider.connect()
    shop.engine.hang()
    calls = [
        asyncio.create_task(shop.provider._engine.call("ping", lambda api: api.ping(), seconds=3.0)) for _ in range(50)
    ]
    try:
        ticks = await asyncio.wait_for(_until_done(calls, asyncio.to_thread(threading.get_ident)), PATIENCE_S)
    finally:
        shop.engine.wake()
    ended = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(one) for one in ended} == {CommandUnknown}
    assert ticks > 2  # a loop that is held up comes round once
    while any(one.name == "docker call" for one in threading.enumerate()):  # noqa: ASYNC110 (threads tell nobody)
        await asyncio.sleep(0.05)


@pytest.mark.parametrize(("happens", "when"), [("kill", "before"), ("kill", "after"), ("hang", "after")])
async def test_an_engine_that_is_lost_in_a_pull(shop: Shop, registry: Registry, happens: str, when: Any):
    await shop.attempt(1, 1, shop.release("1.0.0"))
    image = f"{registry.host}/shop:2"
    shop.engine.run("tag", shop.engine.web_image("2.0.0"), image)
    shop.engine.run("push", "--quiet", image)
    shop.engine.run("rmi", "--force", image, "own-api:2.0.0")
    release = shop.release("2.0.0", image)
    await shop.provider.disconnect()
    shop.provider = shop.new_provider(step_timeout="3s")
    shop.upset("pull", when, getattr(shop.engine, happens))
    with pytest.raises((CommandUnknown, ConnectFailed)) as lost:
        await shop.attempt(2, 1, release)
    assert lost.value.retryable
    await asyncio.to_thread(shop.engine.revive)
    await shop.provider.disconnect()
    shop.provider = shop.new_provider()
    assert shop.versions() == {"1.0.0": "running"}
    await shop.attempt(2, 2, release)
    assert shop.versions() == {"1.0.0": "exited", "2.0.0": "running"}


async def _until_done(calls: list["asyncio.Task[Any]"], also: Any) -> int:
    """How often the loop came round while the calls waited."""
    await also
    ticks = 0
    while not all(one.done() for one in calls):
        await asyncio.sleep(0.05)
        ticks += 1
    return ticks
