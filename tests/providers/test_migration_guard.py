"""The process that guards a migration's command: whoever dies, the command has the lock or is ended."""

import asyncio
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fraisier.providers.errors import CommandFailed, CommandUnknown
from fraisier.providers.migrations.models import MigrationOrder, MigrationResult
from fraisier.providers.migrations.words import GuardOrder
from tests.providers.by_hand import until
from tests.providers.migrating import WAIT_S, Script, alive, command_line, guards, order, run, waiting
from tests.support.postgres import PASSWORD, Database


@pytest.fixture
def script(tmp_path: Path) -> Script:
    return Script(tmp_path)


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


async def test_an_empty_secret_hides_nothing(database: Database):
    with pytest.raises(CommandFailed, match="orders: expand: sh ended with 3: boom"):
        await run(order("sh", "-c", "echo boom >&2; exit 3"), database, hidden=("",), TOKEN="")


@pytest.mark.parametrize("shown", [3, 10])
async def test_no_half_of_a_secret_is_shown_where_the_output_is_cut(database: Database, script: Script, shown: int):
    """Neither at the start of its last 4 KB, nor between two parts of it, nor where a command broke off."""
    secret = "geheim-0123456789"
    heard: list[str] = []

    def listen(text: str) -> None:
        heard.append(text)
        script.go.touch()

    command = (
        f'printf "one %s" "${{TOKEN%{secret[shown:]}}}"; until [ -e {script.go} ]; do sleep 0.1; done; '
        f"echo {secret[shown:]}; echo $TOKEN; head -c {4089 - shown} /dev/zero | tr '\\0' x; printf geheim"
    )
    result = await run(order("sh", "-c", command), database, heard=listen, hidden=(secret,), TOKEN=secret)
    assert heard[0] == "one"
    for said in (*heard, result.output):
        assert re.search(r"geh|\d", said) is None
    assert result.output.endswith("x***")


async def test_its_guard_meets_the_database_as_the_worker_does_and_imports_nothing_else(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for module in ("psycopg", "json", "fraisier"):
        (tmp_path / f"{module}.py").write_text("raise SystemExit('the wrong module')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    bare = database.dsn.replace(f":{PASSWORD}@", "@")
    go, seen = tmp_path / "go", []

    def listen(_text: str) -> None:
        if not go.exists():
            seen.extend(map(command_line, guards()))
            go.touch()

    command = ("sh", "-c", f'echo "$PYTHONPATH ${{PGPASSWORD-none}}"; until [ -e {go} ]; do sleep 0.1; done')
    result = await run(order(*command), database, dsn=bare, heard=listen, PYTHONPATH="its own", TOKEN="geheim")
    assert result.output == "its own none"
    assert len(seen) == 1
    assert b"geheim" not in seen[0]


def worker(what: MigrationOrder, database: Database) -> "subprocess.Popen[bytes]":
    """Another worker process that runs a migration."""
    code = (
        "import asyncio, sys; from fraisier.providers.migrations.guarded import run_guarded; "
        "from fraisier.providers.migrations.words import GuardOrder; "
        "told = GuardOrder.model_validate_json(sys.stdin.read()); "
        "asyncio.run(run_guarded(told, heard=id, leave=lambda: False))"
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


async def test_a_killed_guard_takes_its_command_with_it_which_runs_again_once_its_sessions_are_gone(
    database: Database, tmp_path: Path
):
    """The database has rolled back what was not committed; an orphan that still works there is waited for."""
    script, pids = Script(tmp_path), tmp_path / "pids"
    sql = "BEGIN; CREATE TABLE fresh (id int); SELECT pg_sleep(600)"
    command = (
        f"[ ! -e {script.go} ] || {{ echo >>{script.ran}; exit; }}; trap '' TERM; sh -c 'sleep 600; :' & "
        f"echo $$ $! >{pids}; echo >>{script.ran}; psql {database.dsn} -c '{sql}'; sleep 600"
    )
    argv = ("sh", "-c", command)
    killed = asyncio.create_task(run(order(*argv), database))
    await asyncio.wait_for(until(lambda: sleepers(database) == 1), WAIT_S)
    (guard,) = guards()
    os.kill(guard, signal.SIGKILL)
    with pytest.raises(CommandUnknown, match="what guarded sh was killed"):
        await killed
    await asyncio.wait_for(until(lambda: not any(alive(int(pid)) for pid in pids.read_text().split())), WAIT_S)
    script.go.touch()
    successor = asyncio.create_task(run(order(*argv, token=(5, 1, 2)), database))
    await asyncio.wait_for(until(lambda: holding(database) == 1), WAIT_S)
    assert (sleepers(database), script.runs) == (1, 1)
    database.ask("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'BEGIN; %'")
    assert (await successor).changed
    assert script.runs == 2
    assert database.ask("SELECT to_regclass('fresh')") == [(None,)]


def holding(database: Database) -> int:
    """How many sessions hold the lock."""
    ((count,),) = database.ask(
        "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid) "
        "WHERE locktype = 'advisory' AND granted AND datname = current_database()"
    )
    return int(count)


async def test_a_command_that_is_ended_may_tidy_up_and_leaves_nobody_behind(database: Database, tmp_path: Path):
    tidy, child = tmp_path / "tidy", tmp_path / "child"
    command = (
        f"sh -c \"trap '' TERM; echo \\$\\$ >{child}.new; mv {child}.new {child}; while :; do sleep 1; done\" & "
        f"trap 'touch {tidy}; exit' TERM; while :; do sleep 0.1; done"
    )
    running = asyncio.create_task(run(order("sh", "-c", command), database))
    await asyncio.wait_for(until(child.exists), WAIT_S)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert tidy.exists()
    await asyncio.wait_for(until(lambda: not alive(int(child.read_text()))), WAIT_S)
    assert database.records() == {"expand": "running"}


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


@pytest.mark.parametrize("leave", [False, True])
async def test_cancelled_it_ends_unless_it_is_left_to_itself(database: Database, script: Script, leave: bool):
    running = asyncio.create_task(run(order(*script.argv), database, leave=leave))
    await script.begun()
    (guard,) = guards()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    if not leave:
        await asyncio.wait_for(until(lambda: waiting(database) == 0), WAIT_S)
    script.go.touch()
    again = await run(order(*script.argv, token=(5, 1, 2)), database)
    assert again.changed
    assert script.runs == (1 if leave else 2)
    await asyncio.wait_for(until(lambda: not Path(f"/proc/{guard}").exists()), WAIT_S)
