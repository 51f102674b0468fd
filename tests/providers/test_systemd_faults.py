"""Bare metal on real systemd hosts that go wrong: rights, units, disks, networks, reboots."""

import asyncio
import os
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from fraisier.providers.bare_metal import BareMetalProvider
from fraisier.providers.bare_metal.probes import probe_of
from fraisier.providers.errors import CommandFailed, CommandUnknown, PreflightFailed
from fraisier.providers.models import HealthCheck, Release
from fraisier.providers.testing import IMPATIENT, QUICK, Rollout
from tests.providers.systemd_bench import SystemdBench
from tests.support.releases import digest_of
from tests.support.systemd_hosts import SystemdHost

pytestmark = [pytest.mark.docker, pytest.mark.systemd]


@pytest.fixture
def bench(clean_hosts: list[SystemdHost], tmp_path: Path) -> SystemdBench:
    return SystemdBench(clean_hosts[1], tmp_path)


async def connected(bench: SystemdBench, **changed: object) -> BareMetalProvider:
    provider = bench.provider(**changed)
    await provider.connect()
    return provider


def dying_release(folder: Path, seconds: float) -> Release:
    """A service that starts, and dies after a while."""
    (folder / "bin").mkdir()
    program = folder / "bin" / "api"
    program.write_text(f"#!/bin/sh\necho losing heart\nsleep {seconds}\nexit 3\n")
    program.chmod(0o755)
    artifact = folder / "dying.tar.gz"
    with tarfile.open(artifact, "w:gz") as archive:
        archive.add(program, "bin/api")
    return Release(service="api", version="6.6.6", digest=digest_of(artifact), artifact=artifact)


@contextmanager
def drop_in(bench: SystemdBench, text: str) -> Iterator[None]:
    """The unit with this drop-in for the block; `printf` writes the text."""
    folder = "/run/systemd/system/api.service.d"
    bench.host.run(
        "sh", "-c", f"mkdir -p {folder} && printf '{text}\\n' >{folder}/test.conf && systemctl daemon-reload"
    )
    try:
        yield
    finally:
        bench.host.run("sh", "-c", f"rm -r {folder} && systemctl daemon-reload")


def restarts(bench: SystemdBench) -> str:
    return bench.host.run("systemctl", "show", "--property=NRestarts", "api.service")


async def test_preflight_sees_a_missing_unit_and_a_sudo_that_asks(bench: SystemdBench):
    provider = await connected(bench, service_unit="none.service")
    with pytest.raises(PreflightFailed) as unfit:
        await provider.preflight(bench.release("1.0.0"))
    assert "the unit none.service is not there" in str(unfit.value)
    assert "may not run systemctl restart none.service with sudo -n" in str(unfit.value)
    await provider.disconnect()


async def test_a_sudo_that_asks_leaves_the_old_release_serving(bench: SystemdBench):
    good = await connected(bench)
    old, new = bench.release("1.0.0"), bench.release("2.0.0")
    await Rollout(bench, generation=1).deploy(good, old)
    before = await bench.instance()
    forbidden = await connected(bench, service_unit="ssh.service")
    rollout = Rollout(bench, generation=2)
    await forbidden.stage(rollout.step("stage"), new)
    with pytest.raises(CommandFailed, match="password") as failed:
        await forbidden.activate(rollout.step("activate"), new)
    assert failed.value.exit_status == 1
    assert (await bench.serving(), await bench.instance()) == ("1.0.0", before)
    assert (await good.rollback(Rollout(bench, generation=3).step("rollback"), old.ref)).changed
    await good.disconnect()
    await forbidden.disconnect()


async def test_preflight_sees_a_folder_that_may_not_be_written(bench: SystemdBench):
    provider = await connected(bench, root="/opt/other")
    with pytest.raises(PreflightFailed, match="deploy may not write to /opt: create /opt/other"):
        await provider.preflight(bench.release("1.0.0"))
    await provider.disconnect()


@pytest.fixture
def small_disk(bench: SystemdBench) -> Iterator[SystemdBench]:
    """The service's folder on a disk of its own of 300 KB."""
    bench.host.run("mount", "-t", "tmpfs", "-o", "size=300k,uid=1000,gid=1000,mode=755", "none", "/opt/api")
    bench.host.run("chown", "deploy:deploy", "/opt/api")
    yield bench
    bench.host.run("systemctl", "stop", "api.service")
    bench.host.run("umount", "--lazy", "/opt/api")


async def test_a_full_disk_leaves_the_old_release_serving(small_disk: SystemdBench, tmp_path: Path):
    provider = await connected(small_disk)
    await Rollout(small_disk, generation=1).deploy(provider, small_disk.release("1.0.0"))
    with pytest.raises(PreflightFailed, match="KB are free"):
        await provider.preflight(small_disk.release("2.0.0"))
    big = big_release(tmp_path)
    for generation in (2, 3):
        with pytest.raises(CommandFailed, match="No space left"):
            await provider.stage(Rollout(small_disk, generation=generation).step("stage"), big)
    assert await small_disk.serving() == "1.0.0"
    assert small_disk.host.run("ls", "/opt/api/.fraisier/incoming") == ""
    # There is room again for what fits.
    await Rollout(small_disk, generation=4).deploy(provider, small_disk.release("2.0.0"))
    await provider.disconnect()


def big_release(folder: Path) -> Release:
    (folder / "big").write_bytes(os.urandom(1_000_000))
    artifact = folder / "big.tar.gz"
    with tarfile.open(artifact, "w:gz") as archive:
        archive.add(folder / "big", "big")
    return Release(service="api", version="9.0.0", digest=digest_of(artifact), artifact=artifact)


