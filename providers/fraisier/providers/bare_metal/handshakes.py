"""How many SSH connections may be opened at once. An sshd drops what is too much for it (its ``MaxStartups``)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from weakref import WeakKeyDictionary, WeakValueDictionary

PER_HOST = 8
"""How many at once to one host. An sshd begins to drop the eleventh."""

PER_WORKER = 32
"""How many at once from this worker: each is work for its one event loop."""

ROOM_S = 60.0
"""How long one may wait for its turn, in seconds."""


class Handshakes:
    """The handshakes under way in one event loop."""

    def __init__(self) -> None:
        self._all = asyncio.Semaphore(PER_WORKER)
        self._hosts: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    @asynccontextmanager
    async def room(self, host: str) -> AsyncIterator[None]:
        """Room for one more with a host, once there is some.

        Raises:
            TimeoutError: there was none in time.
        """
        # The host's first, so that many who wait for one host take nobody else's room.
        own = self._hosts.setdefault(host, asyncio.Semaphore(PER_HOST))
        async with AsyncExitStack() as held:
            for bound in (own, self._all):
                try:
                    await asyncio.wait_for(held.enter_async_context(bound), ROOM_S)
                except asyncio.TimeoutError as error:
                    raise TimeoutError(f"no turn within {ROOM_S:g} s: too many are connected to at once") from error
            yield


_under_way: WeakKeyDictionary[asyncio.AbstractEventLoop, Handshakes] = WeakKeyDictionary()


def handshakes() -> Handshakes:
    """Those of the running event loop."""
    return _under_way.setdefault(asyncio.get_running_loop(), Handshakes())
