"""Bare metal against ghosts of older attempts, held locks and steps that were killed."""

import asyncio
import fcntl
from pathlib import Path

import pytest

from fraisier.providers.errors import (
    CommandUnknown,
    TargetBusy,
)
from fraisier.providers.testing import Rollout
from tests.providers.by_hand import connected, only_tools, until_serving, uploading
from tests.providers.ssh_bench import SshBench


async def test_a_ghost_that_is_released_after_its_successor_is_refused(ssh_bench: SshBench):
    release = ssh_bench.release("1.0.0")
    provider = await connected(ssh_bench)
    async with uploading(ssh_bench, Rollout(ssh_bench, generation=1), release) as ghost:
        await Rollout(ssh_bench, generation=2, rollout_id="r2").deploy(provider, ssh_bench.release("2.0.0"))
        before = ssh_bench.effects()
        ghost.stdin.write(release.artifact.read_bytes())
        ghost.stdin.write_eof()
        done = await ghost.wait()
    assert done.exit_status == 75, done.stderr
    assert ssh_bench.effects() == before
    assert len(list((ssh_bench.root / "releases").iterdir())) == 1
    await provider.disconnect()


async def test_a_ghost_forgets_no_marker_of_its_own_generation(ssh_bench: SshBench):
    release, hook = ssh_bench.release("2.0.0"), ("sh", "-c", "echo ran >>hooked")
    provider, rollout = await connected(ssh_bench), Rollout(ssh_bench, generation=2)
    await Rollout(ssh_bench, generation=1).deploy(provider, ssh_bench.release("1.0.0"))
    async with uploading(ssh_bench, rollout, release) as ghost:
        await provider.stage(rollout.step("stage", attempt=2), release)
        await provider.run_hook(rollout.step("drain"), hook, timeout_s=10, heard=len)
        ghost.stdin.write(release.artifact.read_bytes())
        ghost.stdin.write_eof()
        assert (await ghost.wait()).exit_status == 75
    await provider.run_hook(rollout.step("drain", attempt=2), hook, timeout_s=10, heard=len)
    assert (ssh_bench.root / "hooked").read_text() == "ran\n"
    await provider.disconnect()


async def test_the_lock_is_told_of_and_waited_for_only_so_long(ssh_bench: SshBench):
    provider = await connected(ssh_bench, step_timeout="8s")
    await Rollout(ssh_bench, generation=1).deploy(provider, ssh_bench.release("1.0.0"))
    state = ssh_bench.root / ".fraisier"
    (state / "holder").write_text("somebody's step")
    with (state / "lock").open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(TargetBusy, match="somebody's step") as busy:
            await provider.rollback(Rollout(ssh_bench, generation=2).step("rollback"), None)
    assert busy.value.retryable
    assert (await provider.rollback(Rollout(ssh_bench, generation=2).step("rollback"), None)).changed
    await provider.disconnect()


async def test_a_running_service_does_not_hold_the_lock(ssh_bench: SshBench):
    provider = await connected(ssh_bench)
    await Rollout(ssh_bench, generation=1).deploy(provider, ssh_bench.release("1.0.0"))
    with (ssh_bench.root / ".fraisier" / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    await provider.disconnect()


async def test_a_step_killed_half_way_is_done_again_by_its_retry(ssh_bench: SshBench):
    """Killed between the switch of the link and the start: the link alone does not count as done."""
    kill = ["sh", "-c", r"kill -9 $(sed 's/.*process //' .fraisier/holder)"]
    rollout, release = Rollout(ssh_bench, generation=1), ssh_bench.release("1.0.0")
    dying = await connected(ssh_bench, start_command=kill)
    await dying.stage(rollout.step("stage"), release)
    with pytest.raises(CommandUnknown, match="broke off with status 137"):
        await dying.activate(rollout.step("activate"), release)
    await dying.disconnect()
    assert (ssh_bench.root / "current").is_symlink()
    provider = await connected(ssh_bench)
    assert (await provider.inspect(ssh_bench.service)).since is None
    assert (await provider.activate(rollout.step("activate", attempt=2), release)).changed
    await until_serving(ssh_bench, "1.0.0")
    await provider.disconnect()


@pytest.mark.parametrize("taker", ["flock", "perl", "python3"])
async def test_each_way_to_take_the_lock_excludes(ssh_bench: SshBench, tmp_path: Path, taker: str):
    """Hosts differ in their tools: macOS has no flock, a small Linux no perl."""
    only_tools(ssh_bench, tmp_path / "tools", taker)
    provider = await connected(ssh_bench)
    release = ssh_bench.release("1.0.0")
    await provider.preflight(release)
    await Rollout(ssh_bench, generation=1).deploy(provider, release)
    with (ssh_bench.root / ".fraisier" / "lock").open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        back = asyncio.create_task(provider.rollback(Rollout(ssh_bench, generation=2).step("rollback"), None))
        await asyncio.wait({back}, timeout=1.5)
        assert not back.done()
    assert (await back).changed
    await provider.disconnect()
