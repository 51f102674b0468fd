"""Whoever sent a step is lost in the middle of it, on a real host: it ends right, once, and its ghost is refused."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from fraisier.providers.bare_metal import BareMetalProvider, login, script
from fraisier.providers.models import HealthCheck, Release, Step
from fraisier.providers.testing import QUICK, Rollout
from tests.providers import cuts
from tests.providers.by_hand import until
from tests.providers.systemd_bench import SystemdBench
from tests.support.systemd_hosts import SystemdHost

pytestmark = [pytest.mark.docker, pytest.mark.systemd]

HOOK = ("sh", "-c", "echo ran >>hooked")
VERBS = ("stage", "activate", "rollback", "prune", "hook")
WAYS = {"network": cuts.cut_by_network, "sshd": cuts.cut_by_sshd, "logout": cuts.cut_by_logout}
CASES = [
    *((verb, cut) for verb in VERBS for cut in ("network", "worker")),
    ("activate", "sshd"),
    ("activate", "logout"),
]


@pytest.fixture
def bench(clean_hosts: list[SystemdHost], tmp_path: Path) -> SystemdBench:
    return SystemdBench(clean_hosts[1], tmp_path)


class Case:
    """One step, and what it does to a host that runs 1.0.0, where 0.9.0 is kept and 2.0.0 is on its way."""

    def __init__(self, bench: SystemdBench, provider: BareMetalProvider, verb: str) -> None:
        self.bench, self.provider, self.verb = bench, provider, verb
        self.older, self.old, self.new = (bench.release(version) for version in ("0.9.0", "1.0.0", "2.0.0"))
        self.rollout = Rollout(bench, generation=9)

    async def prepare(self) -> None:
        """By a worker that keeps one release more, so that there is something to prune."""
        provider = self.bench.provider(keep_releases=3)
        before = {"stage": 1, "activate": 2, "rollback": 3, "prune": 3, "hook": 1}[self.verb]
        for generation, release in enumerate((self.older, self.old), start=1):
            await Rollout(self.bench, generation=generation).deploy(provider, release)
        rollout = Rollout(self.bench, generation=3)
        if before > 1:
            await provider.stage(rollout.step("stage"), self.new)
        if before > 2:
            await provider.activate(rollout.step("activate"), self.new)
        await provider.disconnect()

    def step(self, attempt: int) -> Step:
        name = {"hook": "drain"}.get(self.verb, self.verb)
        return self.rollout.step(name, attempt)

    def act(self, attempt: int) -> Awaitable[Any]:
        step = self.step(attempt)
        acts: dict[str, Callable[[], Awaitable[Any]]] = {
            "stage": lambda: self.provider.stage(step, self.new),
            "activate": lambda: self.provider.activate(step, self.new),
            "rollback": lambda: self.provider.rollback(step, self.old.ref),
            "prune": lambda: self.provider.prune(step, "api"),
            "hook": lambda: self.provider.run_hook(step, HOOK, timeout_s=60, heard=len),
        }
        return acts[self.verb]()

    def about(self) -> dict[str, Any] | list[str]:
        """What the step is about, for a worker of its own."""
        return list(HOOK) if self.verb == "hook" else cuts.plain(self.old.ref if self.verb == "rollback" else self.new)

    def arguments(self, attempt: int) -> list[str]:
        release: Release | None = {"rollback": self.old, "stage": self.new, "activate": self.new}.get(self.verb)
        arguments = script.act(self.verb, self.provider._options, self.step(attempt), release.ref if release else None)
        return [*arguments, "hook=echo ran >>hooked"] if self.verb == "hook" else arguments

    def done(self) -> list[str]:
        """What this step has done to the host, each time that it did."""
        if self.verb == "hook":
            return self.bench.host.run("sh", "-c", "cat /opt/api/hooked 2>/dev/null || :").split()
        return [what for token, what, _ in self.bench.effects() if token.startswith("9.")]


async def lose(case: Case, cut: str) -> None:
    """Send the step, and lose the sender when it has reached the host."""
    host, verb = case.bench.host, case.verb
    before = len(cuts.running(host, verb))

    async def there() -> None:
        await asyncio.wait_for(until(lambda: len(cuts.running(host, verb)) > before), cuts.SOON_S)

    if cut == "worker":
        async with cuts.worker_of(case.bench, verb, case.step(2), case.about()):
            await there()
    else:
        attempt = asyncio.ensure_future(case.act(2))
        await there()
        await WAYS[cut](host, attempt)
    assert len(cuts.running(host, verb)) > before  # it goes on without whoever sent it


@pytest.mark.parametrize(("verb", "cut"), CASES)
async def test_a_step_that_loses_its_sender_is_done_once(
    bench: SystemdBench, verb: str, cut: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(login, "KEEPALIVE_S", 1)
    monkeypatch.setattr(login, "KEEPALIVES_LOST", 2)
    provider = bench.provider(keep_releases=2)
    case = Case(bench, provider, verb)
    await case.prepare()
    async with AsyncExitStack() as ghosts:
        with cuts.lock_held(bench.host):
            ghost = await ghosts.enter_async_context(cuts.ghost(bench, verb, case.arguments(1)))
            await lose(case, cut)
            assert case.done() == []
        # The lock is free: the step that was cut goes on by itself, and its retry comes beside it.
        result = await case.act(3)
    said, _ = await ghost.communicate()
    assert verb == "hook" or result.changed
    assert (ghost.returncode, b"fraisier refused 75" in said) == (75, True), said
    await asyncio.wait_for(until(lambda: not cuts.running(bench.host, verb)), cuts.SOON_S)
    assert case.done() == {"hook": ["ran"], "stage": ["prune", "stage"]}.get(verb, [verb])
    serves = {"activate": case.new, "prune": case.new}.get(verb, case.old)
    healthy = HealthCheck(http=bench.url, expect_version=True, **QUICK)
    assert (await provider.check_health(Rollout(bench, generation=10).step("verify"), serves.ref, healthy)).healthy
    assert (await provider.inspect("api")).release == serves.ref
    await provider.disconnect()


async def test_a_check_that_loses_its_host_for_a_while_goes_on(bench: SystemdBench, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(login, "KEEPALIVE_S", 1)
    monkeypatch.setattr(login, "KEEPALIVES_LOST", 2)
    provider, rollout, release = bench.provider(), Rollout(bench, generation=1), bench.release("1.0.0")
    await rollout.deploy(provider, release)
    check = HealthCheck(http=bench.url, **{**QUICK, "healthy_after": 20})
    checking = asyncio.ensure_future(provider.check_health(rollout.step("verify"), release.ref, check))
    await asyncio.wait_for(until(lambda: provider._connection.is_open), cuts.SOON_S)
    bench.host.run("iptables", "-A", "INPUT", "-p", "tcp", "--dport", "22", "-j", "DROP")
    await asyncio.wait_for(until(lambda: not provider._connection.is_open), cuts.SOON_S)
    bench.host.run("iptables", "-F")
    assert (await checking).healthy
    await provider.disconnect()
