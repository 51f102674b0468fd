"""What becomes of one message: the handlers that want it, or a dead letter for each that could not."""

import base64
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from fraisier.nats.dead_letters import DeadLetter, DeadLetters
from fraisier.nats.errors import EventInvalid
from fraisier.nats.events import Event
from fraisier.nats.handling import HandlersFailed

if TYPE_CHECKING:
    from nats.aio.msg import Msg

logger = logging.getLogger(__name__)


class Handle(Protocol):
    """Calls the handlers; `HandlersFailed` tells which of them failed for good."""

    async def __call__(self, event: Event, *, handler: str | None = None) -> None:
        """Call the one handler of that name, or all that want the event."""


class Delivery:
    """Delivers messages to handlers.

    Args:
        handle: calls the handlers.
        letters: where what they could not handle goes.
    """

    def __init__(self, handle: Handle, letters: DeadLetters) -> None:
        self._handle = handle
        self._letters = letters

    async def event(self, message: "Msg", sequence: int) -> None:
        """Deliver a message of one of the four streams."""

        def letter() -> DeadLetter:
            """Made only when it is needed: nearly every event is handled."""
            body = base64.b64encode(message.data).decode()
            stream = message.metadata.stream
            return DeadLetter(stream=stream, stream_sequence=sequence, subject=message.subject, body=body)

        await self._deliver(letter, lambda: Event.from_message(message.subject, message.data, sequence=sequence))

    async def replay(self, message: "Msg", sequence: int) -> None:
        """Deliver a dead letter that somebody wants tried again, to the handler that could not handle it."""
        letter = DeadLetter.model_validate_json(message.data).model_copy(update={"replay": sequence})
        await self._deliver(lambda: letter, lambda: letter.event, handler=letter.handler)

    async def _deliver(
        self, letter: Callable[[], DeadLetter], event: Callable[[], Event], *, handler: str | None = None
    ) -> None:
        try:
            await self._handle(event(), handler=handler)
        except EventInvalid as error:
            await self._give_up(letter(), None, str(error))
        except HandlersFailed as failed:
            for name, why in failed.errors.items():
                await self._give_up(letter(), name, f"{type(why).__name__}: {why}")

    async def _give_up(self, letter: DeadLetter, handler: str | None, reason: str) -> None:
        logger.error("%s goes to the dead letters, %s: %s", letter.subject, handler or "it is no event", reason)
        await self._letters.put(letter.because(reason, handler=handler))
