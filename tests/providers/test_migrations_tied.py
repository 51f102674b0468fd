"""A PostgreSQL migration that a host runs does not outlive its lock, which whoever sent it holds."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from fraisier.providers.bare_metal import BareMetalProvider
from fraisier.providers.errors import CommandUnknown, TargetBusy
from fraisier.providers.migrations.ledger import session_name
from fraisier.providers.migrations.migrator import PostgresMigrator
from fraisier.providers.migrations.models import Migration, MigrationOrder, MigrationResult
from fraisier.providers.models import FencingToken, Release, Step
from tests.providers.by_hand import until
from tests.support.postgres import Database
from tests.support.releases import build_release, digest_of
from tests.support.sshd import ADDRESS, Sshd, running_sshd

SOON_S = 60.0
ITS_SESSIONS = (
    "FROM pg_stat_activity WHERE application_name LIKE 'fraisier migration %' AND datname = current_database()"
)
WORKER = """\
import asyncio, json, sys
from fraisier.providers.bare_metal import BareMetalProvider
from fraisier.providers.migrations.migrator import PostgresMigrator
from fraisier.providers.migrations.models import Migration, MigrationOrder

async def main(config, order, migration):
    host = BareMetalProvider(config, region="test")
    order, migration = MigrationOrder.model_validate(order), Migration.model_validate(migration)
    await PostgresMigrator().run(order, migration, host=host, heard=len, leave=lambda: True)

asyncio.run(main(*json.loads(sys.argv[1])))
"""
# Notes its process, and works without end, heedless of TERM and of its lost session; the second time it ends at once.
WORK = """\
import os, psycopg, signal, sys, time
ran, dsn = sys.argv[1:]
signal.signal(signal.SIGTERM, signal.SIG_IGN)
with open(ran, "a") as notes:
    notes.write(f"{os.getpid()}\\n")
if len(open(ran).readlines()) == 1:
    try:
        psycopg.connect(dsn).execute("SELECT pg_sleep(6000)")
    except psycopg.Error:
        time.sleep(6000)
"""


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with running_sshd(tmp_path_factory.mktemp("sshd")) as server:
        yield server


class Host:
    """A host over OpenSSH, where a release is staged whose migration does not end by itself."""

    def __init__(self, sshd: Sshd, database: Database, folder: Path) -> None:
        known_hosts = folder / "known_hosts"
        known_hosts.write_text(sshd.known_hosts_line)
        self.config = {
            "host": ADDRESS,
            "port": sshd.port,
            "username": sshd.username,
            "key_path": str(sshd.folder / "client_key"),
            "known_hosts": str(known_hosts),
            "ssh_config": None,
            "root": str(folder / "srv"),
            "start_command": ["true"],
            "stop_command": ["true"],
        }
        self.provider = BareMetalProvider(self.config, region="test")
        self.database = database
        self.ran = folder / "ran"
        artifact = build_release(folder, "2.0.0")
        self.release = Release(service="api", version="2.0.0", digest=digest_of(artifact), artifact=artifact)
        self.migration = Migration.model_validate(
            {
                "database": "orders",
                "postgres": {"secret": "env:ORDERS_DSN"},
                "expand": [sys.executable, "-c", WORK, str(self.ran), database.dsn],
                "on": "host",
                "region": "test",
            }
        )

    def step(self, name: str, *token: int) -> Step:
        generation, ordinal, attempt = token
        fencing = FencingToken(generation=generation, ordinal=ordinal, attempt=attempt)
        return Step(rollout_id="r1", service="api", region="test", target="t1", name=name, token=fencing)

    def order(self, attempt: int, *, timeout_s: float = SOON_S) -> MigrationOrder:
        step, argv = self.step("migrate", 1, 2, attempt), self.migration.expand or ()
        return MigrationOrder(
            step=step, database="orders", release=self.release.ref, phase="expand", argv=argv, timeout_s=timeout_s
        )

    async def run(self, order: MigrationOrder) -> MigrationResult:
        return await PostgresMigrator().run(order, self.migration, host=self.provider, heard=len, leave=lambda: False)

    def sessions(self) -> int:
        """How many of the command's sessions there are in the database."""
        return len(self.database.ask(f"SELECT 1 {ITS_SESSIONS}"))

    def held(self) -> bool:
        return bool(
            self.database.ask(
                "SELECT 1 FROM pg_locks JOIN pg_stat_activity USING (pid) "
                "WHERE locktype = 'advisory' AND granted AND datname = current_database()"
            )
        )

    def works(self) -> bool:
        """Whether the command of the first attempt is there."""
        stat = Path(f"/proc/{self.ran.read_text().split()[0]}/stat")
        try:
            return ") Z " not in stat.read_text()
        except (FileNotFoundError, ProcessLookupError):
            return False


@pytest.fixture
async def host(sshd: Sshd, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Host]:
    monkeypatch.setenv("ORDERS_DSN", database.dsn)
    host = Host(sshd, database, tmp_path)
    await host.provider.stage(host.step("stage", 1, 1, 1), host.release)
    yield host
    await host.provider.disconnect()


async def soon(true: Callable[[], bool]) -> None:
    await asyncio.wait_for(until(true), SOON_S)


async def runs_again(host: Host) -> None:
    """By the next attempt, to its end."""
    assert (await host.run(host.order(2))).changed
    assert len(host.ran.read_text().split()) == 2
    assert host.database.records() == {"expand": "done"}


async def test_one_that_is_cancelled_has_ended_before_its_lock_is_free(host: Host):
    running = asyncio.ensure_future(host.run(host.order(1)))
    await soon(lambda: host.sessions() == 1)
    running.cancel()
    while not running.done():
        assert host.held() or not host.works()
        await asyncio.sleep(0.02)
    assert running.cancelled()
    assert not host.works()
    await soon(lambda: not host.sessions())  # the server goes on without a client otherwise
    await runs_again(host)


async def test_one_whose_connection_is_lost_has_ended_before_its_lock_is_free(host: Host):
    running = asyncio.ensure_future(host.run(host.order(1)))
    await soon(lambda: host.sessions() == 1)
    connection = host.provider._connection._ssh
    assert connection is not None
    connection.abort()
    while not running.done():
        assert host.held() or not host.works()
        await asyncio.sleep(0.02)
    with pytest.raises(CommandUnknown, match="whether it took effect is not known"):
        await running
    assert not host.works()
    await soon(lambda: not host.sessions())
    await runs_again(host)


async def test_one_whose_worker_is_killed_ends_with_it(host: Host):
    about = [host.config, host.order(1).model_dump(), host.migration.model_dump()]
    worker = await asyncio.create_subprocess_exec(sys.executable, "-c", WORKER, json.dumps(about))
    try:
        await soon(lambda: host.sessions() == 1)
    finally:
        worker.kill()
        await worker.wait()
    await soon(lambda: not host.works())
    # A session whose client is gone ends when the server looks; until then the next attempt waits.
    host.database.ask(f"SELECT pg_terminate_backend(pid) {ITS_SESSIONS}")
    await runs_again(host)


async def test_a_session_of_any_service_s_migration_is_waited_for(host: Host):
    """Its lock was lost, or it would hold it: the command may be on another host, and of another service."""
    with (
        psycopg.connect(host.database.dsn, application_name=session_name("other", "customers")),
        pytest.raises(TargetBusy, match="sessions of an earlier migration still work"),
    ):
        await host.run(host.order(1, timeout_s=1))
    assert not host.ran.exists()
