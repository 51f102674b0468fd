"""What can go wrong while a server is looked for.

::

    LauncherError
    ├── ServerNotFound    every way was tried
    └── WayFailed         one way did not work; the next is tried
"""


class LauncherError(Exception):
    """Base of the launcher's errors."""


class WayFailed(LauncherError):
    """One way of having a program did not work."""


class ServerNotFound(LauncherError):
    """No way led to the program.

    Attributes:
        name: the program.
        tried: what was tried and why it did not work, one sentence each.
        by_hand: how a person gets it.
    """

    def __init__(self, name: str, *, tried: tuple[str, ...], by_hand: str) -> None:
        lines = "".join(f"\n  - {way}" for way in tried)
        super().__init__(
            f"{name} is not on this machine and could not be had. Tried:{lines}\nTo get it by hand: {by_hand}"
        )
        self.name = name
        self.tried = tried
        self.by_hand = by_hand
