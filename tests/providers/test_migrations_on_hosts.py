"""Migrations that a host runs: its lock and its marks are what makes them run once."""

import asyncio
import fcntl
import os
import shlex
from pathlib import Path
from typing import Any

import pytest

from fraisier.providers.bare_metal import BareMetalProvider, script
from fraisier.providers.errors import CommandFailed, CommandUnknown, StaleToken
from fraisier.providers.migrations.migrator import PostgresMigrator
from fraisier.providers.migrations.models import Migration, MigrationOrder, MigrationResult
from fraisier.providers.models import Release
from fraisier.providers.testing import Rollout
from tests.providers import migrating
from tests.providers.by_hand import connected, until
from tests.providers.migrating import WAIT_S
from tests.providers.ssh_bench import SshBench
from tests.support.postgres import PASSWORD, Database


def order(release: Release, *argv: str, **more: Any) -> MigrationOrder:
    return migrating.order(*argv, release=release.ref, **more)


@pytest.fixture
def ran(tmp_path: Path) -> Path:
    return tmp_path / "ran"


async def run(provider: BareMetalProvider, what: MigrationOrder) -> MigrationResult:
    return await provider.run_migration(what, heard=id)


async def staged(bench: SshBench) -> tuple[BareMetalProvider, Release]:
    provider, release = await connected(bench), bench.release("2.0.0")
    await provider.stage(Rollout(bench, generation=1).step("stage"), release)
    return provider, release


async def test_it_runs_in_the_releases_folder_once_over_all_rollouts(ssh_bench: SshBench, ran: Path):
    provider, release = await staged(ssh_bench)
    argv = ("sh", "-c", f"echo >>{ran}; cat VERSION >&2")
    first = await run(provider, order(release, *argv))
    assert first == MigrationResult(changed=True, output="2.0.0")
    assert (await run(provider, order(release, *argv, token=(5, 1, 2)))).changed
    for generation in (6, 7):
        later = order(release, *argv, token=(generation, 1, 1), rollout="r2")
        assert not (await run(provider, later)).changed
    assert ran.read_text() == "\n"
    with pytest.raises(StaleToken):
        await run(provider, order(release, *argv))
    await provider.disconnect()


async def test_a_failure_leaves_no_mark_and_a_rollback_removes_it(ssh_bench: SshBench, ran: Path):
    provider, release = await staged(ssh_bench)
    with pytest.raises(CommandFailed, match="hook failed with status 3: no table orders"):
        await run(provider, order(release, "sh", "-c", "echo no table orders >&2; exit 3"))
    back = {"phase": "rollback"}
    assert not (await run(provider, order(release, "touch", str(ran), **back, token=(6, 1, 1)))).changed
    assert not ran.exists()
    assert (await run(provider, order(release, "true", token=(7, 1, 1)))).changed
    assert (await run(provider, order(release, "touch", str(ran), **back, token=(8, 1, 1)))).changed
    assert ran.exists()
    assert (await run(provider, order(release, "true", token=(9, 1, 1)))).changed
    await provider.disconnect()


async def test_a_lost_connection_neither_ends_nor_doubles_it_for_another_rollout_either(
    ssh_bench: SshBench, ran: Path, tmp_path: Path
):
    provider, release = await staged(ssh_bench)
    argv = ("sh", "-c", f"echo >>{ran}; until [ -e {tmp_path}/go ]; do echo on; sleep 0.1; done")
    first = asyncio.create_task(run(provider, order(release, *argv)))
    await asyncio.wait_for(until(ran.exists), WAIT_S)
    ssh_bench.host.cut()
    with pytest.raises(CommandUnknown):
        await first
    second = asyncio.create_task(run(provider, order(release, *argv, token=(6, 1, 1), rollout="r2")))
    await asyncio.wait_for(until(lambda: "r2" in holder(ssh_bench)), WAIT_S)
    (tmp_path / "go").touch()
    # The first one's attempt was overtaken, so it left no record of its step; its mark is what counts.
    assert not (await second).changed
    assert ran.read_text() == "\n"
    await provider.disconnect()


