"""Bare metal against hosts that misbehave: keys, cut connections, hostile words, endless output."""

import asyncio
import contextlib
import re
import socket
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import pytest

from fraisier.orchestrator.demo.ssh_host import make_key
from fraisier.providers.errors import (
    AuthenticationFailed,
    CommandFailed,
    CommandUnknown,
    ConnectFailed,
    HostKeyRejected,
    PreflightFailed,
    TargetBusy,
)
from fraisier.providers.models import HealthCheck, Step, StepResult
from fraisier.providers.testing import IMPATIENT, QUICK, Rollout
from tests.providers.by_hand import connected, only_tools, staged, until, uploading
from tests.providers.ssh_bench import START, SshBench, free_port

PATIENCE = 20
"""How often a step that finds the lock held is tried again: it waits for a second each time."""

# --- who is let in, and who is believed ---


async def test_an_unknown_host_key_is_refused(ssh_bench: SshBench):
    ssh_bench.known_hosts.write_text("")
    with pytest.raises(HostKeyRejected, match=re.escape(str(ssh_bench.known_hosts))):
        await connected(ssh_bench)


async def test_a_changed_host_key_is_refused(ssh_bench: SshBench, tmp_path: Path):
    kind, other = make_key(tmp_path / "other").with_name("other.pub").read_text().split()[:2]
    ssh_bench.known_hosts.write_text(f"[{ssh_bench.host.host}]:{ssh_bench.host.port} {kind} {other}\n")
    with pytest.raises(HostKeyRejected):
        await connected(ssh_bench)


async def test_without_a_known_hosts_file_nobody_is_trusted(ssh_bench: SshBench, tmp_path: Path):
    with pytest.raises(HostKeyRejected, match="there is no file"):
        await connected(ssh_bench, known_hosts=str(tmp_path / "none"))


async def test_a_key_that_opens_nothing_is_told(ssh_bench: SshBench, tmp_path: Path):
    other = str(make_key(tmp_path / "other"))
    with pytest.raises(AuthenticationFailed, match=r"deploy is not let in .*; put its public key into .*_keys"):
        await connected(ssh_bench, key_path=other)
    with pytest.raises(AuthenticationFailed, match=r"root is not let in .* another user if sshd lets no root in"):
        await connected(ssh_bench, key_path=other, username="root")
    (tmp_path / "torn").write_text("-----BEGIN OPENSSH PRIVATE KEY-----\n")
    with pytest.raises(AuthenticationFailed, match=r"torn cannot be used: .* give a key_path without a passphrase"):
        await connected(ssh_bench, key_path=str(tmp_path / "torn"))
    whole = re.escape(str(Path.cwd() / "none"))
    with pytest.raises(AuthenticationFailed, match=f"there is no file {whole} where the worker runs"):
        await connected(ssh_bench, key_path="none")


async def test_a_host_that_does_not_answer_can_be_tried_again(ssh_bench: SshBench):
    with pytest.raises(ConnectFailed, match="cannot be reached") as refused:
        await connected(ssh_bench, port=free_port())
    assert refused.value.retryable
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(ConnectFailed):
        await connected(ssh_bench, port=silent.getsockname()[1], connect_timeout="300ms")


# --- lost connections ---


async def test_a_connection_cut_in_a_step_is_not_success_and_not_done_twice(ssh_bench: SshBench):
    slow = ["sh", "-c", f"echo start >>starts; sleep 1; {START}"]
    provider = await connected(ssh_bench, start_command=slow)
    rollout, release = Rollout(ssh_bench, generation=1), ssh_bench.release("1.0.0")
    await provider.stage(rollout.step("stage"), release)
    activating = asyncio.create_task(provider.activate(rollout.step("activate"), release))
    starts = ssh_bench.root / "starts"
    await until(starts.exists)
    ssh_bench.host.cut()
    with pytest.raises(CommandUnknown):
        await activating
    # The retry waits for the ghost's lock, and finds what it recorded.
    assert (await provider.activate(rollout.step("activate", attempt=2), release)).changed
    assert starts.read_text() == "start\n"
    assert [what for _, what, _ in ssh_bench.effects()] == ["stage", "activate"]
    await provider.disconnect()


