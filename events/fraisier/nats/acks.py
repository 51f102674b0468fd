"""Publishing to JetStream with one subscription for all acks, so that many publishes can be on their way at once.

nats-py's own `publish` waits for each ack in a task's time; its `publish_async` hangs after a server's death.
"""

import asyncio
import itertools
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import nats.errors
from nats.js.api import Header, PubAck
from nats.js.errors import APIError, NoStreamResponseError

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription

SWEEP_S = 0.25
"""How often overdue acks are looked for, in seconds."""

PUBLISHES = 200
"""Publishes on their way at once: a server that syncs each one lets the end of a longer queue time out."""

NO_RESPONDERS = "503"


@dataclass
class _Waiting:
    answer: "asyncio.Future[Msg]"
    deadline: float


class Acks:
    """The acks of one connection's publishes.

    Args:
        connection: connected.
        timeout: seconds after which an ack counts as lost.
    """

    def __init__(self, connection: "Client", timeout: float) -> None:
        self.connection = connection
        self._timeout = timeout
        self._inbox = connection.new_inbox()
        self._numbers = itertools.count()
        self._room = asyncio.Semaphore(PUBLISHES)
        # In the order of their deadlines, which is that of their sending.
        self._waiting: dict[str, _Waiting] = {}
        self._subscription: Subscription | None = None
        self._subscribing = asyncio.Lock()
        self._sweeper: asyncio.TimerHandle | None = None

    async def send(self, subject: str, body: bytes, headers: dict[str, str]) -> "asyncio.Future[Msg]":
        """Publish when there is room, and return what will hold the server's answer; see `ack_of`.

        The future fails with `nats.errors.TimeoutError` when none comes. Cancel it to give up.

        Raises:
            nats.errors.Error: it could not be sent.
        """
        await self._room.acquire()
        try:
            answer = await self._send(subject, body, headers)
        except BaseException:
            self._room.release()
            raise
        answer.add_done_callback(lambda _: self._room.release())
        return answer

    async def _send(self, subject: str, body: bytes, headers: dict[str, str]) -> "asyncio.Future[Msg]":
        if self._subscription is None:
            await self._subscribe()
        if len(body) + header_bytes(headers) > self.connection.max_payload:
            raise nats.errors.MaxPayloadError
        loop = asyncio.get_running_loop()
        token = str(next(self._numbers))
        answer: asyncio.Future[Msg] = loop.create_future()
        self._waiting[token] = _Waiting(answer, loop.time() + self._timeout)
        try:
            await self.connection.publish(subject, body, reply=f"{self._inbox}.{token}", headers=headers)
        except BaseException:
            self._waiting.pop(token, None)
            raise
        if self._sweeper is None:
            self._sweeper = loop.call_later(SWEEP_S, self._sweep)
        return answer

    async def _subscribe(self) -> None:
        async with self._subscribing:
            if self._subscription is None:
                # Without a limit: what is on its way is limited by those who send.
                self._subscription = await self.connection.subscribe(
                    f"{self._inbox}.*", cb=self._take, pending_msgs_limit=-1, pending_bytes_limit=-1
                )

    async def _take(self, message: "Msg") -> None:
        waiting = self._waiting.pop(message.subject.rpartition(".")[2], None)
        if waiting is not None and not waiting.answer.done():
            waiting.answer.set_result(message)

    def _sweep(self) -> None:
        self._sweeper = None
        loop = asyncio.get_running_loop()
        for token, waiting in list(self._waiting.items()):
            if waiting.answer.done():
                del self._waiting[token]
            elif waiting.deadline <= loop.time():
                del self._waiting[token]
                waiting.answer.set_exception(nats.errors.TimeoutError())
            else:
                break
        if self._waiting:
            self._sweeper = loop.call_later(SWEEP_S, self._sweep)


def header_bytes(headers: dict[str, str]) -> int:
    """What headers add: the server's max_payload counts them; nats-py does not, and then the server hangs up."""
    return len("NATS/1.0\r\n\r\n") + sum(len(f"{key}: {value}\r\n".encode()) for key, value in headers.items())


def ack_of(answer: "Msg") -> PubAck:
    """The ack in an answer.

    Raises:
        NoStreamResponseError: no stream takes the subject, or none does now.
        APIError: the stream refused it.
    """
    if not answer.data and (answer.headers or {}).get(Header.STATUS) == NO_RESPONDERS:
        raise NoStreamResponseError
    said = json.loads(answer.data)
    if "error" in said:
        raise APIError.from_error(said["error"])
    return PubAck.from_response(said)
