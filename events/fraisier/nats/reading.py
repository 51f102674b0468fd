"""Reading a stream in batches that leave no state at the server (batched direct get, ADR-31)."""

import json
from dataclasses import dataclass
from datetime import datetime, timezone

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from fraisier.nats.errors import EventInvalid
from fraisier.nats.events import Event, InvalidEvent

BATCH = 256
"""Messages a request."""

BATCH_BYTES = 4 * 1024 * 1024
"""Bytes a request, so that large messages neither overrun the client nor time out."""

NOT_FOUND = "404"
END_OF_BATCH = "204"


@dataclass(frozen=True)
class StoredMessage:
    """A message as it lies in a stream."""

    subject: str
    sequence: int
    body: bytes

    def event(self) -> Event | InvalidEvent:
        """The message as an event, or why it cannot be one."""
        try:
            return Event.from_message(self.subject, self.body, sequence=self.sequence)
        except EventInvalid as error:
            return InvalidEvent(subject=self.subject, sequence=self.sequence, reason=str(error))


@dataclass(frozen=True)
class Batch:
    """Some messages in order, and whether they were the last ones that there are."""

    messages: tuple[StoredMessage, ...]
    last: bool


async def read_batch(connection: Client, stream: str, subject: str, start: int | datetime, *, timeout: float) -> Batch:
    """Read messages under a subject filter, from a sequence or a time on.

    A server before 2.11 knows no batches and answers with one message: then the batch holds that one.

    Args:
        connection: connected.
        stream: the stream's name; it allows direct gets.
        subject: the filter.
        start: where to begin: a sequence, or the time at which a message was stored (by the server's clock).
        timeout: seconds for each answer.

    Raises:
        nats.errors.Error: the server did not answer, or not in time, or refused; what came before is lost.
    """
    inbox = connection.new_inbox()
    answers = await connection.subscribe(inbox)
    try:
        begin = {"seq": start} if isinstance(start, int) else {"start_time": start.astimezone(timezone.utc).isoformat()}
        ask = {**begin, "next_by_subj": subject, "batch": BATCH, "max_bytes": BATCH_BYTES}
        await connection.publish(f"$JS.API.DIRECT.GET.{stream}", json.dumps(ask).encode(), reply=inbox)
        messages: list[StoredMessage] = []
        while True:
            answer = await answers.next_msg(timeout)
            headers = answer.headers or {}
            status = headers.get("Status")
            if status is None:
                messages.append(_message(answer))
                if "Nats-Num-Pending" not in headers:
                    return Batch(tuple(messages), last=False)
            elif status == NOT_FOUND:
                return Batch(tuple(messages), last=True)
            elif status == END_OF_BATCH:
                return Batch(tuple(messages), last=headers.get("Nats-Num-Pending") == "0")
            else:
                raise nats.errors.Error(f"{stream} cannot be read now, status {status}")
    finally:
        if not connection.is_closed:
            await answers.unsubscribe()


def _message(answer: Msg) -> StoredMessage:
    headers = answer.headers or {}
    return StoredMessage(headers["Nats-Subject"], int(headers["Nats-Sequence"]), answer.data)