async def test_a_host_that_comes_back_during_the_check_may_still_be_healthy(ssh_bench: SshBench):
    provider = await connected(ssh_bench)
    rollout, release = Rollout(ssh_bench, generation=1), ssh_bench.release("1.0.0")
    await rollout.deploy(provider, release)
    await ssh_bench.host.disappear()
    check = HealthCheck(http=ssh_bench.url, **{**QUICK, "progress_deadline": timedelta(seconds=20)})
    checking = asyncio.create_task(provider.check_health(rollout.step("verify"), release.ref, check))
    await asyncio.sleep(0.5)
    await ssh_bench.host.start()
    assert (await checking).healthy
    await provider.disconnect()


async def test_a_rollback_of_a_host_that_is_gone_can_be_tried_again(ssh_bench: SshBench):
    provider = await connected(ssh_bench)
    await Rollout(ssh_bench, generation=1).deploy(provider, ssh_bench.release("1.0.0"))
    await ssh_bench.host.disappear()
    back = Rollout(ssh_bench, generation=2)
    with pytest.raises(ConnectFailed) as gone:
        await provider.rollback(back.step("rollback"), None)
    assert gone.value.retryable
    assert await ssh_bench.serving() == "1.0.0"
    await ssh_bench.host.start()
    assert (await provider.rollback(back.step("rollback"), None)).changed
    await provider.disconnect()


async def test_an_upload_that_breaks_off_leaves_nothing(ssh_bench: SshBench):
    release = ssh_bench.release("1.0.0")
    rollout = Rollout(ssh_bench, generation=1)
    async with uploading(ssh_bench, rollout, release) as process:
        process.stdin.write(release.artifact.read_bytes()[:100])
        ssh_bench.host.cut()
    incoming = ssh_bench.root / ".fraisier" / "incoming"
    await until(lambda: not any(incoming.iterdir()))
    assert not any((ssh_bench.root / "releases").iterdir())
    provider = await connected(ssh_bench)
    assert (await provider.stage(rollout.step("stage", attempt=2), release)).changed
    await provider.disconnect()


# --- commands that fail, hang or flood ---


async def test_a_service_that_does_not_start_is_told_with_its_words_and_its_own_status(ssh_bench: SshBench):
    """75 is our word for a stale token, and any command's for whatever it likes."""
    provider = await connected(ssh_bench, start_command=["sh", "-c", "echo cannot find its config >&2; exit 75"])
    rollout, release = Rollout(ssh_bench, generation=1), ssh_bench.release("1.0.0")
    await provider.stage(rollout.step("stage"), release)
    with pytest.raises(CommandFailed, match="cannot find its config") as failed:
        await provider.activate(rollout.step("activate"), release)
    assert (failed.value.exit_status, failed.value.step) == (75, "activate")
    assert type(failed.value) is CommandFailed
    await provider.disconnect()


async def _in_time(act: Callable[[Step, None], Awaitable[StepResult]], step: Step) -> bool:
    """Whether a step changes something once the lock is free."""
    for _ in range(PATIENCE):
        with contextlib.suppress(TargetBusy):
            return (await act(step, None)).changed
    return False


async def test_a_start_that_hangs_is_ended_and_the_lock_is_free(ssh_bench: SshBench):
    provider = await connected(ssh_bench, start_command=["sleep", "600"], step_timeout="3s")
    rollout, release = Rollout(ssh_bench, generation=1), ssh_bench.release("1.0.0")
    await provider.stage(rollout.step("stage"), release)
    with pytest.raises(CommandFailed):
        await provider.activate(rollout.step("activate"), release)
    # On a busy machine the worker may give up before the host has ended the step: a second is all that it waits there.
    assert await _in_time(provider.rollback, Rollout(ssh_bench, generation=2).step("rollback"))
    await provider.disconnect()


