"""Room for so many at once, of a size that may change while it is used. Lives in the rollout workflow."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from fraisier.workflows.controls import Controls


class Room:
    """Lets so many in; who waits comes in by the order of asking.

    Args:
        controls: whose interruptions are heeded while waiting.
        size: how many there is room for now.
    """

    def __init__(self, controls: Controls, size: Callable[[], int]) -> None:
        self._controls = controls
        self._size = size
        self._taken = 0

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """A place, for as long as the block runs.

        Raises:
            Interrupted: the rollout was asked to end before there was one.
        """
        while self._full():  # more than one may be woken by the same place
            await self._controls.until(lambda: not self._full())
        self._taken += 1
        try:
            yield
        finally:
            self._taken -= 1

    def _full(self) -> bool:
        return self._taken >= self._size()
