"""What the tests of migrations have in common: the order that they give, what it runs, and who runs it."""

import asyncio
import os
from pathlib import Path
from typing import Any

from fraisier.providers.migrations.guarded import run_guarded
from fraisier.providers.migrations.models import MigrationOrder, MigrationResult
from fraisier.providers.migrations.words import GuardOrder
from fraisier.providers.models import FencingToken, ReleaseRef, Step
from tests.providers.by_hand import until
from tests.support.postgres import Database

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
        region="test",
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


async def run(
    what: MigrationOrder, database: Database, *, leave: bool = False, heard: Any = id, **more: Any
) -> MigrationResult:
    told = GuardOrder(order=what, dsn=more.pop("dsn", database.dsn), hidden=more.pop("hidden", ()), environment=more)
    return await run_guarded(told, heard=heard, leave=lambda: leave)


def waiting(database: Database) -> int:
    """How many sessions of ledgers there are."""
    ((count,),) = database.ask(
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE application_name = 'fraisier orders' AND datname = current_database()"
    )
    return int(count)


def guards() -> list[int]:
    """The guards of this very process; one that has ended and was not waited for is none."""
    return [pid for pid in children(os.getpid()) if b"migrations.guard" in command_line(pid)]


def children(parent: int) -> list[int]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            status = (folder / "status").read_text()
        except OSError:
            continue
        if f"\nPPid:\t{parent}\n" in status:
            found.append(int(folder.name))
    return found


def command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def alive(pid: int) -> bool:
    """Whether a process is there and has not ended."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
