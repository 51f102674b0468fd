"""Blocking calls of the library, off the event loop."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

R = TypeVar("R")


async def in_thread(act: Callable[[], R], seconds: float) -> R:
    """Do it in a thread of its own, and wait for it at most so long.

    One that is given up ends by itself when its socket's timeout is over. Until then it holds up nobody: it is none
    of the loop's own threads, which are few and shared by all targets, and no process waits for it to end.

    Raises:
        asyncio.TimeoutError: it did not end in time.
    """
    done: Future[R] = Future()
    done.set_running_or_notify_cancel()

    def run() -> None:
        try:
            done.set_result(act())
        except BaseException as error:  # noqa: BLE001 (whoever waits gets it)
            done.set_exception(error)

    threading.Thread(target=run, daemon=True, name="docker call").start()
    return await asyncio.wait_for(asyncio.wrap_future(done), seconds)
