"""Bare metal after a power cut in the middle of a write: what is not whole counts for nothing, and nothing is lost."""

import shutil
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from fraisier.providers.bare_metal import BareMetalProvider
from fraisier.providers.bare_metal.options import BareMetalOptions
from fraisier.providers.errors import CommandFailed, ReleaseMissing, StaleToken
from fraisier.providers.models import Release, Step
from fraisier.providers.testing import Rollout
from tests.providers.by_hand import connected, only_tools
from tests.providers.ssh_bench import SshBench

DEPLOYED = ["stage", "activate"]
KEPT = BareMetalOptions.model_fields["keep_releases"].default


def what(bench: SshBench) -> list[str]:
    """What took effect on the host, in order."""
    return [what for _, what, _ in bench.effects()]


DONE = """{{ cat "{root}/.fraisier/effects"; ls "{root}/.fraisier/releases" "{root}"; }} 2>/dev/null | tr '\\n' ' '"""
"""What prints in a line what was done on a host."""

SPY = f"""#!/bin/sh
{{{{ echo "$*" | grep -q -e -f -e token && printf 'token ' || printf 'other '; {DONE}; echo; }}}} >>{{log}}
exec {{sync}} "$@"
"""
"""A ``sync`` that writes down whether it flushes the token, and what was done on the host by then."""


def done(bench: SshBench) -> str:
    return subprocess.run(["sh", "-c", DONE.format(root=bench.root)], capture_output=True, text=True, check=True).stdout


ACTS: dict[str, Callable[[BareMetalProvider, Step, Release], Awaitable[object]]] = {
    "stage": lambda provider, step, release: provider.stage(step, release),
    "activate": lambda provider, step, release: provider.activate(step, release),
    "hook": lambda provider, step, _release: provider.run_hook(step, ("touch", "ran"), timeout_s=10, heard=print),
    "rollback": lambda provider, step, _release: provider.rollback(step, None),
    "prune": lambda provider, step, release: provider.prune(step, release.service),
    "drain": lambda provider, step, _release: provider.fence(step),
}


@pytest.fixture
def flushes(ssh_bench: SshBench, tmp_path: Path) -> Path:
    """The file in which the host's ``sync`` writes down what it does."""
    only_tools(ssh_bench, tmp_path / "tools", "flock", "perl", "rm", "touch", "kill", without=("sync",))
    log, spy = tmp_path / "flushes", tmp_path / "tools" / "sync"
    spy.write_text(SPY.format(root=ssh_bench.root, log=log, sync=shutil.which("sync")))
    spy.chmod(0o755)
    return log


async def three_deployed(bench: SshBench) -> tuple[BareMetalProvider, Release]:
    """A host with three releases and a worker that keeps two; the last one."""
    provider = await connected(bench)
    for generation, version in enumerate(("1.0.0", "2.0.0", "3.0.0"), start=1):
        release = bench.release(version)
        await Rollout(bench, generation=generation).deploy(provider, release)
    await provider.disconnect()
    return await connected(bench, keep_releases=2), release


@pytest.mark.parametrize("act", ACTS)
async def test_a_new_token_is_flushed_before_anything_is_done_or_answered(ssh_bench: SshBench, flushes: Path, act: str):
    """Else a power cut could leave what was done without the token that keeps older attempts away from it."""
    provider, release = await three_deployed(ssh_bench)
    if act == "stage":
        release = ssh_bench.release("4.0.0")
    rollout = Rollout(ssh_bench, generation=9)
    for attempt in (1, 2):
        before = done(ssh_bench)
        flushes.write_text("")
        await ACTS[act](provider, rollout.step("drain" if act == "hook" else act, attempt), release)
        first = flushes.read_text().splitlines()[0]
        assert first == f"token {before}", (act, attempt)
    await provider.disconnect()


async def test_a_new_token_is_flushed_before_a_refusal_too(ssh_bench: SshBench, flushes: Path):
    provider, _ = await three_deployed(ssh_bench)
    flushes.write_text("")
    with pytest.raises(ReleaseMissing):
        await provider.activate(Rollout(ssh_bench, generation=9).step("activate"), ssh_bench.release("4.0.0"))
    assert flushes.read_text().startswith("token ")
    await provider.disconnect()


