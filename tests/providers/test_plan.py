"""What a manifest would do is told before it is done, and what it would change where is asked of the targets."""

import json
from pathlib import Path

import pytest

from fraisier.orchestrator.errors import ExitCode
from fraisier.providers.testing import Rollout
from tests.providers.by_hand import connected
from tests.providers.ssh_bench import SshBench
from tests.support.cli import Cli
from tests.support.releases import MakeRelease, digest_of
from tests.support.workers import WorkerProcess

MANIFEST = """
service: api
release: {version: "2.0.0", artifact: api-2.0.0.tar.gz}
waves: [{regions: [east], soak: 10m}, {regions: [west, north], max_parallel: 1}]
migrations:
  - {database: stock, on: host, region: west, expand: [bin/migrate, "a b"], contract: [bin/shrink]}
regions:
  east:
    provider: bare_metal
    targets: [{host: a.example}, {host: b.example}, {host: c.example}]
    batch: {canary: 1, max_parallel: 2}
    strategy: canary
    promotion: {timeout: 20m}
    failure_tolerance: 1
    soak: 5m
    health: {tcp: "127.0.0.1:1"}
  west: {provider: bare_metal, targets: [{host: d.example}], health: {tcp: "127.0.0.1:1"}}
  north: {provider: bare_metal, targets: [{host: e.example}], health: {tcp: "127.0.0.1:1"}}
"""


@pytest.fixture
def manifest(tmp_path: Path, make_release: MakeRelease) -> Path:
    make_release("2.0.0")
    path = tmp_path / "rollout.yaml"
    path.write_text(MANIFEST)
    return path


async def test_a_plan_is_told_in_its_order_with_no_server_there(cli: Cli, manifest: Path):
    nowhere = {"NATS_SERVERS": "nats://127.0.0.1:1", "TEMPORAL_ADDRESS": "127.0.0.1:1"}
    code, out, _ = await cli("plan", str(manifest), **nowhere)
    assert code == ExitCode.OK
    assert out.splitlines() == [
        f"api 2.0.0 ({digest_of(manifest.parent / 'api-2.0.0.tar.gz')})",
        "expand database stock on d.example: bin/migrate 'a b'",
        "wave 1 of 2: east",
        "  east: 3 targets; 1 may fail",
        "    batch 1, the canary: a.example",
        "    then waits for promote within 20m",
        "    batch 2: b.example, c.example",
        "    soak 5m",
        "  soak 10m",
        "  gates: healthy",
        "wave 2 of 2: west, north, 1 at a time",
        "  west: 1 target",
        "    batch 1: d.example",
        "  north: 1 target",
        "    batch 1: e.example",
        "contract database stock on d.example: bin/shrink",
        "when a region fails: rollback region",
    ]
    code, out, _ = await cli("plan", str(manifest), "--output", "json", **nowhere)
    assert json.loads(out)["waves"][0]["regions"] == ["east"]
    code, _, error = await cli("plan", str(manifest), "--diff", **nowhere)
    assert code == ExitCode.UNREACHABLE
    manifest.write_text("service: api")
    for more in ((), ("--diff",)):
        code, _, error = await cli("plan", str(manifest), *more, **nowhere)
        assert (code, "release: is missing" in error) == (ExitCode.INVALID, True)


@pytest.mark.slow
async def test_a_diff_is_asked_of_the_targets(worker: WorkerProcess, cli: Cli, ssh_bench: SshBench, manifest: Path):
    options = ssh_bench.config()
    gone = {**options, "port": 1}
    regions = {"east": options, "west": gone}
    tree = {
        "service": "api",
        "release": {"version": "2.0.0", "artifact": "api-2.0.0.tar.gz"},
        "waves": [{"regions": [*regions]}],
        "regions": {
            name: {"provider": "bare_metal", "targets": [one], "health": {"http": ssh_bench.url}}
            for name, one in regions.items()
        },
    }
    manifest.write_text(json.dumps(tree))

    async def diff() -> tuple[int, dict[str, tuple[str, str]]]:
        code, out, error = await cli("plan", str(manifest), "--diff", "--output", "json")
        assert out, error
        return code, {one["region"]: (one["change"], one["why"]) for one in json.loads(out)}

    code, found = await diff()
    assert (code, found["east"]) == (ExitCode.CHANGES, ("deploy", ""))
    assert found["west"][0] == "unknown"
    assert "cannot be reached" in found["west"][1]
    provider, release = await connected(ssh_bench), ssh_bench.release("2.0.0")
    await Rollout(ssh_bench, generation=1).deploy(provider, release)
    code, found = await diff()
    assert (code, found["east"]) == (ExitCode.FAILED, ("none", ""))
    tree["waves"], tree["regions"] = [{"regions": ["east"]}], {"east": tree["regions"]["east"]}
    manifest.write_text(json.dumps(tree))
    assert (await diff())[0] == ExitCode.OK
    (next((ssh_bench.root / "releases").iterdir()) / "VERSION").unlink()
    code, found = await diff()
    assert (code, found["east"]) == (ExitCode.CHANGES, ("drift", "in the running release, VERSION is gone"))
    code, out, _ = await cli("plan", str(manifest), "--diff")
    assert (code, "VERSION is gone" in out) == (ExitCode.CHANGES, True)
    await provider.disconnect()
