"""Pulling from a durable consumer: one request at a time, whose messages go to a callback as they come.

nats-py's own `fetch` makes a task and a timer for every message.
"""

import asyncio
import itertools
import json
from collections.abc import Callable
from typing import TYPE_CHECKING

import nats.errors
from nats.js.api import Header
from nats.js.errors import ServiceUnavailableError

from fraisier.nats.waiting import end_of

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription

GRACE_S = 1.0
"""How much longer than it lasts a request is waited for: its end may be lost with a connection."""

NANOSECONDS = 1_000_000_000

_OVER = frozenset({"404", "408"})
"""The statuses of a request that ended because nothing more came."""


class Pull:
    """Requests to one consumer.

    Args:
        connection: connected.
        stream: the consumer's stream.
        durable: its name.
        take: called with every message.
    """

    def __init__(self, connection: "Client", stream: str, durable: str, take: "Callable[[Msg], None]") -> None:
        self._connection = connection
        self._stream = stream
        self._durable = durable
        self._take = take
        self._inbox = connection.new_inbox()
        self._numbers = itertools.count()
        self._current = ""
        self._left = 0
        self._end: asyncio.Future[None] | None = None
        self._subscription: Subscription | None = None

    async def open(self) -> None:
        """Listen for what the requests bring."""
        # Without a limit: what is asked for is the limit.
        self._subscription = await self._connection.subscribe(
            f"{self._inbox}.*", cb=self._arrived, pending_msgs_limit=-1, pending_bytes_limit=-1
        )

    async def close(self) -> None:
        """Listen no more; the server forgets a request that nobody listens to."""
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            await subscription.unsubscribe()

    async def ask(self, count: int, seconds: float) -> None:
        """Ask for up to `count` messages, and return when they are there or the time is over.

        Raises:
            nats.errors.TimeoutError: not even the end of the request came.
            ServiceUnavailableError: there is no such consumer, or nobody answers for it now.
        """
        self._current, self._left = f"{self._inbox}.{next(self._numbers)}", count
        end = self._end = asyncio.get_running_loop().create_future()
        body = json.dumps({"batch": count, "expires": int(seconds * NANOSECONDS)}).encode()
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{self._stream}.{self._durable}"
        await self._connection.publish(subject, body, reply=self._current)
        await end_of(end, timeout=seconds + GRACE_S)
        if not end.done():
            raise nats.errors.TimeoutError
        end.result()

    async def _arrived(self, message: "Msg") -> None:
        if message.reply:
            self._left -= 1
            self._take(message)
            if self._left == 0:
                self._ended(None)
        elif message.subject == self._current:
            headers = message.headers or {}
            status = headers.get(Header.STATUS.value, "")
            said = f"{status} {headers.get(Header.DESCRIPTION.value, 'no such consumer, or nobody answers for it')}"
            self._ended(None if status in _OVER else ServiceUnavailableError(description=said))

    def _ended(self, error: Exception | None) -> None:
        if self._end is None or self._end.done():
            return
        if error is None:
            self._end.set_result(None)
        else:
            self._end.set_exception(error)