async def test_a_token_that_another_attempt_did_not_come_to_flush_is_flushed_by_the_next(
    ssh_bench: SshBench, flushes: Path
):
    provider, _ = await three_deployed(ssh_bench)
    prune = Rollout(ssh_bench, generation=9).step("prune", 2)
    with (ssh_bench.root / ".fraisier" / "token").open("a") as token:
        token.write(f"9 {prune.token.ordinal} 1\n")
    before = done(ssh_bench)
    flushes.write_text("")
    await provider.prune(prune, ssh_bench.service)
    assert flushes.read_text().splitlines()[0] == f"token {before}"
    await provider.disconnect()


async def test_a_service_that_was_taken_down_is_not_taken_down_again(ssh_bench: SshBench):
    """Whatever a power cut brings back, the log of effects tells."""
    provider = await connected(ssh_bench, start_command=["false"])
    release, state = ssh_bench.release("1.0.0"), ssh_bench.root / ".fraisier"
    rollout = Rollout(ssh_bench, generation=1)
    await provider.stage(rollout.step("stage"), release)
    with pytest.raises(CommandFailed):
        await provider.activate(rollout.step("activate"), release)
    unsettled, back = (state / "unsettled").read_text(), Rollout(ssh_bench, generation=2)
    for attempt in (1, 2):
        assert (await provider.rollback(back.step("rollback", attempt), None)).changed
        (marker,) = (state / "steps").glob("*.rollback")
        marker.unlink()
        (state / "unsettled").write_text(unsettled)
    assert what(ssh_bench) == ["stage", "stop"]
    await provider.disconnect()


async def test_a_torn_token_counts_as_the_one_before_it(ssh_bench: SshBench):
    provider = await connected(ssh_bench)
    rollout, release = Rollout(ssh_bench, generation=2), ssh_bench.release("1.0.0")
    await rollout.deploy(provider, release)
    before = await provider.inspect(ssh_bench.service)
    with (ssh_bench.root / ".fraisier" / "token").open("a") as token:
        token.write("9 9")
    assert await provider.inspect(ssh_bench.service) == before
    with pytest.raises(StaleToken):
        await provider.activate(Rollout(ssh_bench, generation=1).step("activate"), release)
    await provider.fence(rollout.step("prune"))
    assert (await provider.inspect(ssh_bench.service)).token == rollout.step("prune").token
    await provider.disconnect()


async def test_the_highest_token_of_many_is_the_last(ssh_bench: SshBench):
    """The file grows with every step and is begun anew at times, under a lock and by a rename."""
    provider = await connected(ssh_bench)
    await Rollout(ssh_bench, generation=1).deploy(provider, ssh_bench.release("1.0.0"))
    token = ssh_bench.root / ".fraisier" / "token"
    token.write_text("".join(f"1 1 {attempt}\n" for attempt in range(1, 202)))
    last = Rollout(ssh_bench, generation=2).step("drain")
    await provider.fence(last)
    assert len(token.read_text().splitlines()) == 1
    assert (await provider.inspect(ssh_bench.service)).token == last.token
    await provider.disconnect()


async def test_a_torn_marker_lets_its_step_be_repeated_to_no_effect(ssh_bench: SshBench):
    provider = await connected(ssh_bench)
    rollout, release = Rollout(ssh_bench, generation=1), ssh_bench.release("1.0.0")
    for step in (provider.stage, provider.activate):
        assert (await step(rollout.step(step.__name__), release)).changed
        before = await ssh_bench.instance()
        (marker,) = (ssh_bench.root / ".fraisier" / "steps").glob(f"*.{step.__name__}")
        marker.write_text("1 act")
        assert not (await step(rollout.step(step.__name__, attempt=2), release)).changed
        assert await ssh_bench.instance() == before
    assert what(ssh_bench) == DEPLOYED
    await provider.disconnect()


@pytest.mark.parametrize("torn", [b"1700000000 1.2.1 r1.1.2.act", b"1700000000 1.2.1 r1.1.2.act\0\0"])
async def test_a_torn_effect_is_not_the_begin_of_the_next_one(ssh_bench: SshBench, torn: bytes):
    provider, release = await connected(ssh_bench), ssh_bench.release("1.0.0")
    await provider.stage(Rollout(ssh_bench, generation=1).step("stage"), release)
    with (ssh_bench.root / ".fraisier" / "effects").open("ab") as effects:
        effects.write(torn)
    assert (await provider.activate(Rollout(ssh_bench, generation=2).step("activate"), release)).changed
    assert not (await provider.activate(Rollout(ssh_bench, generation=3).step("activate"), release)).changed
    await provider.disconnect()


