"""Room for so many at once, of a size that may change while it is used. Lives in the rollout workflow."""

from collections.abc import Callable

from fraisier.workflows.controls import Controls


class Room:
    """Lets so many in, as a semaphore does: ``async with room``. Who waits comes in by the order of asking.

    Args:
        controls: whose interruptions are heeded while waiting; it then raises `Interrupted`.
        size: how many there is room for now.
    """

    def __init__(self, controls: Controls, size: Callable[[], int]) -> None:
        self._controls = controls
        self._size = size
        self._taken = 0

    async def __aenter__(self) -> None:
        """Wait for a place and take it."""
        while self._full():  # more than one may be woken by the same place
            await self._controls.until(lambda: not self._full())
        self._taken += 1

    async def __aexit__(self, *_: object) -> None:
        """Leave it."""
        self._taken -= 1

    def _full(self) -> bool:
        return self._taken >= self._size()
