"""Hooks for real: on a host, where a lost connection neither ends nor doubles them, and on the worker."""

import asyncio
import time
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from fraisier.providers.errors import CommandFailed, CommandUnknown
from fraisier.providers.hooks import Hook
from fraisier.providers.local_command import KEPT
from fraisier.providers.models import FencingToken, Step
from fraisier.providers.testing import Rollout
from fraisier.workflows.activities.targets import TargetActivities
from fraisier.workflows.plans import TargetPlan
from fraisier.workflows.steps import HookInput
from tests.providers.by_hand import connected, until
from tests.providers.ssh_bench import SshBench
from tests.support.sshd import ADDRESS, running_sshd

LONG_S = 60.0


def step(attempt: int = 1, *, generation: int = 1, ordinal: int = 2) -> Step:
    token = FencingToken(generation=generation, ordinal=ordinal, attempt=attempt)
    return Step(rollout_id="r1", service="api", region="test", target="t1", name="hook-target-before-1", token=token)


def ignore(text: str) -> None:
    pass


async def test_its_output_is_heard_while_it_runs_and_only_its_end_is_kept(ssh_bench: SshBench):
    provider, heard = await connected(ssh_bench), []
    flag = ssh_bench.folder / "go on"
    flood = "head -c 3000000 /dev/zero | tr '\\0' x; echo; echo last"
    script = f"pwd; echo first; until [ -e '{flag}' ]; do sleep 0.1; done; {flood}"

    def listen(text: str) -> None:
        heard.append(text)
        flag.touch()

    output = await provider.run_hook(step(), ("sh", "-c", script), timeout_s=LONG_S, heard=listen)
    assert heard[0].split() == [str(ssh_bench.root), "first"]
    assert output.endswith("last")
    assert len(output) <= 4096
    assert (ssh_bench.root / ".fraisier" / "hook.log").stat().st_size < 1_000_000
    await provider.disconnect()


async def test_a_gigabyte_of_output_fills_neither_the_host_nor_the_worker(ssh_bench: SshBench):
    provider = await connected(ssh_bench)
    argv = ("sh", "-c", "head -c 1000000000 /dev/zero | tr '\\0' x; echo; echo last")
    output = await provider.run_hook(step(), argv, timeout_s=LONG_S, heard=ignore)
    assert output.endswith("last")
    assert len(output) <= 4096
    assert (ssh_bench.root / ".fraisier" / "hook.log").stat().st_size < 1_000_000
    await provider.disconnect()


async def test_it_fails_with_its_own_status_and_last_words(ssh_bench: SshBench):
    provider = await connected(ssh_bench)
    argv = ("sh", "-c", "echo the cache is gone; exit 75")
    with pytest.raises(CommandFailed, match="hook failed with status 75: the cache is gone") as failed:
        await provider.run_hook(step(), argv, timeout_s=LONG_S, heard=ignore)
    assert type(failed.value) is CommandFailed
    with pytest.raises(CommandFailed):
        await provider.run_hook(step(ordinal=3), ("sleep", "600"), timeout_s=1, heard=ignore)
    await provider.disconnect()


@pytest.mark.parametrize("by", ["asyncssh", "OpenSSH"])
async def test_a_lost_connection_neither_ends_nor_doubles_it(ssh_bench: SshBench, tmp_path: Path, by: str):
    """The one goes on reading what the hook writes; the other closes its pipes with the connection."""
    with running_sshd(tmp_path / "sshd") as sshd:
        where: dict[str, Any] = {}
        if by == "OpenSSH":
            ssh_bench.known_hosts.write_text(sshd.known_hosts_line)
            key = str(sshd.folder / "client_key")
            where = {"host": ADDRESS, "port": sshd.port, "username": sshd.username, "key_path": key, "ssh_config": None}
        provider = await connected(ssh_bench, **where)
        argv = (
            "sh",
            "-c",
            f"echo >>{tmp_path}/ran; until [ -e {tmp_path}/go ]; do echo on; sleep 0.1; done; echo >>{tmp_path}/ran",
        )
        first = asyncio.create_task(provider.run_hook(step(), argv, timeout_s=LONG_S, heard=ignore))
        await asyncio.wait_for(until((tmp_path / "ran").exists), LONG_S)
        connection = provider._connection._ssh
        assert connection is not None
        connection.abort()
        with pytest.raises(CommandUnknown):
            await first
        second = asyncio.create_task(provider.run_hook(step(2), argv, timeout_s=LONG_S, heard=ignore))
        await asyncio.wait({second}, timeout=1)
        (tmp_path / "go").touch()
        await asyncio.wait_for(second, LONG_S)
        assert (tmp_path / "ran").read_text() == "\n\n"
        await provider.disconnect()


