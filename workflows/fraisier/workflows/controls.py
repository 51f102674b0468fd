"""What verbs do to a running rollout: the pause, the end that was asked for, the decision that is waited for."""

import asyncio
from collections.abc import Callable, Coroutine
from datetime import datetime, timedelta
from typing import Any, ClassVar, TypeVar

from temporalio import workflow

from fraisier.workflows.approvals import Ballot
from fraisier.workflows.carrying import Carried
from fraisier.workflows.verbs import VOTES, Verb, VerbRequest, refused_one_way

R = TypeVar("R")

Tell = Callable[[datetime | None], None]
"""Is told when a wait will end by itself, and None when a pause has stopped its clock."""


class Interrupted(Exception):
    """Somebody asked the rollout to end: by ``rollback``, by ``cancel``, or by cancelling the workflow.

    Not an error: it carries the story from wherever it is to its other end.
    """


class Controls(Carried):
    """The verbs' effect, and the waits that heed it. Lives in the rollout workflow.

    Attributes:
        ballot: the vote that is open, if one is.
        one_way: why the release before does not fit any more, so that a rollback needs an override; empty while it
            fits.
        canaries: the regions whose canary waits, and whether it was promoted.
        let_start: the regions that may start whatever keeps them, and who said so.
        decision: the request that decided what is done after the last failure.
    """

    KEPT: ClassVar[dict[str, Any]] = {
        "one_way": str,
        "paused": bool,
        "ending": Verb | None,
        "request": VerbRequest,
        "_seen": list[str],
        "let_start": list[tuple[str, str]],
    }

    def __init__(self) -> None:
        self.one_way = ""
        self.ballot: Ballot | None = None
        self.paused = False
        self.ending: Verb | None = None
        self.request = VerbRequest()
        self.canaries: dict[str, bool] = {}
        self.let_start: dict[str, str] = {}
        self.decision = VerbRequest()
        self._deciding = False
        self._closing = False
        self._decision: Verb | None = None
        self._seen: set[str] = set()

    def refusal(self, verb: Verb, request: VerbRequest) -> str:  # noqa: PLR0911 (a list of reasons, read from the top)
        """Why a verb makes no sense now, with the way out; empty when it does."""
        if self._closing:
            return f"too late to {verb.value}: the rollout is ending"
        if self.ending is not None:
            return f"{self.ending.value} is already under way, asked by {self.request.by or 'somebody'}"
        if verb is Verb.PAUSE and self.paused:
            return "it is paused already; resume lets it go on"
        if verb is Verb.RESUME and not self.paused:
            return "it is not paused"
        if verb in (Verb.RETRY, Verb.SKIP) and not self._deciding:
            return f"nothing has failed that waits for a decision, so there is nothing to {verb.value}"
        if verb is Verb.ROLLBACK and self.one_way:
            return refused_one_way(self.one_way, request)
        if verb is Verb.PROMOTE:
            return self._no_canary(request)
        if verb in VOTES:
            return (
                self.ballot.refusal(request) if self.ballot else f"no gate waits for approval: nothing to {verb.value}"
            )
        return ""

    def _no_canary(self, request: VerbRequest) -> str:
        waiting = [name for name, promoted in self.canaries.items() if not promoted]
        if not waiting:
            return "no canary waits, so there is nothing to promote"
        unknown = [name for name in request.regions if name not in waiting]
        return f"no canary of {', '.join(unknown)} waits, only of {', '.join(waiting)}" if unknown else ""

    def repeated(self, request: VerbRequest) -> bool:
        """Whether a request with this ID has taken effect before."""
        return request.id in self._seen

    def apply(self, verb: Verb, request: VerbRequest) -> None:
        """Let a verb that `refusal` let through take effect."""
        if request.id:
            self._seen.add(request.id)
        if verb in (Verb.PAUSE, Verb.RESUME):
            self.paused = verb is Verb.PAUSE
        elif verb in (Verb.RETRY, Verb.SKIP):
            self._decision, self.decision = verb, request
        elif verb is Verb.PROMOTE:
            self.canaries |= dict.fromkeys(request.regions or self.canaries, True)
        elif verb is Verb.OVERRIDE:
            self.let_start |= dict.fromkeys(request.regions, request.by)
        elif verb in VOTES:
            if self.ballot is not None:
                self.ballot.take(verb, request)
        elif verb in (Verb.ROLLBACK, Verb.CANCEL):
            self.ending = verb
            self.paused = False
            self.request = request

    def close(self) -> None:
        """Refuse every verb from now on, and be paused no more."""
        self._closing = True
        self.paused = False

    async def until(self, done: Callable[[], bool], timeout: timedelta | None = None, why: str = "") -> bool:
        """Wait until `done`; False when `timeout` came first.

        Raises:
            Interrupted: the rollout was asked to end.
        """
        self._heed_cancellation()
        try:
            await workflow.wait_condition(
                lambda: self.ending is not None or done(), timeout=timeout, timeout_summary=why or None
            )
        except asyncio.TimeoutError:
            return False
        except asyncio.CancelledError:
            self.ending = self.ending or Verb.CANCEL
        if self.ending is not None:
            raise Interrupted
        return True

    async def obeyed(self, *, heed: bool) -> None:
        """Wait until no verb is being obeyed any more.

        Args:
            heed: whether a rollout that was asked to end meanwhile is interrupted.

        Raises:
            Interrupted: the rollout was asked to end.
        """
        await workflow.wait_condition(workflow.all_handlers_finished)
        if heed and self.ending is not None:
            raise Interrupted

    def _heed_cancellation(self) -> None:
        """A cancellation of the workflow is told once, and lost where the step that it meets ends well all the same."""
        # Rollouts that lost one before they were watched for go on as they did.
        if self.ending is None and workflow.cancellation_reason() is not None and workflow.patched("heed-cancellation"):
            self.ending = Verb.CANCEL

    async def hold(self) -> None:
        """Wait while paused."""
        await self.until(lambda: not self.paused)

    async def wait(self, duration: Callable[[], timedelta], why: str, tell: Tell) -> None:
        """Wait for `duration`, which may change meanwhile; a pause stops the clock."""
        passed = 0.0
        while passed < duration().total_seconds():
            if self.paused:
                tell(None)
            await self.hold()
            asked, started = duration(), workflow.time()
            left = timedelta(seconds=max(asked.total_seconds() - passed, 0))
            tell(workflow.now() + left)
            await self.until(lambda: self.paused or duration() != asked, left, why)  # noqa: B023
            passed += workflow.time() - started

    async def decide(self, timeout: timedelta) -> Verb | None:
        """Wait for ``retry`` or ``skip``; None when nobody decided in time."""
        self._decision = None
        self._deciding = True
        try:
            if timeout:
                await self.until(lambda: self._decision is not None, timeout, "waiting for a decision")
            return self._decision
        finally:
            self._deciding = False

    async def through(self, *handles: Any) -> list[Any]:
        """Wait for activities; when interrupted, cancel them and wait until they have ended."""
        try:
            await self.until(lambda: all(handle.done() for handle in handles))
        except Interrupted:
            for handle in handles:
                handle.cancel()
            await asyncio.gather(*handles, return_exceptions=True)
            raise
        return [handle.result() for handle in handles]

    async def to_the_end(self, work: Coroutine[Any, Any, R]) -> R:
        """Finish what must not stop half way: cancelling the workflow meanwhile is heeded after it, if ever.

        Raises:
            Exception: what the work raises.
        """
        task = asyncio.create_task(work)
        while True:
            try:
                return await asyncio.shield(task)
            except asyncio.CancelledError:
                if task.done():
                    raise
                self.ending = self.ending or Verb.CANCEL
