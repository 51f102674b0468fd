"""Finds ports of 127.0.0.1 that nobody listens on."""

import contextlib
import random
import socket
from collections.abc import Mapping

LOOPBACK = "127.0.0.1"
RANGE = range(20_000, 32_000)
"""Below the ports that systems give to outgoing connections, so that none of those takes one in between."""


def free_ports(wished: Mapping[str, int]) -> dict[str, int]:
    """A free port for each name: the wished one when it is free, another otherwise; 0 is any.

    Raises:
        OSError: a whole range of ports is taken.
    """
    with contextlib.ExitStack() as held:
        # All are held until all are chosen, so that no two names get the same one.
        return {name: _hold(held, port) for name, port in wished.items()}


def _hold(held: contextlib.ExitStack, wished: int) -> int:
    for port in (*([wished] if wished else []), *random.sample(RANGE, k=100)):
        listener = held.enter_context(socket.socket())
        # As servers do it: a port whose last connection still fades away is free.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):
            listener.bind((LOOPBACK, port))
            return port
    raise OSError(f"no free port found on {LOOPBACK} between {RANGE.start} and {RANGE.stop}")
