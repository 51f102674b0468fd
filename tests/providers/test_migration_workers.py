"""Migrations by whole workers: one that is killed in the middle, and one whose migration fails."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from fraisier.orchestrator.errors import ExitCode
from fraisier.orchestrator.stack import LocalStack
from fraisier.providers.testing import Rollout
from tests.providers.by_hand import connected, until
from tests.providers.ssh_bench import SshBench
from tests.support.cli import Cli
from tests.support.postgres import PASSWORD, Database
from tests.support.workers import WorkerProcess

WAIT_S = 120.0


def manifest_of(bench: SshBench, database: Database, migration: dict[str, Any]) -> dict[str, Any]:
    """Release 2.0.0 to the bench's host, with a migration before it."""
    bench.release("2.0.0")
    return {
        "service": f"migrated-{database.name.replace('_', '-')}",
        "release": {"version": "2.0.0", "artifact": "api-2.0.0.tar.gz"},
        "waves": [{"regions": ["east"]}],
        "migrations": [{"database": "orders", **migration}],
        "regions": {
            "east": {
                "provider": "bare_metal",
                "targets": [bench.config()],
                "health": {"http": bench.url, "interval": "100ms"},
            }
        },
    }


@pytest.mark.slow
async def test_a_worker_killed_in_the_middle_leaves_its_migration_to_the_next(
    local_stack: LocalStack, cli: Cli, ssh_bench: SshBench, database: Database, tmp_path: Path
):
    ran, go = tmp_path / "ran", tmp_path / "go"
    command = (
        f"echo >>{ran}; until [ -e {go} ]; do sleep 0.1; done; exec psql $ORDERS -qc 'CREATE TABLE fresh (id int)'"
    )
    secret = {"secret": "env:ORDERS_DSN"}
    tree = manifest_of(
        ssh_bench, database, {"postgres": secret, "env": {"ORDERS": secret}, "expand": ["sh", "-c", command]}
    )
    manifest = tmp_path / "rollout.yaml"
    manifest.write_text(json.dumps(tree))
    env = {**local_stack.env(), "ORDERS_DSN": database.dsn}
    workers = [WorkerProcess(env, tmp_path / name) for name in ("first", "second")]
    for one in workers:
        one.log.parent.mkdir()
    try:
        workers[0].start()
        code, _, error = await cli("rollout", "start", str(manifest), "--no-watch")
        assert code == ExitCode.OK, error
        await asyncio.wait_for(until(ran.exists), WAIT_S)
        workers[0].kill()
        await asyncio.to_thread(workers[1].start)
        go.touch()
        code, out, error = await cli("rollout", "watch", tree["service"])
    finally:
        for one in workers:
            one.kill()
    assert code == ExitCode.OK, error
    assert ran.read_text() == "\n"
    assert database.records() == {"expand": "done"}
    assert await ssh_bench.serving() == "2.0.0"
    assert "expand of database orders is done" in out
    assert PASSWORD not in out + "".join(one.log.read_text() for one in workers)


@pytest.mark.slow
async def test_a_failing_one_leaves_the_old_release_serving(
    worker: WorkerProcess, cli: Cli, ssh_bench: SshBench, database: Database, tmp_path: Path
):
    """And what somebody does by hand to the host afterwards is told beside what it runs."""
    (tmp_path / "dsn").write_text(database.dsn)
    secret = {"secret": f"file:{tmp_path}/dsn"}
    fails = ["sh", "-c", "psql -v ON_ERROR_STOP=1 -qc 'ALTER TABLE missing ADD COLUMN x int' $ORDERS"]
    tree = manifest_of(ssh_bench, database, {"postgres": secret, "env": {"ORDERS": secret}, "expand": fails})
    provider = await connected(ssh_bench)
    await Rollout(ssh_bench, generation=1).deploy(provider, ssh_bench.release("1.0.0"))
    manifest = tmp_path / "rollout.yaml"
    manifest.write_text(json.dumps(tree))
    code, out, error = await cli("rollout", "start", str(manifest))
    assert code == ExitCode.ROLLOUT_FAILED, error
    assert 'relation "missing" does not exist' in out
    assert "no target was changed" in out
    assert await ssh_bench.serving() == "1.0.0"
    assert PASSWORD not in out + worker.log.read_text()
    (ssh_bench.root / "current" / "VERSION").unlink()
    code, out, error = await cli("details", tree["service"], "--output", "json")
    ((state,),) = [one["states"].values() for one in json.loads(out)]
    assert (state["release"]["version"], state["drift"]) == ("1.0.0", ["in the running release, VERSION is gone"])
    code, out, _ = await cli("details", tree["service"])
    assert "VERSION is gone" in " ".join(out.split())
    await provider.disconnect()
