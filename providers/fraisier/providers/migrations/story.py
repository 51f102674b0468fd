"""The story of a migration's command in PostgreSQL: lock, fence, look, run, record."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from fraisier.providers.errors import CommandFailed, CommandUnknown
from fraisier.providers.migrations.ledger import Ledger
from fraisier.providers.migrations.models import MigrationOrder, MigrationResult

Run = Callable[[], Coroutine[Any, Any, str]]
"""Runs the command and returns the end of its output; raises `CommandFailed`."""


async def migrate(order: MigrationOrder, ledger: Ledger, run: Run) -> MigrationResult:
    """Run a command once for its database and release; a repeated step returns what the first one recorded.

    A command whose end nobody recorded, because all that ran it died, runs again: the database has rolled back what it
    had not committed, so it may do no harm to what it had.

    Raises:
        CommandFailed: it failed, now or when this step ran before.
        CommandUnknown: the lock was lost meanwhile.
        DatabaseRefused: the database does not let it be locked or recorded.
        StaleToken: a newer attempt was here; nothing was done.
        TargetBusy: another migration holds the lock.
    """
    await ledger.lock(order)
    await ledger.fence(order)
    found = await ledger.recorded(order)
    if found is not None:
        return found
    await ledger.claim(order)
    try:
        output = await ledger.while_held(run(), order)
    except CommandUnknown:
        raise
    except CommandFailed as error:
        await for_certain(ledger.conclude(order, "failed", error.tail))
        raise
    await for_certain(ledger.conclude(order, "done", output))
    return MigrationResult(changed=True, output=output)


async def for_certain(work: Coroutine[Any, Any, None]) -> None:
    """Do it to its end, also when this is cancelled: no command may run again or beside another one for want of it."""
    doing = asyncio.ensure_future(work)
    try:
        await asyncio.shield(doing)
    except asyncio.CancelledError:
        await asyncio.wait({doing})
        raise
