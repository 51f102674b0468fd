"""On a host without systemd a release comes back by the commands that it came with, whatever a newer manifest says."""

import asyncio
import json
from pathlib import Path

import pytest

from fraisier.orchestrator.client import FraisierClient
from fraisier.providers.errors import CommandFailed
from fraisier.providers.models import HealthCheck
from fraisier.providers.testing import QUICK, Rollout
from fraisier.workflows.contracts import RolloutPhase
from tests.e2e.test_systemd_rollout import client
from tests.providers.by_hand import connected, until_serving
from tests.providers.ssh_bench import START, SshBench

__all__ = ["client"]
BROKEN = ["sh", "-c", "echo no such program; exit 9"]
MARKED = ["sh", "-c", f"echo started >>starts; {START}"]


async def test_a_release_whose_commands_are_broken_goes_back_to_one_with_good_ones(ssh_bench: SshBench):
    old, new = ssh_bench.release("1.0.0"), ssh_bench.release("2.0.0")
    good = await connected(ssh_bench, start_command=MARKED)
    await Rollout(ssh_bench, generation=1).deploy(good, old)
    await good.disconnect()
    before = await ssh_bench.instance()
    bad = await connected(ssh_bench, start_command=BROKEN, stop_command=BROKEN)
    rollout, back = Rollout(ssh_bench, generation=2), Rollout(ssh_bench, generation=3)
    await bad.stage(rollout.step("stage"), new)
    with pytest.raises(CommandFailed, match="no such program") as failed:
        await bad.activate(rollout.step("activate"), new)
    assert failed.value.exit_status == 9
    assert await ssh_bench.serving() == ""  # stopped by its own command, not by the broken one
    assert (await bad.rollback(back.step("rollback"), old.ref)).changed
    check = HealthCheck(http=ssh_bench.url, expect_version=True, **QUICK)
    assert (await bad.check_health(back.step("verify"), old.ref, check)).healthy
    assert (ssh_bench.root / "starts").read_text() == "started\n" * 2
    assert await ssh_bench.instance() != before
    await bad.disconnect()


async def test_what_its_own_command_cannot_stop_is_stopped_by_the_next_release_s(ssh_bench: SshBench):
    """A release that came with a broken stop command must not stay for ever."""
    provider = await connected(ssh_bench, stop_command=BROKEN)
    await Rollout(ssh_bench, generation=1).deploy(provider, ssh_bench.release("1.0.0"))
    await provider.disconnect()
    provider = await connected(ssh_bench)
    await Rollout(ssh_bench, generation=2).deploy(provider, ssh_bench.release("2.0.0"))
    assert await ssh_bench.serving() == "2.0.0"
    await provider.disconnect()


async def test_commands_go_with_their_release_when_it_is_pruned(ssh_bench: SshBench):
    provider = await connected(ssh_bench, keep_releases=2)
    for generation in (1, 2, 3):
        await Rollout(ssh_bench, generation=generation).deploy(provider, ssh_bench.release(f"{generation}.0.0"))
    await provider.prune(Rollout(ssh_bench, generation=3).step("prune"), ssh_bench.service)
    kept = {path.name.split("-")[0] for path in (ssh_bench.root / ".fraisier" / "commands").iterdir()}
    assert kept == {"2.0.0", "3.0.0"}
    await provider.disconnect()


def manifest(bench: SshBench, folder: Path, version: str, **changed: object) -> Path:
    config = bench.config(**changed)
    content = {
        "service": "pairs",
        "release": {"version": version, "artifact": bench.release(version).artifact.name},
        "waves": [{"regions": ["metal"]}],
        "decision_timeout": "0s",
        "regions": {
            "metal": {
                "provider": "bare_metal",
                "targets": [{"host": config.pop("host"), "port": config.pop("port")}],
                **config,
                "health": {"http": bench.url, "expect_version": True, "interval": "200ms", "progress_deadline": "30s"},
            }
        },
    }
    path = folder / f"rollout-{version}.yaml"
    path.write_text(json.dumps(content))
    return path


@pytest.mark.usefixtures("worker")
async def test_a_region_goes_back_from_a_manifest_with_a_broken_command(
    client: FraisierClient, ssh_bench: SshBench, tmp_path: Path
):
    async def roll(version: str, **changed: object) -> RolloutPhase:
        handle = await client.start(manifest(ssh_bench, tmp_path, version, **changed), actor="tests")
        return (await asyncio.wait_for(handle.result(), 90)).phase

    assert await roll("1.0.0") is RolloutPhase.SUCCEEDED
    assert await roll("2.0.0", start_command=BROKEN, stop_command=BROKEN) is RolloutPhase.FAILED
    await until_serving(ssh_bench, "1.0.0")
    assert [what for _, what, _ in ssh_bench.effects()] == ["stage", "activate", "stage", "rollback"]
