"""The process that holds a database's lock while a migration's command runs on the worker.

It is not the worker: one that dies in mid-migration must not free the lock while the command goes on. It reads a
`GuardOrder` from its input, writes a `Word` a line, and ends by itself; whether anybody still listens changes nothing.
When it is killed itself, and the lock with it, its command is killed too: by the leash that it runs on.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from fraisier.providers.errors import ProviderError
from fraisier.providers.local_command import Ended, run_here
from fraisier.providers.migrations.dsn import masked, secrets_of
from fraisier.providers.migrations.ledger import Ledger, open_ledger, session_name
from fraisier.providers.migrations.models import MigrationOrder, failed
from fraisier.providers.migrations.story import migrate
from fraisier.providers.migrations.words import GuardOrder, Word

LEASH = (sys.executable, "-I", "-S", str(Path(__file__).with_name("leash.py")))

SAID_KEPT = 1000
GRACE_S = 10.0
"""How long a command that is ended before its time may take to do so by itself, in seconds, while the lock is held."""

FAREWELL_S = 5.0
"""How long the last word is offered to a worker that does not read, in seconds: it finds the record instead."""


class Voice:
    """Writes words to a pipe whose reader may be gone or stopped: that holds nothing up."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._unsent = b""
        os.set_blocking(descriptor, False)

    def say(self, word: Word) -> None:
        """Say it, unless the reader has not yet taken what was said before."""
        if self._sent():
            self._unsent = word.model_dump_json().encode() + b"\n"
            self._sent()

    async def farewell(self, word: Word) -> None:
        """Say it for certain, unless nobody listens."""
        self._unsent += word.model_dump_json().encode() + b"\n"
        end = asyncio.get_running_loop().time() + FAREWELL_S
        while not self._sent() and asyncio.get_running_loop().time() < end:  # noqa: ASYNC110 (a pipe tells nobody)
            await asyncio.sleep(0.05)

    def _sent(self) -> bool:
        try:
            while self._unsent:
                self._unsent = self._unsent[os.write(self._descriptor, self._unsent) :]
        except BlockingIOError:
            return False
        except BrokenPipeError:
            self._unsent = b""
        return True


async def guard(given: GuardOrder, voice: Voice) -> None:
    """Hold the lock, run the command, record how it ended, and tell."""
    hidden = (*given.hidden, *secrets_of(given.dsn))
    try:
        async with open_ledger(given.dsn, database=given.order.database) as ledger:
            result = await migrate(given.order, ledger, lambda: _run(given, ledger, hidden, voice))
        word = Word(result=result)
    except ProviderError as error:
        word = Word(
            error=type(error).__name__,
            message=masked(str(error), hidden),
            exit_status=getattr(error, "exit_status", None),
            tail=getattr(error, "tail", ""),
        )
    await voice.farewell(word)


async def _run(given: GuardOrder, ledger: Ledger, hidden: tuple[str, ...], voice: Voice) -> str:
    order = given.order
    try:
        with _held_open() as lifeline:
            ended = await _to_the_last_session(
                run_here(
                    (*LEASH, *order.argv),
                    timeout_s=order.timeout_s,
                    environment={**given.environment, "PGAPPNAME": session_name(order.step.service, order.database)},
                    heard=lambda text: voice.say(Word(said=text[-SAID_KEPT:])),
                    hidden=hidden,
                    stdin=lifeline,
                    grace_s=lambda: GRACE_S if ledger.held else 0.0,
                ),
                order,
                ledger,
            )
    except TimeoutError:
        raise failed(order, None, f"it did not end within {order.timeout_s:g} s") from None
    except (OSError, ValueError) as error:
        raise failed(order, None, str(error)) from None
    if ended.status != 0:
        raise failed(order, ended.status, ended.tail)
    return ended.tail


@contextmanager
def _held_open() -> Iterator[int]:
    """The reading end of a pipe whose other end is open for as long as the block runs and this process lives."""
    lifeline, ours = os.pipe()
    try:
        yield lifeline
    finally:
        os.close(ours)
        os.close(lifeline)


async def _to_the_last_session(command: Coroutine[Any, Any, Ended], order: MigrationOrder, ledger: Ledger) -> Ended:
    """Wait for a command; when it is ended before its time, its sessions are ended with it."""
    try:
        return await command
    except BaseException:
        # A server goes on with a statement whose client is gone, and keeps all that it has locked.
        await ledger.end_sessions(order)
        raise


async def _until_asked_to_end(given: GuardOrder) -> None:
    task = asyncio.ensure_future(guard(given, Voice(sys.stdout.fileno())))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    with suppress(asyncio.CancelledError):
        await task


def main() -> None:
    """Guard the one command that the input names."""
    given = GuardOrder.model_validate_json(sys.stdin.buffer.read())
    asyncio.run(_until_asked_to_end(given))


if __name__ == "__main__":
    main()
