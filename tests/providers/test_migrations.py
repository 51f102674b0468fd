"""A migration's command in a real PostgreSQL database: once for all, whoever runs it and whoever dies."""

import asyncio
import sys
from pathlib import Path

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
from fraisier.providers.migrations.ledger import open_ledger, session_name
from fraisier.providers.migrations.migrator import PostgresMigrator
from fraisier.providers.migrations.models import Migration, MigrationResult
from fraisier.providers.migrations.story import migrate
from fraisier.providers.models import ReleaseRef
from tests.providers.by_hand import until
from tests.providers.migrating import WAIT_S, Script, order, run
from tests.support.pgbouncer import pooler
from tests.support.postgres import PASSWORD, Database, PostgresServer


@pytest.fixture
def script(tmp_path: Path) -> Script:
    return Script(tmp_path)


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


async def test_who_waits_too_long_is_told_who_holds_the_lock(database: Database, script: Script):
    running = asyncio.create_task(run(order(*script.argv), database))
    await script.begun()
    with pytest.raises(TargetBusy, match=r"orders: another migration holds the lock: session \d+ \(fraisier orders\)"):
        await run(order("true", token=(6, 1, 1), timeout_s=1), database)
    script.go.touch()
    await running


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
    with pytest.raises(CommandFailed, match="orders: expand: psql: it did not end within 2 s"):
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


async def test_what_has_ended_is_recorded_also_when_it_is_cancelled_then(database: Database):
    """In the very moment, or while the record waits for the database."""

    async def ended_just_then() -> str:
        task.cancel()
        return ""

    async def ended() -> str:
        other.execute("LOCK TABLE fraisier_migrations IN SHARE MODE")
        return ""

    held_up = "SELECT 1 FROM pg_locks WHERE NOT granted AND relation = 'fraisier_migrations'::regclass"
    async with open_ledger(database.dsn, database="orders") as ledger:
        task = asyncio.create_task(migrate(order("true"), ledger, ended_just_then))
        assert (await task).changed
        with psycopg.connect(database.dsn) as other:
            task = asyncio.create_task(migrate(order("true", phase="contract"), ledger, ended))
            await asyncio.wait_for(until(lambda: database.ask(held_up)), WAIT_S)
            task.cancel()
            await asyncio.sleep(0.2)
            other.commit()
            with pytest.raises(asyncio.CancelledError):
                await task
    assert database.records() == {"expand": "done", "contract": "done"}


async def test_what_has_ended_and_cannot_be_recorded_is_told(database: Database):
    """A guard, or a worker, that loses its session after the command's end."""

    async def ended() -> str:
        database.ask(
            "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity "
            "WHERE application_name = 'fraisier orders' AND datname = current_database()"
        )
        return ""

    with pytest.raises(CommandUnknown, match=r"orders: true has ended \(done\), but that could not be recorded"):
        async with open_ledger(database.dsn, database="orders") as ledger:
            await migrate(order("true"), ledger, ended)
    assert database.records() == {"expand": "running"}


@pytest.mark.parametrize("mode", ["transaction", "session"])
async def test_a_pooler_that_shares_sessions_is_refused(
    database: Database, script: Script, mode: str, monkeypatch: pytest.MonkeyPatch
):
    script.go.touch()
    with pooler(database.server, mode) as port:
        dsn = f"postgresql://anybody@127.0.0.1:{port}/{database.name}"
        monkeypatch.setenv("ORDERS_DSN", dsn)
        asked = {"database": "orders", "postgres": {"secret": "env:ORDERS_DSN"}, "expand": ["true"]}
        problems = await PostgresMigrator().problems(Migration.model_validate(asked))
        if mode == "session":
            assert problems == []
            assert (await run(order(*script.argv), database, dsn=dsn)).changed
        else:
            assert "a pooler that shares sessions" in problems[0]
            with pytest.raises(DatabaseRefused, match="give the DSN of the PostgreSQL server itself"):
                await run(order(*script.argv), database, dsn=dsn)
            assert script.runs == 0
