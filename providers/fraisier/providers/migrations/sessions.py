"""Sessions of a PostgreSQL database that are really one's own: what a session holds, nobody else has."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NoReturn

import psycopg
from psycopg.rows import namedtuple_row

from fraisier.providers.errors import ConnectFailed, DatabaseRefused
from fraisier.providers.migrations.dsn import masked, secrets_of
from fraisier.providers.migrations.statements import BACKEND, SETTINGS

Session = psycopg.AsyncConnection[Any]

CONNECT_S = 10
ANSWER_S = 15.0
"""How long the database may take to answer before it counts as lost, in seconds."""

LOOKS = 3
"""How often two sessions are looked at in turn: a pooler with an idle backend shares it at once, a busy one soon."""


@asynccontextmanager
async def own_session(dsn: str, database: str) -> AsyncIterator[Session]:
    """A session of its own in a database, for as long as the block runs.

    Raises:
        ConnectFailed: it does not answer, or lets nobody in.
        DatabaseRefused: the DSN is none, or that of a pooler which shares sessions.
    """
    async with await _connect(dsn, database, f"fraisier {database}") as session:
        async with await _connect(dsn, database, f"fraisier looks at {database}") as other:
            await _refuse_pooler(session, other, database)
        await ask(session, database, SETTINGS)
        yield session


async def ask(session: Session, database: str, query: str, *values: Any) -> list[Any]:
    """What a session answers.

    Raises:
        ConnectFailed: the database was lost.
        DatabaseRefused: it refused.
    """
    try:
        cursor = await asyncio.wait_for(session.execute(query, values or None), ANSWER_S)
    except (asyncio.TimeoutError, TimeoutError, psycopg.OperationalError) as error:
        why = _line(error) or f"no answer in {ANSWER_S:.0f} s"
        raise ConnectFailed(f"{database}: the database was lost: {why}", target=database) from error
    except psycopg.Error as error:
        raise DatabaseRefused(f"{database}: {_line(error)}", target=database) from error
    return await cursor.fetchall() if cursor.description else []


async def _connect(dsn: str, database: str, name: str) -> Session:
    try:
        return await psycopg.AsyncConnection.connect(
            dsn,
            autocommit=True,
            row_factory=namedtuple_row,
            prepare_threshold=None,
            connect_timeout=CONNECT_S,
            keepalives_idle=10,
            keepalives_interval=5,
            keepalives_count=3,
            tcp_user_timeout=15000,
            application_name=name[:63],
        )
    except psycopg.OperationalError as error:
        raise ConnectFailed(f"{database}: {masked(_line(error), secrets_of(dsn))}", target=database) from None
    except psycopg.Error:
        _refuse_dsn(database)


def _refuse_dsn(database: str) -> NoReturn:
    # The library's message repeats parts of the DSN.
    raise DatabaseRefused(
        f"{database}: its DSN is none that PostgreSQL knows: write postgresql://user:password@host:port/database",
        target=database,
    ) from None


async def _refuse_pooler(session: Session, other: Session, database: str) -> None:
    """Refuse a pooler that gives each statement whatever backend is free: a lock there is nobody's."""
    own: set[int] = set()
    others: set[int] = set()
    for _ in range(LOOKS):
        own |= {row.pid for row in await ask(session, database, BACKEND)}
        others |= {row.pid for row in await ask(other, database, BACKEND)}
    if len(own) > 1 or own & others:
        raise DatabaseRefused(
            f"{database}: its DSN leads to a pooler that shares sessions (PgBouncer's transaction mode), where nobody "
            "can hold a lock: give the DSN of the PostgreSQL server itself",
            target=database,
        )


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())
