"""What becomes of one message: the handlers that want it, or a dead letter for each that could not."""

import asyncio
import base64
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from pydantic import ValidationError

from fraisier.nats.dead_letters import DeadLetter, DeadLetters
from fraisier.nats.errors import EventInvalid
from fraisier.nats.events import Event
from fraisier.nats.handling import NotStarted

if TYPE_CHECKING:
    from nats.aio.msg import Msg

logger = logging.getLogger(__name__)

MakeLetter = Callable[[], DeadLetter]


class Submit(Protocol):
    """Calls handlers."""

    def __call__(self, event: Event, *, handler: str | None = None) -> "list[tuple[str, asyncio.Future[None]]]":
        """Call the one handler of that name, or all that want the event; see `EventSubscriberRegistry.submit`."""


class Delivery:
    """Delivers messages to handlers.

    Args:
        submit: calls the handlers.
        letters: where what they could not handle goes.
    """

    def __init__(self, submit: Submit, letters: DeadLetters) -> None:
        self._submit = submit
        self._letters = letters
        self._tasks: set[asyncio.Task[None]] = set()

    def event(self, message: "Msg", sequence: int) -> "asyncio.Future[None]":
        """Deliver a message of one of the four streams.

        What is returned ends when every handler has had it and each failure is a dead letter; it fails with
        `NotStarted` when the registry stopped before.
        """

        def letter() -> DeadLetter:
            """Made only when it is needed: nearly every event is handled."""
            body = base64.b64encode(message.data).decode()
            stream = message.metadata.stream
            return DeadLetter(stream=stream, stream_sequence=sequence, subject=message.subject, body=body)

        try:
            event = Event.from_message(message.subject, message.data, sequence=sequence)
        except EventInvalid as error:
            return asyncio.ensure_future(self._give_up(letter(), None, str(error)))
        end: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        calls = self._submit(event)
        left = len(calls)
        if not calls:
            end.set_result(None)

        def one_ended(_: object) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                fine = [not one.cancelled() and one.exception() is None for _, one in calls]  # each one is looked at
                if end.done():
                    return
                if all(fine):
                    end.set_result(None)
                else:
                    self._conclude(end, calls, letter)

        for _, call in calls:
            call.add_done_callback(one_ended)
        return end

    def replay(self, message: "Msg", sequence: int) -> "asyncio.Future[None]":
        """Deliver a dead letter that somebody wants tried again, to the handler that could not handle it.

        The letter goes when it was handled, or when a new one tells why it was not.
        """
        return asyncio.ensure_future(self._replay(message, sequence))

    async def _replay(self, message: "Msg", sequence: int) -> None:
        try:
            letter = DeadLetter.model_validate_json(message.data)
        except ValidationError as error:
            logger.warning("what lies at %s is no dead letter: %.500s", message.subject, error)
            return
        again = letter.model_copy(update={"replay": sequence})
        try:
            calls = self._submit(letter.event, handler=letter.handler)
        except EventInvalid as error:
            await self._give_up(again, None, str(error))
        else:
            if not calls:
                logger.warning("no handler %s is registered here, so its letter stays", letter.handler)
                return
            await asyncio.wait([call for _, call in calls])
            await self._give_up_failed(calls, lambda: again)
        await self._letters.remove(letter)

    def _conclude(
        self, end: "asyncio.Future[None]", calls: "list[tuple[str, asyncio.Future[None]]]", letter: MakeLetter
    ) -> None:
        def pass_on(task: "asyncio.Task[None]") -> None:
            self._tasks.discard(task)
            error = None if task.cancelled() else task.exception()
            if end.done():
                return
            if task.cancelled():
                end.cancel()
            elif error is not None:
                end.set_exception(error)
            else:
                end.set_result(None)

        task = asyncio.ensure_future(self._give_up_failed(calls, letter))
        self._tasks.add(task)
        task.add_done_callback(pass_on)

    async def _give_up_failed(self, calls: "list[tuple[str, asyncio.Future[None]]]", letter: MakeLetter) -> None:
        """Write a letter for each handler that failed, unless one was not even started: then the event comes again."""
        failed = {name: NotStarted() if call.cancelled() else call.exception() for name, call in calls}
        if any(isinstance(why, NotStarted) for why in failed.values()):
            raise NotStarted
        for name, why in failed.items():
            if why is not None:
                await self._give_up(letter(), name, f"{type(why).__name__}: {why}")

    async def _give_up(self, letter: DeadLetter, handler: str | None, reason: str) -> None:
        logger.error("%s goes to the dead letters, %s: %.500s", letter.subject, handler or "it is no event", reason)
        await self._letters.put(letter.because(reason, handler=handler))
