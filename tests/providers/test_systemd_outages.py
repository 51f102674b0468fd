"""Real hosts that are away for a while in the middle of a step: rebooted, or so slow that nothing comes back."""

import asyncio
from pathlib import Path

import pytest

from fraisier.providers.bare_metal import login
from fraisier.providers.errors import CommandUnknown, ConnectFailed
from fraisier.providers.models import HealthCheck
from fraisier.providers.testing import QUICK, Rollout
from tests.providers.systemd_bench import SystemdBench
from tests.support.systemd_hosts import SystemdHost, reboot

pytestmark = [pytest.mark.docker, pytest.mark.systemd]

SLOW_START = "/etc/systemd/system/api.service.d"


@pytest.fixture
def bench(clean_hosts: list[SystemdHost], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SystemdBench:
    monkeypatch.setattr(login, "KEEPALIVE_S", 1)
    monkeypatch.setattr(login, "KEEPALIVES_LOST", 2)
    return SystemdBench(clean_hosts[1], tmp_path)


async def test_a_host_that_reboots_in_a_step_is_finished_by_the_retry(bench: SystemdBench):
    provider, new = bench.provider(), bench.release("2.0.0")
    await Rollout(bench, generation=1).deploy(provider, bench.release("1.0.0"))
    rollout = Rollout(bench, generation=2)
    await provider.stage(rollout.step("stage"), new)
    slow = f"mkdir {SLOW_START} && printf '[Service]\\nExecStartPre=/bin/sleep 60\\n' >{SLOW_START}/slow.conf"
    bench.host.run("sh", "-c", f"{slow} && systemctl daemon-reload")
    try:
        activating = asyncio.ensure_future(provider.activate(rollout.step("activate"), new))
        while "activating" not in bench.host.run("systemctl", "is-active", "api.service", check=False):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        await asyncio.to_thread(reboot, bench.host)
        with pytest.raises((CommandUnknown, ConnectFailed)) as lost:
            await activating
    finally:
        bench.host.run("sh", "-c", f"rm -r {SLOW_START} && systemctl daemon-reload")
    assert lost.value.step == "activate"
    assert (await provider.inspect("api")).since is None  # the link alone proves nothing
    assert (await provider.activate(rollout.step("activate", attempt=2), new)).changed
    check = HealthCheck(http=bench.url, expect_version=True, **QUICK)
    assert (await provider.check_health(rollout.step("health"), new.ref, check)).healthy
    assert [what for token, what, _ in bench.effects() if token.startswith("2.")] == ["stage", "activate"]
    await provider.disconnect()


async def test_a_host_that_is_slow_to_a_crawl_is_given_up_and_found_as_it_was(bench: SystemdBench):
    provider, new = bench.provider(), bench.release("2.0.0")
    await Rollout(bench, generation=1).deploy(provider, bench.release("1.0.0"))
    rollout = Rollout(bench, generation=2)
    await provider.stage(rollout.step("stage"), new)
    bench.host.run("sh", "-c", "kill -STOP $(pgrep -f '[s]shd: deploy')")
    try:
        with pytest.raises((CommandUnknown, ConnectFailed)) as lost:
            await provider.activate(rollout.step("activate"), new)
    finally:
        bench.host.run("sh", "-c", "kill -CONT $(pgrep -f '[s]shd: deploy')")
    assert (lost.value.step, lost.value.retryable) == ("activate", True)
    assert (await provider.activate(rollout.step("activate", attempt=2), new)).changed
    assert [what for token, what, _ in bench.effects() if token.startswith("2.")] == ["stage", "activate"]
    await provider.disconnect()
