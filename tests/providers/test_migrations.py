"""A migration's command in a real PostgreSQL database: once for all, whoever runs it and whoever dies."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg
import pytest

from fraisier.providers.errors import (
    CommandFailed,
    CommandUnknown,
    ConnectFailed,
    DatabaseRefused,
    StaleToken,
    TargetBusy,
)
from fraisier.providers.migrations.guarded import run_guarded
from fraisier.providers.migrations.ledger import open_ledger, session_name
from fraisier.providers.migrations.migrator import PostgresMigrator
from fraisier.providers.migrations.models import Migration, MigrationOrder, MigrationResult
from fraisier.providers.migrations.words import GuardOrder
from fraisier.providers.models import FencingToken, ReleaseRef, Step
from tests.providers.by_hand import until
from tests.support.postgres import PASSWORD, Database, PostgresServer

RELEASE = ReleaseRef(version="2.0.0", digest="sha256:" + "2" * 64)
WAIT_S = 60.0


def order(
    *argv: str,
    phase: Any = "expand",
    token: tuple[int, int, int] = (5, 1, 1),
    rollout: str = "r1",
    timeout_s: float = WAIT_S,
    release: ReleaseRef = RELEASE,
) -> MigrationOrder:
    generation, ordinal, attempt = token
    step = Step(
        rollout_id=rollout,
        service="api",
        region="global",
        target="orders",
        name="migrate",
        token=FencingToken(generation=generation, ordinal=ordinal, attempt=attempt),
    )
    return MigrationOrder(step=step, database="orders", release=release, phase=phase, argv=argv, timeout_s=timeout_s)


class Script:
    """A command that leaves a line a run, and goes on when it is let."""

    def __init__(self, folder: Path) -> None:
        self.ran, self.go = folder / "ran", folder / "go"
        self.argv = (
            "sh",
            "-c",
            f"echo on it; echo >>{self.ran}; until [ -e {self.go} ]; do sleep 0.1; done; echo done",
        )

    @property
    def runs(self) -> int:
        return len(self.ran.read_text()) if self.ran.exists() else 0

    async def begun(self, times: int = 1) -> None:
        await asyncio.wait_for(until(lambda: self.runs >= times), WAIT_S)


@pytest.fixture
def script(tmp_path: Path) -> Script:
    return Script(tmp_path)


async def run(
    what: MigrationOrder, database: Database, *, leave: bool = False, heard: Any = id, **more: Any
) -> MigrationResult:
    told = GuardOrder(order=what, dsn=more.pop("dsn", database.dsn), hidden=more.pop("hidden", ()))
    return await run_guarded(told, environment=more, heard=heard, leave=lambda: leave)


async def test_two_workers_race_one_migration_and_it_runs_once(database: Database, script: Script):
    script.go.touch()
    orders = [order(*script.argv, token=(5, 1, number)) for number in (1, 1, 2, 2)]
    results = await asyncio.gather(*(run(one, database) for one in orders), return_exceptions=True)
    # Where the second attempt was first, the first one is a ghost.
    assert {type(one) for one in results} <= {MigrationResult, StaleToken}
    assert {one for one in results if isinstance(one, MigrationResult)} == {
        MigrationResult(changed=True, output="on it\ndone")
    }
    assert script.runs == 1
    assert database.records() == {"expand": "done"}


async def test_another_rollout_of_the_release_finds_it_done_and_another_release_does_not(
    database: Database, script: Script
):
    script.go.touch()
    await run(order(*script.argv), database)
    assert not (await run(order(*script.argv, token=(9, 1, 1), rollout="r2"), database)).changed
    newer = ReleaseRef(version="3.0.0", digest="sha256:" + "3" * 64)
    assert (await run(order(*script.argv, token=(11, 1, 1), rollout="r3", release=newer), database)).changed
    assert script.runs == 2


async def test_a_ghost_is_refused(database: Database, script: Script):
    script.go.touch()
    await run(order(*script.argv, token=(5, 1, 2)), database)
    await run(order("true", phase="rollback", token=(6, 1, 1)), database)
    for ghost in ((5, 1, 1), (5, 1, 9), (4, 9, 9)):
        with pytest.raises(StaleToken, match=r"a newer attempt was here: 6\.1\.1"):
            await run(order(*script.argv, token=ghost), database)
    assert script.runs == 1


async def test_a_failure_is_told_with_its_last_words_and_stays_the_answer_of_its_step(
    database: Database, tmp_path: Path
):
    ran = tmp_path / "ran"
    argv = ("sh", "-c", f'echo >>{ran}; echo "no table orders, {PASSWORD}" >&2; exit 3')
    for attempt in (1, 2):
        with pytest.raises(
            CommandFailed, match=r"orders: expand: sh( ended with 3)?: no table orders, \*\*\*"
        ) as failed:
            await run(order(*argv, token=(5, 1, attempt)), database)
        assert failed.value.tail == "no table orders, ***"
    assert (ran.read_text(), database.records()) == ("\n", {"expand": "failed"})
    assert (await run(order("true", token=(6, 1, 1), rollout="r2"), database)).changed


async def test_what_it_writes_is_heard_without_secrets(database: Database, script: Script):
    heard: list[str] = []

    def listen(text: str) -> None:
        heard.append(text)
        script.go.touch()

    argv = ("sh", "-c", f"echo $TOKEN {PASSWORD}; until [ -e {script.go} ]; do sleep 0.1; done; echo $TOKEN")
    result = await run(order(*argv), database, heard=listen, hidden=("s3cr3t",), TOKEN="s3cr3t")
    assert heard[-1].splitlines()[0] == "*** ***"
    assert result.output == "*** ***\n***"
    assert database.ask("SELECT output FROM fraisier_migrations") == [(result.output,)]


def worker(what: MigrationOrder, database: Database) -> "subprocess.Popen[bytes]":
    """Another worker process that runs a migration."""
    code = (
        "import asyncio, sys; from fraisier.providers.migrations.guarded import run_guarded; "
        "from fraisier.providers.migrations.words import GuardOrder; "
        "told = GuardOrder.model_validate_json(sys.stdin.read()); "
        "asyncio.run(run_guarded(told, environment={}, heard=id, leave=lambda: False))"
    )
    # In a group of its own, which is ended as a whole: by a terminal that is closed, or by whoever cleans up.
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, start_new_session=True)
    assert process.stdin is not None
    with process.stdin as pipe:
        pipe.write(GuardOrder(order=what, dsn=database.dsn).model_dump_json().encode())
    return process


@pytest.mark.parametrize("fate", [signal.SIGKILL, signal.SIGSTOP])
async def test_a_worker_that_dies_or_stops_in_the_middle_leaves_it_to_its_successor(
    database: Database, script: Script, fate: int
):
    dying = worker(order(*script.argv), database)
    try:
        await script.begun()
        os.killpg(dying.pid, fate)
        successor = asyncio.create_task(run(order(*script.argv, token=(5, 1, 2)), database))
        await asyncio.wait_for(until(lambda: waiting(database) > 1), WAIT_S)
        assert not successor.done()
        script.go.touch()
        assert (await successor) == MigrationResult(changed=True, output="on it\ndone")
    finally:
        dying.kill()
        dying.wait()
    assert script.runs == 1


async def test_a_stopped_worker_that_does_not_listen_holds_nothing_up(database: Database, script: Script):
    loud = (*script.argv[:2], f"{script.argv[2]}; head -c 8000000 /dev/zero | tr '\\0' x")
    stopped = worker(order(*loud), database)
    try:
        await script.begun()
        stopped.send_signal(signal.SIGSTOP)
        script.go.touch()
        await asyncio.wait_for(until(lambda: database.records() == {"expand": "done"}), WAIT_S)
    finally:
        stopped.kill()
        stopped.wait()


def waiting(database: Database) -> int:
    """How many sessions of ledgers there are."""
    ((count,),) = database.ask("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'fraisier orders'")
    return int(count)


def guards(what: str) -> list[int]:
    """The processes that hold a lock for a command."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if b"migrations.guard" in (folder / "cmdline").read_bytes() and what in open_files(folder):
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def open_files(folder: Path) -> str:
    return (folder / "environ").read_text()


