"""Runs migrations from a worker: on the worker itself or on a host, under whatever lock the database has."""

import asyncio
import shutil
from collections.abc import Callable
from typing import TYPE_CHECKING

from fraisier.providers.base import Provider
from fraisier.providers.errors import CommandFailed, CommandUnknown, ProviderError, SecretMissing
from fraisier.providers.local_command import Heard
from fraisier.providers.migrations.guarded import run_guarded
from fraisier.providers.migrations.models import Migration, MigrationOrder, MigrationResult
from fraisier.providers.migrations.words import GuardOrder
from fraisier.providers.secrets import SecretRef, resolved, unreadable

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from fraisier.providers.migrations.ledger import Ledger


HOST_ENDS_S = 10.0
"""What a host may take to end a command whose sender is gone, by TERM and KILL, in seconds, with a margin."""


class PostgresMigrator:
    """Migrations whose lock and record are in PostgreSQL, or on the host that runs them."""

    async def problems(self, migration: Migration) -> list[str]:
        """Why a migration could not run, one sentence each. Changes nothing.

        Raises:
            ConnectFailed: its database does not answer.
        """
        found = await asyncio.to_thread(unreadable, migration.env)
        if migration.on == "worker":
            commands = (migration.expand, migration.contract, migration.rollback)
            programs = dict.fromkeys(argv[0] for argv in commands if argv)
            found += [f"the worker has no program {one}" for one in programs if shutil.which(one) is None]
        if migration.postgres is not None:
            found += await self._database_problems(migration.database, migration.postgres)
        return [f"migrations of {migration.database}: {why}" for why in found]

    async def run(
        self,
        order: MigrationOrder,
        migration: Migration,
        *,
        host: Provider | None,
        heard: Heard,
        leave: Callable[[], bool],
    ) -> MigrationResult:
        """Run one command of a migration, once for its database and release.

        Args:
            order: which one.
            migration: where its database is and what it needs.
            host: the connected host that runs it; None for the worker.
            heard: hears its output while it runs.
            leave: asked when this is cancelled: whether a command on the worker shall go on without us.

        Raises:
            ProviderError: it failed, was refused, or its end is not known.
        """
        dsn = await asyncio.to_thread(_dsn, migration, order)
        if host is None:
            environment = await asyncio.to_thread(resolved, migration.env, target=order.database, step=order.step.name)
            hidden = tuple(environment[name] for name, value in migration.env.items() if isinstance(value, SecretRef))
            told = GuardOrder(order=order, dsn=dsn or "", environment=environment, hidden=hidden)
            return await run_guarded(told, heard=heard, leave=leave)
        if dsn is None:
            return await host.run_migration(order, heard=heard)
        return await _on_host(order, dsn, host, heard)

    async def _database_problems(self, database: str, postgres: SecretRef) -> list[str]:
        try:
            async with _ledger(await asyncio.to_thread(postgres.resolve), database) as ledger:
                unfit = await ledger.unfit()
        except LookupError as error:
            return [f"its DSN ({postgres.secret}) is not there: {error.args[0]}"]
        except ImportError:
            return ["the worker cannot speak to PostgreSQL: install fraisier[postgres] there"]
        except ProviderError as error:
            if error.retryable:
                raise
            return [str(error)]
        return [unfit] if unfit else []


async def _on_host(order: MigrationOrder, dsn: str, host: Provider, heard: Heard) -> MigrationResult:
    from fraisier.providers.migrations.dsn import masked, secrets_of  # noqa: PLC0415
    from fraisier.providers.migrations.ledger import session_name  # noqa: PLC0415 (psycopg is an extra)
    from fraisier.providers.migrations.story import for_certain, migrate  # noqa: PLC0415 (psycopg is an extra)

    hidden = secrets_of(dsn)  # a host may know the DSN too, and its command may print it
    named = f"PGAPPNAME={session_name(order.step.service, order.database)}"
    there = order.model_copy(update={"argv": ("env", named, *order.argv), "hidden": hidden, "tied": True})

    async def clear(ledger: "Ledger", *, after_s: float) -> None:
        await asyncio.sleep(after_s)  # under the lock
        # A server goes on with a statement whose client is gone, and keeps all that it has locked.
        await ledger.end_sessions(order)

    async def run(ledger: "Ledger") -> str:
        try:
            done = await host.run_migration(there, heard=lambda text: heard(masked(text, hidden)))
        except BaseException as error:
            await for_certain(clear(ledger, after_s=HOST_ENDS_S if isinstance(error, CommandUnknown) else 0))
            if not isinstance(error, CommandFailed):
                raise
            raise type(error)(
                masked(str(error), hidden),
                target=error.target,
                step=error.step,
                command=error.command,
                exit_status=error.exit_status,
                tail=masked(error.tail, hidden),
            ) from None
        return masked(done.output, hidden)

    async with _ledger(dsn, order.database) as ledger:
        return await migrate(order, ledger, lambda: run(ledger))


def _ledger(dsn: str, database: str) -> "AbstractAsyncContextManager[Ledger]":
    from fraisier.providers.migrations.ledger import open_ledger  # noqa: PLC0415 (psycopg is an extra)

    return open_ledger(dsn, database=database)


def _dsn(migration: Migration, order: MigrationOrder) -> str | None:
    if migration.postgres is None:
        return None
    try:
        return migration.postgres.resolve()
    except LookupError as error:
        raise SecretMissing(
            f"{order.database}: its DSN ({migration.postgres.secret}) is not there: {error.args[0]}",
            target=order.step.target,
            step=order.step.name,
        ) from None
