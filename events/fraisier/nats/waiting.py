"""Ways to wait that asyncio lacks."""

import asyncio
from contextlib import suppress
from typing import Any


async def end_of(work: "asyncio.Future[Any]", timeout: float | None = None) -> None:
    """Wait until it has ended, or for a time in seconds: `asyncio.wait` for a single one, at half its price."""
    if work.done():
        return
    loop = asyncio.get_running_loop()
    woken: asyncio.Future[None] = loop.create_future()

    def wake(_: object = None) -> None:
        if not woken.done():
            woken.set_result(None)

    timer = loop.call_later(timeout, wake) if timeout is not None else None
    work.add_done_callback(wake)
    try:
        await woken
    finally:
        work.remove_done_callback(wake)
        if timer is not None:
            timer.cancel()


async def pause(seconds: float, stop: asyncio.Event) -> None:
    """Wait for some seconds, or until `stop` is set."""
    with suppress(asyncio.TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)


async def rest_of_cancellation(task: "asyncio.Task[None]") -> bool:
    """Take what is left of a cancellation that was meant for the handler, or it would hit the next event's.

    One that arrives only after the handler's end is raised by the next wait. Python 3.11 and later count it until it is
    taken back.
    """
    cancelling = getattr(task, "cancelling", None)
    arrived = False
    try:
        await asyncio.sleep(0)
    except asyncio.CancelledError:
        arrived = True
    while cancelling is not None and cancelling():
        task.uncancel()
    return arrived
