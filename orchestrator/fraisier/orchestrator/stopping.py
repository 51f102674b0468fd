"""How a process that runs for ever is asked to end."""

import asyncio
import contextlib
import signal
from collections.abc import Iterator


@contextlib.contextmanager
def stop_on_signals() -> Iterator[asyncio.Event]:
    """An event that is set by SIGTERM and SIGINT, which do nothing else for as long as the block runs."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        yield stop
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


async def stopped_or_lost(stop: asyncio.Event, lost: asyncio.Event) -> None:
    """Wait for either of both events."""
    waits = [asyncio.create_task(event.wait()) for event in (stop, lost)]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waits:
            task.cancel()