async def test_when_all_that_ran_it_died_it_runs_again_once_its_sessions_are_gone(database: Database, tmp_path: Path):
    """The database has rolled back what was not committed; an orphan that still works there is waited for."""
    script = Script(tmp_path)
    sql = "BEGIN; CREATE TABLE fresh (id int); SELECT pg_sleep(600)"
    argv = ("sh", "-c", f"echo >>{script.ran}; [ -e {script.go} ] || exec psql {database.dsn} -c '{sql}'")
    killed = asyncio.create_task(run(order(*argv), database, MARK=str(tmp_path)))
    await asyncio.wait_for(until(lambda: sleepers(database) == 1), WAIT_S)
    for pid in guards(f"MARK={tmp_path}"):
        os.kill(pid, signal.SIGKILL)
    with pytest.raises(CommandUnknown, match="what guarded sh was killed"):
        await killed
    script.go.touch()
    successor = asyncio.create_task(run(order(*argv, token=(5, 1, 2)), database))
    await asyncio.wait_for(until(lambda: waiting(database) == 1), WAIT_S)
    assert (sleepers(database), script.runs) == (1, 1)
    database.ask("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'BEGIN; %'")
    assert (await successor).changed
    assert script.runs == 2
    assert database.ask("SELECT to_regclass('fresh')") == [(None,)]


