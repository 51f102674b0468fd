"""What hangs on a real host is ended there with all that it has started, and says so."""

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from fraisier.providers.bare_metal import BareMetalProvider, script
from fraisier.providers.bare_metal.limits import LATE
from fraisier.providers.errors import CommandFailed
from fraisier.providers.migrations.models import MigrationOrder
from fraisier.providers.models import HealthCheck
from fraisier.providers.testing import IMPATIENT, Rollout
from tests.providers.by_hand import until
from tests.providers.systemd_bench import SystemdBench
from tests.support.systemd_hosts import SystemdHost

pytestmark = [pytest.mark.docker, pytest.mark.systemd]

SOON_S = 90.0
LONG_S = 60.0
HANGS = ("sh", "-c", "sleep 6001 & (sleep 6002 &); (trap '' TERM; sleep 6003) & sleep 6004")


@pytest.fixture
def bench(clean_hosts: list[SystemdHost], tmp_path: Path) -> SystemdBench:
    return SystemdBench(clean_hosts[1], tmp_path)


async def none_left(bench: SystemdBench, what: str = "sleep 600[1-4]") -> None:
    await asyncio.wait_for(until(lambda: not bench.host.run("pgrep", "-f", what, check=False)), SOON_S)


async def hook(provider: BareMetalProvider, rollout: Rollout) -> None:
    await provider.run_hook(rollout.step("drain"), HANGS, timeout_s=1, heard=len)


async def migration(provider: BareMetalProvider, rollout: Rollout) -> None:
    release = rollout.bench.release("1.0.0").ref
    step = rollout.step("drain")
    await provider.run_migration(
        MigrationOrder(step=step, database="orders", release=release, phase="expand", argv=HANGS, timeout_s=1),
        heard=len,
    )


async def start(provider: BareMetalProvider, rollout: Rollout) -> None:
    await provider.activate(rollout.step("activate"), rollout.bench.release("1.0.0"))


@pytest.mark.parametrize("act", [hook, migration, start])
async def test_what_hangs_in_a_step_is_ended_with_all_that_it_has_started(
    bench: SystemdBench, act, monkeypatch: pytest.MonkeyPatch
):
    """Also what heeds no TERM, and what has left its parent."""
    monkeypatch.setattr(script, "LOCK_SHARE", 0.95)  # of its time a step has 2 s
    own = {"service_unit": None, "sudo": False, "start_command": HANGS, "stop_command": ["true"]}
    provider, rollout = bench.provider(step_timeout="40s", **own), Rollout(bench, generation=1)
    await provider.stage(rollout.step("stage"), bench.release("1.0.0"))
    with pytest.raises(CommandFailed, match=r"did not end within \d s") as late:
        await act(provider, rollout)
    assert late.value.exit_status == LATE
    await none_left(bench)
    assert (await provider.rollback(Rollout(bench, generation=2).step("rollback"), None)).changed == (act is start)
    await provider.disconnect()


async def test_what_sudo_runs_is_ended_too(bench: SystemdBench, monkeypatch: pytest.MonkeyPatch):
    """Its processes are root's, and take no signal from whoever deploys."""
    folder = "/run/systemd/system/api.service.d"
    slow = f"mkdir -p {folder} && printf '[Service]\\nExecStartPre=/bin/sleep 6001\\n' >{folder}/slow.conf"
    monkeypatch.setattr(script, "LOCK_SHARE", 0.95)
    provider, rollout = bench.provider(step_timeout="40s"), Rollout(bench, generation=1)
    await provider.stage(rollout.step("stage"), bench.release("1.0.0"))
    bench.host.run("sh", "-c", f"{slow} && systemctl daemon-reload")
    try:
        with pytest.raises(CommandFailed, match="sudo did not end within 2 s") as late:
            await provider.activate(rollout.step("activate"), bench.release("1.0.0"))
        assert late.value.exit_status == LATE
        await none_left(bench, "systemctl restart api.servic[e]")
    finally:
        bench.host.run("sh", "-c", f"rm -r {folder} && systemctl daemon-reload && systemctl stop api.service")
    await provider.disconnect()


async def test_health_commands_that_hang_do_not_pile_up(bench: SystemdBench):
    provider, rollout, release = bench.provider(), Rollout(bench, generation=1), bench.release("1.0.0")
    soon = {"timeout": timedelta(milliseconds=300), "progress_deadline": timedelta(seconds=3)}
    check = HealthCheck(command=HANGS, **{**IMPATIENT, **soon})
    health = await provider.check_health(rollout.step("health"), release.ref, check)
    assert (health.healthy, health.timed_out) == (False, True), health.detail
    assert health.attempts > 1
    await none_left(bench)
    patient = HealthCheck(command=HANGS, **{**IMPATIENT, "progress_deadline": timedelta(seconds=LONG_S)})
    seen = asyncio.ensure_future(provider.check_health(rollout.step("verify"), release.ref, patient))
    await asyncio.wait_for(until(lambda: bench.host.run("pgrep", "-f", "sleep 6001", check=False)), SOON_S)
    seen.cancel()
    await asyncio.gather(seen, return_exceptions=True)
    await provider.disconnect()
    await none_left(bench)


async def test_commands_get_signals_as_they_are_by_default(bench: SystemdBench):
    """A shell's background jobs ignore the interrupt, and with them all that they start."""
    provider, rollout = bench.provider(), Rollout(bench, generation=1)
    await provider.stage(rollout.step("stage"), bench.release("1.0.0"))
    told = await provider.run_hook(
        rollout.step("drain"), ("grep", "-E", "^Sig(Ign|Blk)", "/proc/self/status"), timeout_s=LONG_S, heard=len
    )
    masks = dict(zip(told.split()[::2], told.split()[1::2], strict=True))
    # Above the 31 of old lie those that C libraries keep for themselves: how the engine was started shows there.
    assert {name: int(mask, 16) & 0x7FFFFFFF for name, mask in masks.items()} == {"SigBlk:": 0, "SigIgn:": 0}
    await provider.disconnect()
