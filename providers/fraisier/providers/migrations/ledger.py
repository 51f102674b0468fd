"""The lock of a PostgreSQL database's migrations and the record of them, both in the database itself."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

import psycopg

from fraisier.providers.errors import (
    CommandUnknown,
    ConnectFailed,
    DatabaseRefused,
    StaleToken,
    TargetBusy,
)
from fraisier.providers.migrations.models import MigrationOrder, MigrationResult, failed
from fraisier.providers.migrations.sessions import ask, own_session
from fraisier.providers.migrations.statements import CLAIM, FITNESS, HELD, HOLDER, TABLE
from fraisier.providers.models import FencingToken

R = TypeVar("R")

LOCK_KEY = (0x46726169, 0x73696572)
"""The advisory lock's key, the same for every service: a database is migrated by one command at a time."""

LOOK_EVERY_S = 0.5
WATCH_EVERY_S = 1.0

SESSIONS = "fraisier migration "
"""How the names of all commands' sessions begin, whichever service's: one of them is enough to wait for."""


def session_name(service: str, database: str) -> str:
    """What the sessions of a database's migrations are called (``PGAPPNAME``), so that orphans of one are found."""
    return SESSIONS + hashlib.sha256(f"{service}/{database}".encode()).hexdigest()[:16]


class Ledger:
    """The lock and the record, over one session of their own.

    Args:
        session: the session, open and without a transaction.
        database: what people call the database.

    Attributes:
        held: False once the lock was lost.
    """

    def __init__(self, session: "psycopg.AsyncConnection[Any]", database: str) -> None:
        self._session = session
        self._database = database
        self.held = True

    async def unfit(self) -> str:
        """Why migrations cannot be locked or recorded here, with the way out; empty when they can."""
        (found,) = await self._ask(FITNESS)
        if found.standby:
            return "it is a standby: give the DSN of the primary"
        if found.missing and not found.may_create:
            return f"{found.login} may not create the table fraisier_migrations: allow it, or create it"
        if not found.missing and not found.may_write:
            return f"{found.login} may not SELECT, INSERT and UPDATE in fraisier_migrations: grant it"
        return ""

    async def lock(self, order: MigrationOrder) -> None:
        """Take the lock, and wait until no session of an earlier attempt is left; then the table is there.

        Raises:
            TargetBusy: it was not to be had in time; says who holds it.
        """
        deadline = asyncio.get_running_loop().time() + order.timeout_s
        why = await self._hindrance()
        while why:
            if asyncio.get_running_loop().time() > deadline:
                raise TargetBusy(f"{self._database}: {why}", target=order.step.target, step=order.step.name)
            await asyncio.sleep(LOOK_EVERY_S)
            why = await self._hindrance()
        (found,) = await self._ask(FITNESS)
        if found.missing:  # who may not create it may use one that is there
            await self._ask(TABLE)

    async def fence(self, order: MigrationOrder) -> None:
        """Refuse an attempt that is older than one that was here.

        Raises:
            StaleToken: a newer attempt was here.
        """
        rows = await self._ask(
            "SELECT generation, ordinal, attempt FROM fraisier_migrations WHERE service = %s AND database = %s",
            order.step.service,
            self._database,
        )
        newest = max((FencingToken(**row._asdict()) for row in rows), key=lambda token: token.order, default=None)
        if newest is not None and newest.order > order.step.token.order:
            raise StaleToken(
                f"{self._database}: a newer attempt was here: {'.'.join(map(str, newest.order))}",
                target=order.step.target,
                step=order.step.name,
            )

    async def recorded(self, order: MigrationOrder) -> MigrationResult | None:
        """What was recorded of this very command; None when it shall run.

        Raises:
            CommandFailed: this step has failed before, and told so.
        """
        rows = {row.phase: row for row in await self._rows(order)}
        own = rows.get(order.phase)
        if own is not None and _is_step(own, order) and own.state == "failed":
            raise failed(order, None, own.output)
        if order.phase == "rollback":
            return await self._taken_back(order, own, rows.get("expand"))
        if own is not None and own.state == "done":
            return MigrationResult(changed=own.rollout_id == order.step.rollout_id, output=own.output)
        return None

    async def claim(self, order: MigrationOrder) -> None:
        """Note that it begins, under the step's token."""
        step = order.step
        await self._ask(CLAIM, *_key(order), order.phase, order.release.version, step.rollout_id, *step.token.order)

    async def conclude(self, order: MigrationOrder, state: str, output: str) -> None:
        """Note how it ended; an expand that was taken back counts as never done.

        Raises:
            CommandUnknown: the database was lost, so it is not noted.
        """
        try:
            await self._conclude(order, state, output)
        except (psycopg.Error, ConnectFailed) as error:
            raise CommandUnknown(
                f"{self._database}: {order.argv[0]} has ended ({state}), but that could not be recorded, so it may run "
                f"again: {' '.join(str(error).split())}",
                target=order.step.target,
                step=order.step.name,
                command=order.argv[0],
                exit_status=None,
            ) from error

    async def _conclude(self, order: MigrationOrder, state: str, output: str) -> None:
        async with self._session.transaction():
            await self._ask(
                "UPDATE fraisier_migrations SET state = %s, output = %s, ended_at = now() "
                "WHERE service = %s AND database = %s AND digest = %s AND phase = %s",
                state,
                output.replace("\x00", ""),
                *_key(order),
                order.phase,
            )
            if order.phase == "rollback" and state == "done":
                await self._ask(
                    "UPDATE fraisier_migrations SET state = 'rolled_back' "
                    "WHERE service = %s AND database = %s AND digest = %s AND phase = 'expand'",
                    *_key(order),
                )

    async def while_held(self, work: Coroutine[Any, Any, R], order: MigrationOrder) -> R:
        """Do the work, and look every second whether the lock is still held; without it the work is ended.

        Raises:
            CommandUnknown: the lock was lost; what the work has done is not known.
        """
        over = asyncio.Event()
        doing, watching = asyncio.ensure_future(work), asyncio.ensure_future(self._watch(over))
        try:
            await asyncio.wait({doing, watching}, return_when=asyncio.FIRST_COMPLETED)
            if not doing.done():
                self.held = False
                raise CommandUnknown(
                    f"{self._database}: the lock was lost with the connection to the database, so {order.argv[0]} was "
                    "ended; whether it took effect is not known",
                    target=order.step.target,
                    step=order.step.name,
                    command=order.argv[0],
                    exit_status=None,
                )
        except asyncio.CancelledError:
            doing.cancel()
            await asyncio.wait({doing, watching}, return_when=asyncio.FIRST_COMPLETED)
            if not doing.done() or doing.cancelled():
                raise
            # It had ended before: then that is what is recorded.
        finally:
            over.set()
            doing.cancel()  # once more, when the lock was lost while it was ending
            await asyncio.gather(doing, watching, return_exceptions=True)
        return doing.result()

    async def end_sessions(self, order: MigrationOrder) -> None:
        """End the sessions of a migration's command, as far as the login may."""
        with suppress(DatabaseRefused):
            await self._ask(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND application_name = %s AND pid <> pg_backend_pid()",
                session_name(order.step.service, self._database),
            )

    async def _watch(self, over: asyncio.Event) -> None:
        """Returns when the lock is lost, or when it is over."""
        while not over.is_set():
            try:
                if not await self._ask(HELD, *LOCK_KEY):
                    return
            except (psycopg.Error, ConnectFailed):
                return
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(over.wait(), WATCH_EVERY_S)

    async def _hindrance(self) -> str:
        """What keeps the migration from running now; takes the lock when nothing else holds it."""
        if not await self._ask(HELD, *LOCK_KEY):
            (answer,) = await self._ask("SELECT pg_try_advisory_lock(%s, %s) AS taken", *LOCK_KEY)
            if not answer.taken:
                holders = await self._ask(HOLDER, *LOCK_KEY)
                who = ", ".join(
                    f"session {one.pid} ({one.application_name}) since {one.backend_start}" for one in holders
                )
                return f"another migration holds the lock: {who or 'it has ended just now'}"
        orphans = await self._ask(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() "
            "AND left(application_name, length(%s)) = %s AND pid <> pg_backend_pid()",
            SESSIONS,
            SESSIONS,
        )
        pids = ", ".join(str(one.pid) for one in orphans)
        return f"sessions of an earlier migration still work: {pids}" if pids else ""

    async def _taken_back(self, order: MigrationOrder, own: Any, expand: Any) -> MigrationResult | None:
        if own is not None and own.state == "done" and _is_step(own, order):
            return MigrationResult(changed=True, output=own.output)
        if expand is None or expand.state != "done":
            return MigrationResult(changed=False, output="there is nothing to take back")
        return None

    async def _rows(self, order: MigrationOrder) -> list[Any]:
        return await self._ask(
            "SELECT * FROM fraisier_migrations WHERE service = %s AND database = %s AND digest = %s", *_key(order)
        )

    async def _ask(self, query: str, *values: Any) -> list[Any]:
        return await ask(self._session, self._database, query, *values)


@asynccontextmanager
async def open_ledger(dsn: str, *, database: str) -> AsyncIterator[Ledger]:
    """A session of its own in a database, for as long as the block runs.

    Raises:
        ConnectFailed: it does not answer, or lets nobody in.
        DatabaseRefused: the DSN is none, or a pooler's that keeps no sessions.
    """
    async with own_session(dsn, database) as session:
        yield Ledger(session, database)


def _is_step(row: Any, order: MigrationOrder) -> bool:
    token = order.step.token
    return bool(
        (row.rollout_id, row.generation, row.ordinal) == (order.step.rollout_id, token.generation, token.ordinal)
    )


def _key(order: MigrationOrder) -> tuple[str, str, str]:
    return order.step.service, order.database, order.release.digest
