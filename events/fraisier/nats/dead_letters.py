"""The dead-letter stream: events that a handler could not handle, each with its reason, until somebody looks."""

import base64
import logging
from collections.abc import AsyncIterator
from datetime import datetime, timezone
from typing import TYPE_CHECKING

import nats.errors
from nats.js.api import DiscardPolicy, Header, PubAck, StorageType
from nats.js.api import StreamConfig as JsStreamConfig
from nats.js.errors import APIError, NotFoundError
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fraisier.nats.acks import header_bytes
from fraisier.nats.errors import EventInvalid
from fraisier.nats.events import Event
from fraisier.nats.metrics import DEAD_LETTERS as COUNTER
from fraisier.nats.streams import DEAD_LETTERS
from fraisier.nats.subjects import ROOT

if TYPE_CHECKING:
    from fraisier.nats.bus import NatsEventBus

REPLAYS = f"{ROOT}.replay.>"
"""Letters that somebody wants handled again."""

logger = logging.getLogger(__name__)

_GONE = (10037, 10043)
"""JetStream's codes for "no message found" and "sequence not found"."""

REASON = 4096
"""Characters of a reason that are kept."""

_LETTERS = f"{ROOT}.dead"
_REPLAYS = REPLAYS.removesuffix(".>")
KEPT_S = 30 * 24 * 3600


class DeadLetter(BaseModel):
    """An event that was given up, and why.

    Attributes:
        stream: where the event lies.
        stream_sequence: its sequence there.
        subject: its subject.
        handler: the handler that could not handle it; None when it was no event at all.
        reason: what the handler raised, or what is wrong with the body.
        time: when it was given up.
        body: the event as it was, in base64, for it may be anything.
        replay: which replay failed, for a letter that had been replayed.
        sequence: where the letter itself lies, for letters that were read.
    """

    model_config = ConfigDict(frozen=True)

    stream: str
    stream_sequence: int
    subject: str
    handler: str | None = None
    reason: str = ""
    time: datetime = Field(default_factory=lambda: datetime.now(timezone.utc))
    body: str
    replay: int | None = None
    sequence: int | None = None

    @property
    def event(self) -> Event:
        """The event.

        Raises:
            EventInvalid: it is none, or another subject's.
        """
        return Event.from_message(self.subject, base64.b64decode(self.body), sequence=self.stream_sequence)

    def because(self, reason: str, *, handler: str | None) -> "DeadLetter":
        """The letter, given up now; a long reason is cut."""
        now = datetime.now(timezone.utc)
        cut = reason if len(reason) <= REASON else reason[: REASON - 1] + "…"
        return self.model_copy(update={"reason": cut, "handler": handler, "time": now, "sequence": None})

    @property
    def whole(self) -> bool:
        """Whether the event is in it; one that would make the letter too large lies in its stream alone."""
        return bool(self.body)


class DeadLetters:
    """Writes, reads and removes dead letters.

    Args:
        bus: its client is connected.
    """

    def __init__(self, bus: "NatsEventBus") -> None:
        self._bus = bus

    async def ensure(self) -> None:
        """Create the stream where there is none."""
        js = self._bus.client.jetstream
        try:
            await js.stream_info(DEAD_LETTERS)
        except NotFoundError:
            await js.add_stream(
                JsStreamConfig(
                    name=DEAD_LETTERS,
                    subjects=[f"{_LETTERS}.>", REPLAYS],
                    storage=StorageType.FILE,
                    # A full stream refuses, the event stays unacknowledged and comes again: no reason is lost.
                    discard=DiscardPolicy.NEW,
                    max_age=KEPT_S,
                    max_bytes=self._bus.streams.max_size,
                    num_replicas=self._bus.streams.replicas,
                    duplicate_window=3600,
                    allow_direct=True,
                )
            )

    async def put(self, letter: DeadLetter) -> None:
        """Store a letter; the same event for the same handler is stored once.

        A letter that is larger than the server takes is stored without its event, which lies in its own stream.
        """
        where = f"{letter.stream}.{letter.stream_sequence}"
        headers = {"Nats-Msg-Id": f"{where}:{letter.handler}:{letter.replay}"}
        try:
            ack = await self._publish(f"{_LETTERS}.{where}", letter, headers)
        except nats.errors.MaxPayloadError:
            ack = await self._publish(f"{_LETTERS}.{where}", letter.model_copy(update={"body": ""}), headers)
        if not ack.duplicate:
            COUNTER.labels(letter.stream).inc()

    async def replay(self, letter: DeadLetter) -> None:
        """Have a letter that was read handled again, by the handler that could not.

        Every running registry gets it. The letter goes when the handler has had it; what fails again is a new letter.
        Where the handler has another name now, or is gone, the letter stays.

        Raises:
            EventInvalid: the letter is without its event.
        """
        if not letter.whole:
            raise EventInvalid(
                f"letter {letter.sequence} is without its event, which is too large: it is number "
                f"{letter.stream_sequence} of {letter.stream}"
            )
        await self._publish(f"{_REPLAYS}.{letter.stream}.{letter.stream_sequence}", letter)

    async def read(self) -> AsyncIterator[DeadLetter]:
        """Every letter that is there now, the oldest first. What is none is told in the log and passed over."""
        js, sequence = self._bus.client.jetstream, 1
        while True:
            try:
                found = await js.get_msg(DEAD_LETTERS, seq=sequence, subject=f"{_LETTERS}.>", next=True)
            except NotFoundError:
                return
            sequence = (found.seq or 0) + 1
            try:
                letter = DeadLetter.model_validate_json(found.data or b"")
            except ValidationError as error:
                logger.warning("message %s of %s is no dead letter: %s", found.seq, DEAD_LETTERS, error)
                continue
            yield letter.model_copy(update={"sequence": found.seq})

    async def remove(self, letter: DeadLetter) -> None:
        """Take a letter that was read out of the stream. Idempotent."""
        try:
            await self._bus.client.jetstream.delete_msg(DEAD_LETTERS, letter.sequence or 0)
        except APIError as error:
            if error.err_code not in _GONE:
                raise

    async def _publish(self, subject: str, letter: DeadLetter, headers: dict[str, str] | None = None) -> PubAck:
        body = letter.model_dump_json().encode()
        sent = {**(headers or {}), Header.EXPECTED_STREAM.value: DEAD_LETTERS}
        if len(body) + header_bytes(sent) > self._bus.client.connection.max_payload:
            raise nats.errors.MaxPayloadError
        return await self._bus.client.jetstream.publish(subject, body, stream=DEAD_LETTERS, headers=headers)