async def test_it_goes_on_where_nobody_can_be_told_what_it_says(ssh_bench: SshBench):
    provider, release = await staged(ssh_bench)
    arguments = script.migration(provider._options, order(release, "echo", "said"))
    nobody, writing = os.pipe()
    os.close(nobody)
    process = await asyncio.create_subprocess_exec(
        *shlex.split(script.command_line(arguments)), stdout=asyncio.subprocess.DEVNULL, stderr=writing
    )
    os.close(writing)
    assert await asyncio.wait_for(process.wait(), WAIT_S) == 0
    assert not (await run(provider, order(release, "false", token=(6, 1, 1), rollout="r2"))).changed
    await provider.disconnect()


async def test_a_tied_one_does_not_begin_when_its_sender_went_while_it_waited(ssh_bench: SshBench, ran: Path):
    provider, release = await staged(ssh_bench)
    what = order(release, "touch", str(ran)).model_copy(update={"tied": True})
    with (ssh_bench.root / ".fraisier" / "hooks.lock").open("a") as hooks:
        fcntl.flock(hooks, fcntl.LOCK_EX)
        process = await asyncio.create_subprocess_exec(
            *shlex.split(script.command_line(script.migration(provider._options, what))),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        await asyncio.wait_for(until(lambda: ".migrate," in holder(ssh_bench)), WAIT_S)
        assert process.stdin is not None
        process.stdin.close()
    _, said = await asyncio.wait_for(process.communicate(), WAIT_S)
    assert b"whoever sent this does not answer any more" in said
    assert process.returncode == 73
    assert not ran.exists()
    assert (await run(provider, what)).changed  # while its sender is there
    await provider.disconnect()


def holder(bench: SshBench) -> str:
    path = bench.root / ".fraisier" / "holder"
    return path.read_text() if path.exists() else ""


async def test_with_postgres_the_record_is_in_the_database_too(
    ssh_bench: SshBench, database: Database, ran: Path, monkeypatch: pytest.MonkeyPatch
):
    provider, release = await staged(ssh_bench)
    monkeypatch.setenv("ORDERS_DSN", database.dsn)
    argv = ("sh", "-c", f'echo "$PGAPPNAME" >>{ran}')
    migration = Migration.model_validate(
        {"database": "orders", "postgres": {"secret": "env:ORDERS_DSN"}, "expand": argv, "on": "host", "region": "test"}
    )
    migrator = PostgresMigrator()
    assert await migrator.problems(migration) == []
    for token, changed in (((5, 1, 1), True), ((5, 1, 2), True), ((6, 1, 1), False)):
        what = order(release, *argv, token=token, rollout=f"r{token[0]}")
        result = await migrator.run(what, migration, host=provider, heard=id, leave=lambda: False)
        assert result.changed is changed
    assert ran.read_text().startswith("fraisier migration ")
    assert len(ran.read_text().splitlines()) == 1
    assert database.records() == {"expand": "done"}
    await provider.disconnect()


@pytest.mark.parametrize("status", [0, 3])
async def test_what_a_command_on_a_host_prints_of_the_dsn_is_hidden(
    ssh_bench: SshBench, database: Database, monkeypatch: pytest.MonkeyPatch, status: int
):
    provider, release = await staged(ssh_bench)
    monkeypatch.setenv("ORDERS_DSN", database.dsn)
    argv = ("sh", "-c", f"echo connecting to {database.dsn} >&2; exit {status}")
    migration = Migration.model_validate(
        {"database": "orders", "postgres": {"secret": "env:ORDERS_DSN"}, "expand": argv, "on": "host", "region": "test"}
    )
    heard: list[str] = []
    what = order(release, *argv)
    try:
        result = await PostgresMigrator().run(what, migration, host=provider, heard=heard.append, leave=lambda: False)
        told = [result.output]
    except CommandFailed as error:
        told = [str(error), error.tail]
    outputs = [str(row[0]) for row in database.ask("SELECT output FROM fraisier_migrations")]
    for text in (*told, *heard, *outputs):
        assert PASSWORD not in text
    assert "connecting to ***" in told[0]
    await provider.disconnect()


async def test_no_half_of_a_secret_is_shown_where_a_host_cuts(
    ssh_bench: SshBench, database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    """A host sends the last 4 KB of what came since its last look: they begin within the password here."""
    provider, release = await staged(ssh_bench)
    monkeypatch.setenv("ORDERS_DSN", database.dsn)
    line = f"connecting to {database.dsn}\n"
    begins = len(line) - line.index(PASSWORD) - len(PASSWORD) // 2
    (tmp_path / "burst").write_text(line * 100 + "x" * ((4096 - begins) % len(line)))
    migration = Migration.model_validate(
        {
            "database": "orders",
            "postgres": {"secret": "env:ORDERS_DSN"},
            "expand": ["x"],
            "on": "host",
            "region": "test",
        }
    )
    heard: list[str] = []
    what = order(release, "cat", f"{tmp_path}/burst")
    result = await PostgresMigrator().run(what, migration, host=provider, heard=heard.append, leave=lambda: False)
    assert "connecting to ***\n" in result.output
    for text in (*heard, result.output):
        assert database.name not in text
    await provider.disconnect()


UNSHOWN = "first\na line of more than 4 KB is not shown"
HALVES = {
    "at the end of what was shown": ("sesame-and-", "barley\n" + ("x" * 99 + "\n") * 80 + "last\n", "last"),
    "in a line that is too long": ("", f"{'x' * 1000}sesame-and-barley{'y' * 4090}\n", "first"),
    "in one that had no end": ("sesame-and-", f"barley{'y' * 5000}\n", "first"),
    "in one that has none": ("", f"sesame-and-barley{'y' * 4090}", UNSHOWN),
    "after zeros": ("sesame-and-\0\0", f"\r{'y' * 4060}sesame-and-barley\nlast\n", "last"),
}


@pytest.mark.parametrize(("begun", "rest", "end"), HALVES.values(), ids=HALVES)
async def test_no_half_is_shown_of_lines_that_come_in_parts_or_are_too_long(
    ssh_bench: SshBench, tmp_path: Path, begun: str, rest: str, end: str
):
    """The rest comes when the beginning was looked at."""
    provider, release = await staged(ssh_bench)
    (tmp_path / "begun").write_text(f"first\n{begun}")
    (tmp_path / "rest").write_text(rest)
    script = f"cat {tmp_path}/begun; until [ -e {tmp_path}/go ]; do sleep 0.1; done; cat {tmp_path}/rest"
    heard: list[str] = []

    def listen(text: str) -> None:
        heard.append(text)
        (tmp_path / "go").touch()

    what = order(release, "sh", "-c", script).model_copy(update={"hidden": ("sesame-and-barley",)})
    output = (await provider.run_migration(what, heard=listen)).output
    assert heard[0] == "first"
    assert output.endswith(end)
    for text in (*heard, output):
        assert "sesame" not in text
        assert "barley" not in text
    await provider.disconnect()


async def test_a_migration_is_no_switch_of_the_service(ssh_bench: SshBench):
    provider, release = await connected(ssh_bench), ssh_bench.release("2.0.0")
    await Rollout(ssh_bench, generation=1).deploy(provider, release)
    before = await provider.inspect("api")
    await run(provider, order(release, "true", token=(5, 1, 1)))
    await run(provider, order(release, "true", phase="rollback", token=(6, 1, 1)))
    after = await provider.inspect("api")
    assert (after.since, after.rollout_id, after.drift) == (before.since, "r1", ())
    await provider.disconnect()
