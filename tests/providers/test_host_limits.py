"""The limit of a host's command where the host has few tools."""

import asyncio
from importlib.resources import files
from pathlib import Path

import pytest

from fraisier.providers.bare_metal.limits import LATE
from fraisier.providers.errors import CommandFailed, PreflightFailed
from fraisier.providers.testing import Rollout
from tests.providers.by_hand import connected, only_tools, until
from tests.providers.ssh_bench import SshBench

SOON_S = 60.0


def alive(pid: str) -> bool:
    """Whether a process is there; one that is dead and that nobody has waited for is not."""
    stat = Path(f"/proc/{pid}/stat")
    try:
        return ") Z " not in stat.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.parametrize("tool", ["perl", "timeout"])
async def test_one_of_two_tools_bounds_a_hook_and_all_that_it_has_started(ssh_bench: SshBench, tmp_path: Path, tool):
    only_tools(ssh_bench, tmp_path / "tools", tool, without=tuple({"perl", "timeout"} - {tool}))
    provider = await connected(ssh_bench)
    await provider.preflight(ssh_bench.release("1.0.0"))
    hook = ("sh", "-c", f"sleep 600 & echo $! >{tmp_path}/child; wait")
    with pytest.raises(CommandFailed) as late:
        await provider.run_hook(Rollout(ssh_bench, generation=1).step("drain"), hook, timeout_s=1, heard=len)
    assert late.value.exit_status == LATE
    child = (tmp_path / "child").read_text().strip()
    await asyncio.wait_for(until(lambda: not alive(child)), SOON_S)
    await provider.disconnect()


async def test_a_host_that_can_bound_nothing_is_unfit(ssh_bench: SshBench, tmp_path: Path):
    only_tools(ssh_bench, tmp_path / "tools", without=("timeout",))
    provider = await connected(ssh_bench)
    with pytest.raises(PreflightFailed, match="neither perl nor timeout is installed, to end what hangs: install one"):
        await provider.preflight(ssh_bench.release("1.0.0"))
    await provider.disconnect()


async def test_a_line_that_a_power_cut_tore_does_not_garble_the_next_one(ssh_bench: SshBench):
    provider, old, new = await connected(ssh_bench), ssh_bench.release("1.0.0"), ssh_bench.release("2.0.0")
    await Rollout(ssh_bench, generation=1).deploy(provider, old)
    effects = ssh_bench.root / ".fraisier" / "effects"
    with effects.open("a") as log:
        log.write("1767225600 2.3.1 r9.activ")
    before = effects.read_text()
    await Rollout(ssh_bench, generation=3).deploy(provider, new)
    added = effects.read_text().removeprefix(before + "\n").replace("\n\n", "\n").splitlines()
    assert [line.split()[1:2] + line.split()[3:] for line in added] == [
        ["3.1.1", "stage", added[0].split()[-1]],
        ["3.3.1", "activate", added[0].split()[-1]],
    ]
    state = await provider.inspect("api")
    assert (state.release, state.kept, state.drift) == (new.ref, (old.ref,), ())
    assert state.since is not None
    await provider.disconnect()


async def test_a_step_waits_for_a_busy_manager_to_take_it_out_of_the_login():
    """A faked login, left late: no real manager can be told to take its time."""
    login = (files("fraisier.providers.bare_metal") / "login.sh").read_text()
    left = 'left=$(($(date +%s) + 4)); in_login() { [ "$(date +%s)" -lt "$left" ]; }; leave_login; ! in_login'
    process = await asyncio.create_subprocess_exec("sh", "-c", f"{login}\n{left}")
    assert await asyncio.wait_for(process.wait(), SOON_S) == 0