def sleepers(database: Database) -> int:
    ((count,),) = database.ask(
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'BEGIN; %' AND datname = current_database()"
    )
    return int(count)


async def test_without_its_lock_the_command_is_ended(database: Database, script: Script):
    running = asyncio.create_task(run(order(*script.argv), database))
    await script.begun()
    database.ask("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'fraisier orders'")
    with pytest.raises(CommandUnknown, match="the lock was lost with the connection"):
        await running
    script.go.touch()
    assert (await run(order(*script.argv, token=(5, 1, 2)), database)).changed
    assert script.runs == 2


async def test_who_waits_too_long_is_told_who_holds_the_lock(database: Database, script: Script):
    running = asyncio.create_task(run(order(*script.argv), database))
    await script.begun()
    with pytest.raises(TargetBusy, match=r"orders: another migration holds the lock: session \d+ \(fraisier orders\)"):
        await run(order("true", token=(6, 1, 1), timeout_s=1), database)
    script.go.touch()
    await running


@pytest.mark.parametrize("leave", [False, True])
async def test_cancelled_it_ends_unless_it_is_left_to_itself(database: Database, script: Script, leave: bool):
    running = asyncio.create_task(run(order(*script.argv), database, leave=leave))
    await script.begun()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    if not leave:
        await asyncio.wait_for(until(lambda: waiting(database) == 0), WAIT_S)
    script.go.touch()
    again = await run(order(*script.argv, token=(5, 1, 2)), database)
    assert again.changed
    assert script.runs == (1 if leave else 2)


async def test_a_rollback_takes_the_expand_back_once_and_lets_it_run_again(database: Database):
    back = {"phase": "rollback"}
    nothing = await run(order("false", **back, token=(5, 1, 1)), database)
    assert (nothing.changed, nothing.output) == (False, "there is nothing to take back")
    await run(order("true", token=(6, 1, 1)), database)
    for attempt in (1, 2):
        assert (await run(order("true", **back, token=(7, 1, attempt)), database)).changed
    assert database.records() == {"expand": "rolled_back", "rollback": "done"}
    assert not (await run(order("false", **back, token=(8, 1, 1)), database)).changed
    assert (await run(order("true", token=(9, 1, 1)), database)).changed