async def test_the_way_back_does_not_wait_for_a_hook_that_hangs(ssh_bench: SshBench, tmp_path: Path):
    provider, other = await connected(ssh_bench), await connected(ssh_bench)
    old = ssh_bench.release("1.0.0")
    await Rollout(ssh_bench, generation=1).deploy(provider, old)
    argv = ("sh", "-c", f"touch {tmp_path}/ran; sleep 600")
    hanging = asyncio.create_task(provider.run_hook(step(ordinal=9), argv, timeout_s=600, heard=ignore))
    await asyncio.wait_for(until((tmp_path / "ran").exists), LONG_S)
    back = Rollout(ssh_bench, generation=2).step("rollback")
    assert (await asyncio.wait_for(other.rollback(back, None), LONG_S)).changed
    assert not hanging.done()
    hanging.cancel()
    await asyncio.gather(hanging, return_exceptions=True)
    for one in (provider, other):
        await one.disconnect()


class NoPool:
    @asynccontextmanager
    async def use(self, region: str, target: TargetPlan):
        raise AssertionError("a hook on the worker reaches no target")
        yield


async def on_the_worker(env: ActivityEnvironment, *run: str, timeout: float = LONG_S) -> str:
    hook = Hook(run=run, on="worker", timeout=timedelta(seconds=timeout))
    target = TargetPlan(name="a.example", provider="bare_metal", options={})
    order = HookInput(step=step(), target=target, version="2.0.0", hook=hook)
    return (await env.run(TargetActivities(NoPool(), None).run_hook, order)).output


async def test_on_the_worker_it_is_given_names_and_heartbeats_what_it_writes(tmp_path: Path):
    env, told = ActivityEnvironment(), []

    def heartbeat(*details: str) -> None:
        told.extend(details)
        if "on it" in "".join(told):
            (tmp_path / "go").touch()

    env.on_heartbeat = heartbeat
    script = (
        f"echo on it; until [ -e {tmp_path}/go ]; do sleep 0.1; done; head -c 100000 /dev/zero | tr '\\0' x; echo $1"
    )
    output = await on_the_worker(env, "sh", "-c", script, "sh", "{service} {version} {region} {target} {rollout}")
    assert output.endswith("api 2.0.0 test a.example r1")
    assert len(output) <= 4096


async def test_on_the_worker_it_leaves_no_process_behind(tmp_path: Path):
    """Neither when its time is over, nor when it ends and a child of it goes on."""
    env = ActivityEnvironment()
    with pytest.raises(ApplicationError, match="did not end within 1 s") as failed:
        await on_the_worker(env, "sh", "-c", "sleep 600 & wait", timeout=1)
    assert failed.value.non_retryable
    started = time.monotonic()
    await on_the_worker(env, "sh", "-c", f"sleep 600 & echo $! >{tmp_path}/child")
    assert time.monotonic() - started < LONG_S
    child = (tmp_path / "child").read_text().strip()
    stat = Path(f"/proc/{child}/stat")
    await asyncio.wait_for(until(lambda: not stat.exists() or ") Z " in stat.read_text()), LONG_S)
    with pytest.raises(ApplicationError, match="ended with 3: no"):
        await on_the_worker(env, "sh", "-c", "echo no; exit 3")
    with pytest.raises(ApplicationError, match="No such file"):
        await on_the_worker(env, "no-such-program")


async def test_on_the_worker_it_sees_none_of_the_worker_s_passwords(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NATS_PASSWORD", "hunter2")
    seen = {line.partition("=")[0] for line in (await on_the_worker(ActivityEnvironment(), "env")).splitlines()}
    assert "PATH" in seen
    assert seen <= {*KEPT}
