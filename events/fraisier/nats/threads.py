"""Threads for plain handlers: a call that hangs holds up neither the next one nor the end of the process."""

import asyncio
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class _Call:
    function: Callable[..., Any]
    argument: Any
    loop: asyncio.AbstractEventLoop
    result: "asyncio.Future[Any]"

    def run(self) -> None:
        try:
            value = self.function(self.argument)
        except BaseException as error:  # noqa: BLE001 (it belongs to whoever waits for the result)
            self._tell(self._fail, error)
        else:
            self._tell(self._succeed, value)

    def _tell(self, how: Callable[[Any], None], what: Any) -> None:
        try:
            self.loop.call_soon_threadsafe(how, what)
        except RuntimeError:
            return  # the loop is closed: nobody waits any more

    def _succeed(self, value: Any) -> None:
        if not self.result.done():
            self.result.set_result(value)

    def _fail(self, error: BaseException) -> None:
        if not self.result.done():
            self.result.set_exception(error)


class DaemonThreads:
    """Runs calls in threads that the interpreter does not wait for at its end.

    A thread is started when none is idle: those who call limit how many calls there are. (`concurrent.futures` joins
    its threads at exit, so that one call without end would keep the process for ever.)

    Args:
        name: of the threads, for whoever looks at a dump.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._busy = 0

    @property
    def busy(self) -> int:
        """How many calls have not ended, the abandoned ones among them."""
        return self._busy

    def run(self, function: Callable[..., Any], argument: Any) -> "asyncio.Future[Any]":
        """Call it in a thread. What the call does goes on when the result is no longer wanted."""
        loop = asyncio.get_running_loop()
        call = _Call(function, argument, loop, loop.create_future())
        with self._lock:
            self._busy += 1
            more = self._busy > self._threads
            self._threads += more
        if more:
            threading.Thread(target=self._work, name=self._name, daemon=True).start()
        self._calls.put(call)
        return call.result

    def close(self) -> None:
        """Let the idle threads end, and each busy one after its call."""
        for _ in range(self._threads):
            self._calls.put(None)

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            call.run()
            with self._lock:
                self._busy -= 1
            del call