async def test_a_service_that_cannot_be_stopped_keeps_no_good_release_from_coming_back(ssh_bench: SshBench):
    old = ssh_bench.release("1.0.0")
    provider = await connected(ssh_bench, stop_command=["false"], start_command=["sh", "-c", "touch started"])
    await provider.activate(await staged(provider, ssh_bench, 1, "1.0.0"), old)
    with pytest.raises(CommandFailed):
        await provider.activate(await staged(provider, ssh_bench, 2, "2.0.0"), ssh_bench.release("2.0.0"))
    (ssh_bench.root / "started").unlink()
    assert (await provider.rollback(Rollout(ssh_bench, generation=3).step("rollback"), old.ref)).changed
    assert (ssh_bench.root / "started").exists()
    assert (await provider.inspect(ssh_bench.service)).release == old.ref
    await provider.disconnect()


async def test_a_flood_of_output_is_cut_and_forgotten(ssh_bench: SshBench):
    provider = await connected(ssh_bench)
    await Rollout(ssh_bench, generation=1).deploy(provider, ssh_bench.release("1.0.0"))
    flood = (
        "sh",
        "-c",
        "head -c 100000000 /dev/zero | tr '\\0' x; head -c 100000000 /dev/zero | tr '\\0' y >&2; exit 1",
    )
    check = HealthCheck(
        command=flood, timeout=timedelta(seconds=60), **{**IMPATIENT, "progress_deadline": "60s", "interval": "60s"}
    )
    found = await provider.check_health(
        Rollout(ssh_bench, generation=1).step("verify"), ssh_bench.release("1.0.0").ref, check
    )
    assert not found.healthy
    assert len(found.detail) < 5000
    await provider.disconnect()


async def test_words_are_words_and_never_commands(ssh_bench: SshBench):
    """Quotes, spaces, dollars, newlines and semicolons in a path, an argument and a rollout's name."""
    root = ssh_bench.host.folder / "a 'b' \"c\" $(touch pwned) ; touch pwned `touch pwned` $HOME"
    odd = "x'y\"z $(touch pwned)\n; touch pwned"
    start = ["sh", "-c", 'printf %s "$1" >said; ' + START, "sh", odd]
    provider = await connected(ssh_bench, root=str(root), start_command=start)
    rollout = Rollout(ssh_bench, generation=1, rollout_id="r/1 $(touch pwned);'\"")
    release = ssh_bench.release("1.0.0+build.7_x-y")
    await rollout.deploy(provider, release)
    assert (root / "said").read_text() == odd
    state = await provider.inspect(ssh_bench.service)
    assert (state.release, state.rollout_id) == (release.ref, rollout.rollout_id)
    assert not list(ssh_bench.host.folder.rglob("pwned"))
    await provider.rollback(Rollout(ssh_bench, generation=2).step("rollback"), None)
    await provider.disconnect()


# --- preflight ---


async def test_preflight_tells_all_that_is_wrong_and_changes_nothing(ssh_bench: SshBench, tmp_path: Path):
    only_tools(ssh_bench, tmp_path / "tools", "flock", without=("tar", "sha256sum"))
    (ssh_bench.root / "current").mkdir(parents=True)
    provider = await connected(ssh_bench)
    with pytest.raises(PreflightFailed) as unfit:
        await provider.preflight(ssh_bench.release("1.0.0"))
    told = str(unfit.value)
    assert "tar is not installed: install it" in told
    assert "none of sha256sum, shasum and openssl is installed: install one" in told
    assert "is not a link into" in told
    assert [path.name for path in ssh_bench.root.iterdir()] == ["current"]
    await provider.disconnect()


async def test_what_was_there_before_us_is_never_taken_down(ssh_bench: SshBench):
    by_hand = ssh_bench.root / "by-hand"
    by_hand.mkdir(parents=True)
    (ssh_bench.root / "current").symlink_to("by-hand")
    provider = await connected(ssh_bench)
    release = ssh_bench.release("1.0.0")
    with pytest.raises(CommandFailed, match="move it away"):
        await provider.activate(await staged(provider, ssh_bench, 1, "1.0.0"), release)
    with pytest.raises(CommandFailed, match="move it away"):
        await provider.rollback(Rollout(ssh_bench, generation=2).step("rollback"), None)
    assert (ssh_bench.root / "current").readlink() == Path("by-hand")
    await provider.disconnect()