async def test_a_read_only_disk_is_seen_and_changes_nothing(small_disk: SystemdBench):
    provider = await connected(small_disk)
    await Rollout(small_disk, generation=1).deploy(provider, small_disk.release("1.0.0"))
    small_disk.host.run("mount", "-o", "remount,ro", "/opt/api")
    with pytest.raises(PreflightFailed, match="may not write"):
        await provider.preflight(small_disk.release("2.0.0"))
    with pytest.raises(CommandFailed, match="Read-only file system"):
        await provider.stage(Rollout(small_disk, generation=2).step("stage"), small_disk.release("2.0.0"))
    assert await small_disk.serving() == "1.0.0"
    await provider.disconnect()


async def test_a_service_that_dies_is_not_healthy_and_its_last_words_are_kept(bench: SystemdBench, tmp_path: Path):
    provider = await connected(bench)
    old, dying = bench.release("1.0.0"), dying_release(tmp_path, 0.3)
    await Rollout(bench, generation=1).deploy(provider, old)
    rollout = Rollout(bench, generation=2)
    await provider.stage(rollout.step("stage"), dying)
    await provider.activate(rollout.step("activate"), dying)
    check = HealthCheck(http=bench.url, **{**QUICK, "progress_deadline": timedelta(seconds=4)})
    health = await provider.check_health(rollout.step("health"), dying.ref, check)
    assert (health.healthy, health.timed_out) == (False, True)
    assert "losing heart" in health.detail
    # It has died so often that systemd would start it no more: the way back must not be blocked by that.
    back = Rollout(bench, generation=3)
    assert (await provider.rollback(back.step("rollback"), old.ref)).changed
    healthy = HealthCheck(http=bench.url, expect_version=True, **QUICK)
    assert (await provider.check_health(back.step("verify"), old.ref, healthy)).healthy
    await provider.disconnect()


async def test_a_unit_that_dies_again_and_again_is_active_but_not_healthy(bench: SystemdBench, tmp_path: Path):
    """It is started again at once each time, so that only systemd's count tells."""
    dying, good = dying_release(tmp_path, 1.5), bench.release("1.0.0")
    rollout, later = Rollout(bench, generation=1), Rollout(bench, generation=2)
    with drop_in(bench, "[Unit]\\nStartLimitIntervalSec=0\\n[Service]\\nRestartSec=1ms"):
        provider = await connected(bench)
        await provider.stage(rollout.step("stage"), dying)
        await provider.activate(rollout.step("activate"), dying)
        check = HealthCheck(
            systemd="api.service", **{**QUICK, "healthy_after": 1, "min_healthy_time": timedelta(seconds=20)}
        )
        look = probe_of(provider._connection, check, version=dying.version)
        await look()
        before = restarts(bench)
        while restarts(bench) == before:  # noqa: ASYNC110 (systemd tells nobody)
            await asyncio.sleep(0.05)
        assert "died: systemd has started it" in (await look()).detail
        health = await provider.check_health(rollout.step("health"), dying.ref, check)
        assert (health.healthy, health.timed_out) == (False, False)
        assert "within 20s of being healthy" in health.detail
        assert "losing heart" in health.detail
    await provider.stage(later.step("stage"), good)
    await provider.activate(later.step("activate"), good)
    steady = HealthCheck(systemd="api.service", **QUICK)
    assert (await provider.check_health(later.step("health"), good.ref, steady)).healthy
    absent = HealthCheck(systemd="none.service", **IMPATIENT)
    assert "none.service is not-found" in (await provider.check_health(later.step("verify"), good.ref, absent)).detail
    await provider.disconnect()


async def test_a_unit_that_does_not_start_tells_its_last_words_in_the_error(bench: SystemdBench):
    with drop_in(bench, '[Service]\\nExecStartPre=/bin/sh -c "echo the disk is gone; exit 4"'):
        provider = await connected(bench)
        rollout, release = Rollout(bench, generation=1), bench.release("1.0.0")
        await provider.stage(rollout.step("stage"), release)
        with pytest.raises(CommandFailed, match="the disk is gone") as failed:
            await provider.activate(rollout.step("activate"), release)
        assert len(str(failed.value)) < 5000
        await provider.disconnect()


async def test_a_unit_that_was_stopped_by_hand_is_started_again(bench: SystemdBench):
    provider = await connected(bench)
    release = bench.release("1.0.0")
    await Rollout(bench, generation=1).deploy(provider, release)
    bench.host.run("systemctl", "stop", "api.service")
    assert (await provider.activate(Rollout(bench, generation=2).step("activate"), release)).changed
    assert bench.host.run("systemctl", "is-active", "api.service") == "active\n"
    await provider.disconnect()


async def test_a_killed_connection_neither_kills_nor_doubles_a_step(bench: SystemdBench):
    """sshd's own child dies in the middle of the restart; the step goes on without it."""
    with drop_in(bench, "[Service]\\nExecStartPre=/bin/sleep 2"):
        provider = await connected(bench)
        rollout, release = Rollout(bench, generation=1), bench.release("1.0.0")
        await provider.stage(rollout.step("stage"), release)
        activating = asyncio.create_task(provider.activate(rollout.step("activate"), release))
        await until_restarting(bench)
        bench.host.run("sh", "-c", "kill -9 $(pgrep -f '[s]shd: deploy')")
        with pytest.raises(CommandUnknown):
            await activating
        assert (await provider.activate(rollout.step("activate", attempt=2), release)).changed
        assert [what for _, what, _ in bench.effects()] == ["stage", "activate"]
        await provider.disconnect()


async def until_restarting(bench: SystemdBench) -> None:
    while "activating" not in bench.host.run("systemctl", "is-active", "api.service", check=False):  # noqa: ASYNC110
        await asyncio.sleep(0.05)
