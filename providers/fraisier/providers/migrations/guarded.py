"""The worker's side of the guard: starts it, listens to it, and can leave it to itself."""

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from fraisier.providers.errors import (
    CommandFailed,
    CommandUnknown,
    ConnectFailed,
    DatabaseRefused,
    ProviderError,
    StaleToken,
    TargetBusy,
)
from fraisier.providers.local_command import KEPT, Heard
from fraisier.providers.migrations.models import MigrationOrder, MigrationResult
from fraisier.providers.migrations.words import GuardOrder, Word

CODE = "import sys; sys.path[:] = sys.argv[1:]; from fraisier.providers.migrations.guard import main; main()"
GUARD = (sys.executable, "-I", "-c", CODE)
"""Imports what the worker imports: neither a folder that it happens to be in nor a variable brings in anything else."""

PASSED_ON = ("PG", "SSL_CERT_", "KRB5")
"""How the variables begin that libpq heeds: the guard meets the database as the worker did that looked at it."""

LINE_LIMIT = 256 * 1024

END_S = 30.0
"""How long a guard may take to end its command and that one's sessions, in seconds."""

ERRORS: dict[str, type[ProviderError]] = {
    error.__name__: error for error in (ConnectFailed, DatabaseRefused, StaleToken, TargetBusy)
}


async def run_guarded(told: GuardOrder, *, heard: Heard, leave: Callable[[], bool]) -> MigrationResult:
    """Run a command on the worker, under the lock of its PostgreSQL database.

    Args:
        told: what shall run.
        heard: hears the command's output while it runs.
        leave: asked when this is cancelled: whether the command shall go on without us.

    Raises:
        ProviderError: as `migrate`; `CommandUnknown` also when the guard itself was killed.
    """
    given = told.model_dump_json().encode()
    process = subprocess.Popen(  # noqa: ASYNC220 (asyncio's own would kill it with the worker)
        (*GUARD, *filter(None, sys.path)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={name: value for name, value in os.environ.items() if name in KEPT or name.startswith(PASSED_ON)},
        start_new_session=True,
    )
    try:
        async with _output(process) as lines:
            last = await _listen(process, given, lines, heard)
    except BaseException as error:
        if isinstance(error, asyncio.CancelledError) and leave():
            threading.Thread(target=process.wait, daemon=True).start()  # or it would be left a zombie
        else:
            await asyncio.to_thread(_end, process)
        raise
    await asyncio.to_thread(process.wait)
    return _outcome(told.order, last)


@asynccontextmanager
async def _output(process: "subprocess.Popen[bytes]") -> AsyncIterator[asyncio.StreamReader]:
    lines = asyncio.StreamReader(limit=LINE_LIMIT)
    pipe, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(lines), process.stdout
    )
    try:
        yield lines
    finally:
        pipe.close()


async def _listen(process: "subprocess.Popen[bytes]", given: bytes, lines: asyncio.StreamReader, heard: Heard) -> Word:
    await asyncio.to_thread(_send, process, given)
    word = Word()
    while line := await lines.readline():
        word = Word.model_validate_json(line)
        if word.said:
            heard(word.said)
    return word


def _send(process: "subprocess.Popen[bytes]", what: bytes) -> None:
    assert process.stdin is not None  # noqa: S101 (a pipe was asked for)
    with suppress(BrokenPipeError), process.stdin as pipe:
        pipe.write(what)


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _outcome(order: MigrationOrder, last: Word) -> MigrationResult:
    if last.result is not None:
        return last.result
    step = order.step
    if last.error in ERRORS:
        raise ERRORS[last.error](last.message, target=step.target, step=step.name)
    kind = CommandFailed if last.error == CommandFailed.__name__ else CommandUnknown
    raise kind(
        last.message
        or f"{order.database}: what guarded {order.argv[0]} was killed; how the command ended is not known",
        target=step.target,
        step=step.name,
        command=order.argv[0],
        exit_status=last.exit_status,
        tail=last.tail,
    )