async def test_too_long_and_not_there_are_failures(database: Database):
    argv = ("psql", database.dsn, "-c", "SELECT pg_sleep(600) AS too_long")
    with pytest.raises(CommandFailed, match="orders: expand: psql: psql did not end within 2 s"):
        await run(order(*argv, timeout_s=2), database)
    going_on = "SELECT 1 FROM pg_stat_activity WHERE query LIKE '%too_long' AND pid <> pg_backend_pid()"
    await asyncio.wait_for(until(lambda: not database.ask(going_on)), WAIT_S)
    with pytest.raises(CommandFailed, match="No such file"):
        await run(order("no-such-program", token=(6, 1, 1)), database)


async def test_another_database_of_the_server_is_left_alone(database: Database, postgres: PostgresServer):
    """Staging and production may share a server, and call their service and database the same."""
    other = postgres.new_database()
    with psycopg.connect(other.dsn, application_name=session_name("api", "orders")) as session:
        async with open_ledger(database.dsn, database="orders") as ledger:
            await ledger.end_sessions(order("true"))
        assert session.execute("SELECT 1").fetchone() == (1,)
        # Nor does its session keep this one's migration from running.
        assert (await run(order("true"), database)).changed


@pytest.mark.parametrize(
    ("dsn", "error", "says"),
    [
        ("postgresql://postgres:sesame@127.0.0.1:1/x", ConnectFailed, "refused"),
        ("sesame is no dsn", DatabaseRefused, "its DSN is none that PostgreSQL knows"),
        ("postgresql://postgres:sesame@127.0.0.1:{port}/x", ConnectFailed, "password authentication failed"),
    ],
)
async def test_a_database_that_lets_nobody_in_is_told_without_its_password(
    database: Database, dsn: str, error: type[Exception], says: str
):
    with pytest.raises(error, match=says) as refused:
        await run(order("true"), database, dsn=dsn.format(port=database.server.port))
    assert "sesame" not in str(refused.value)


async def test_a_login_that_may_not_keep_a_record_is_told_before_anything_runs(database: Database):
    async with open_ledger(database.dsn, database="orders") as ledger:
        assert await ledger.unfit() == ""
    database.ask(f"CREATE ROLE {database.name} LOGIN PASSWORD '{PASSWORD}'")
    poor = database.dsn.replace("//postgres:", f"//{database.name}:")
    async with open_ledger(poor, database="orders") as ledger:
        assert "may not create the table fraisier_migrations: allow it, or create it" in await ledger.unfit()
    with pytest.raises(DatabaseRefused, match="permission denied"):
        await run(order("true"), database, dsn=poor)
    await run(order("true"), database)
    async with open_ledger(poor, database="orders") as ledger:
        assert "may not SELECT, INSERT and UPDATE in fraisier_migrations: grant it" in await ledger.unfit()
    database.ask(f"GRANT SELECT, INSERT, UPDATE ON fraisier_migrations TO {database.name}")
    async with open_ledger(poor, database="orders") as ledger:
        assert await ledger.unfit() == ""
    assert (await run(order("true", phase="contract", token=(6, 1, 1)), database, dsn=poor)).changed


async def test_a_worker_without_the_driver_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ORDERS_DSN", "postgresql://db/orders")
    monkeypatch.delitem(sys.modules, "fraisier.providers.migrations.ledger")
    monkeypatch.setitem(sys.modules, "psycopg", None)
    asked = {"database": "orders", "postgres": {"secret": "env:ORDERS_DSN"}, "expand": ["true"]}
    (problem,) = await PostgresMigrator().problems(Migration.model_validate(asked))
    assert problem == "migrations of orders: the worker cannot speak to PostgreSQL: install fraisier[postgres] there"