async def test_a_release_with_a_torn_marker_is_sent_again(ssh_bench: SshBench):
    provider = await connected(ssh_bench)
    release = ssh_bench.release("1.0.0")
    await provider.stage(Rollout(ssh_bench, generation=1).step("stage"), release)
    for marker in (ssh_bench.root / ".fraisier" / "releases").iterdir():
        marker.write_text(marker.read_text().rstrip("\n"))
    assert (await provider.inspect(ssh_bench.service)).kept == ()
    assert (await provider.stage(Rollout(ssh_bench, generation=2, rollout_id="r2").step("stage"), release)).changed
    await provider.disconnect()


async def test_a_switch_that_was_cut_short_is_made_again(ssh_bench: SshBench):
    provider = await connected(ssh_bench)
    release = ssh_bench.release("1.0.0")
    await Rollout(ssh_bench, generation=1).deploy(provider, release)
    (ssh_bench.root / ".fraisier" / "unsettled").write_text("r1.2")
    assert (await provider.activate(Rollout(ssh_bench, generation=2).step("activate"), release)).changed
    assert what(ssh_bench) == [*DEPLOYED, "activate"]
    assert not (await provider.activate(Rollout(ssh_bench, generation=3).step("activate"), release)).changed
    await provider.disconnect()


async def test_a_host_makes_room_for_a_release_and_is_not_asked_to_prune(ssh_bench: SshBench):
    provider = await connected(ssh_bench)
    releases = [ssh_bench.release(f"{number}.0.0") for number in range(1, KEPT + 2)]
    for generation, release in enumerate((*releases, releases[-1]), start=1):
        rollout = Rollout(ssh_bench, generation=generation, rollout_id=f"r{generation}")
        await rollout.deploy(provider, release)
        pruned = await provider.prune(rollout.step("prune"), ssh_bench.service)
        assert pruned.changed == (generation == len(releases))
        state = await provider.inspect(ssh_bench.service)
        assert state.token == rollout.step("activate").token
        assert len(state.kept) == min(generation, KEPT) - 1
    assert state.kept == tuple(release.ref for release in releases[-2 : -KEPT - 1 : -1])
    await provider.disconnect()


async def test_where_fewer_are_kept_than_before_the_host_is_asked_to_prune(ssh_bench: SshBench):
    first = await connected(ssh_bench)
    for generation in range(1, KEPT + 1):
        await Rollout(ssh_bench, generation=generation).deploy(first, ssh_bench.release(f"{generation}.0.0"))
    await first.disconnect()
    provider = await connected(ssh_bench, keep_releases=2)
    rollout = Rollout(ssh_bench, generation=9)
    await rollout.deploy(provider, ssh_bench.release(f"{KEPT}.0.0"))
    assert (await provider.prune(rollout.step("prune"), ssh_bench.service)).changed
    assert len((await provider.inspect(ssh_bench.service)).kept) == 1
    await provider.disconnect()


async def test_room_is_made_by_what_never_ran_before_what_did(ssh_bench: SshBench):
    provider = await connected(ssh_bench)
    good = [ssh_bench.release(f"{number}.0.0") for number in (1, 2)]
    for generation, release in enumerate(good, start=1):
        await Rollout(ssh_bench, generation=generation).deploy(provider, release)
    for generation in (3, 5, 7):
        bad = ssh_bench.release(f"{generation}.0.0", healthy=False)
        await provider.stage(Rollout(ssh_bench, generation=generation).step("stage"), bad)
        state = await provider.inspect(ssh_bench.service)
        assert (state.release, set(state.kept)) == (good[1].ref, {good[0].ref, bad.ref})
    await provider.disconnect()


async def test_preflight_tells_what_runs_in_the_same_look(ssh_bench: SshBench):
    provider = await connected(ssh_bench)
    release = ssh_bench.release("1.0.0")
    await Rollout(ssh_bench, generation=1).deploy(provider, release)
    assert await provider.preflight(release) == await provider.inspect(ssh_bench.service)
    assert (await provider.preflight(release)).release == release.ref
    await provider.disconnect()
