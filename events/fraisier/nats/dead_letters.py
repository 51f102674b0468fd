"""The dead-letter stream: events that a handler could not handle, each with its reason, until somebody looks."""

import base64
from collections.abc import AsyncIterator
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from nats.js.api import DiscardPolicy, StorageType
from nats.js.api import StreamConfig as JsStreamConfig
from nats.js.errors import NotFoundError
from pydantic import BaseModel, ConfigDict, Field

from fraisier.nats.events import Event
from fraisier.nats.metrics import DEAD_LETTERS as COUNTER
from fraisier.nats.streams import DEAD_LETTERS
from fraisier.nats.subjects import ROOT

if TYPE_CHECKING:
    from fraisier.nats.bus import NatsEventBus

REPLAYS = f"{ROOT}.replay.>"
"""Letters that somebody wants handled again."""

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
        """The letter, given up now."""
        now = datetime.now(timezone.utc)
        return self.model_copy(update={"reason": reason, "handler": handler, "time": now, "sequence": None})

    def to_json(self) -> bytes:
        """The letter as it is stored."""
        return self.model_dump_json(exclude={"sequence"}).encode()


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
        """Store a letter; the same event for the same handler is stored once."""
        where = f"{letter.stream}.{letter.stream_sequence}"
        if await self._publish(f"{_LETTERS}.{where}", letter, f"{where}:{letter.handler}:{letter.replay}"):
            COUNTER.labels(letter.stream).inc()

    async def replay(self, letter: DeadLetter) -> None:
        """Have a letter that was read handled again, by the handler that could not, and take it out of the stream.

        Every running registry gets it; where the handler has another name now, or is gone, nothing happens. What
        fails again is a new letter.
        """
        where = f"{letter.stream}.{letter.stream_sequence}"
        await self._publish(f"{_REPLAYS}.{where}", letter, f"replay:{letter.sequence}")
        await self.remove(letter)

    async def read(self) -> AsyncIterator[DeadLetter]:
        """Every letter that is there now, the oldest first."""
        js, sequence = self._bus.client.jetstream, 1
        while True:
            try:
                found = await js.get_msg(DEAD_LETTERS, seq=sequence, subject=f"{_LETTERS}.>", next=True)
            except NotFoundError:
                return
            letter = DeadLetter.model_validate_json(found.data or b"")
            yield letter.model_copy(update={"sequence": found.seq})
            sequence = (found.seq or 0) + 1

    async def remove(self, letter: DeadLetter) -> None:
        """Take a letter that was read out of the stream."""
        await self._bus.client.jetstream.delete_msg(DEAD_LETTERS, letter.sequence or 0)

    async def _publish(self, subject: str, letter: DeadLetter, message_id: str) -> bool:
        """Whether it was not there before."""
        js, headers = self._bus.client.jetstream, {"Nats-Msg-Id": message_id}
        return not (await js.publish(subject, letter.to_json(), stream=DEAD_LETTERS, headers=headers)).duplicate
