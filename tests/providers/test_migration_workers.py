"""Whole workers, killed in the middle of a migration: it runs once, and the rollout goes on."""

import asyncio
import json
from pathlib import Path

import pytest

from fraisier.orchestrator.errors import ExitCode
from fraisier.orchestrator.stack import LocalStack
from tests.providers.by_hand import until
from tests.providers.ssh_bench import SshBench
from tests.support.cli import Cli
from tests.support.postgres import PASSWORD, Database
from tests.support.workers import WorkerProcess

WAIT_S = 120.0


@pytest.mark.slow
async def test_a_worker_killed_in_the_middle_leaves_its_migration_to_the_next(
    local_stack: LocalStack, cli: Cli, ssh_bench: SshBench, database: Database, tmp_path: Path
):
    ran, go = tmp_path / "ran", tmp_path / "go"
    command = (
        f"echo >>{ran}; until [ -e {go} ]; do sleep 0.1; done; exec psql $ORDERS -qc 'CREATE TABLE fresh (id int)'"
    )
    secret = {"secret": "env:ORDERS_DSN"}
    ssh_bench.release("2.0.0")
    tree = {
        "service": f"migrated-{database.name.replace('_', '-')}",
        "release": {"version": "2.0.0", "artifact": "api-2.0.0.tar.gz"},
        "waves": [{"regions": ["east"]}],
        "migrations": [
            {"database": "orders", "postgres": secret, "env": {"ORDERS": secret}, "expand": ["sh", "-c", command]}
        ],
        "regions": {
            "east": {
                "provider": "bare_metal",
                "targets": [ssh_bench.config()],
                "health": {"http": ssh_bench.url, "interval": "100ms"},
            }
        },
    }
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
