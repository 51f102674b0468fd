"""Takes verbs that come as events to where verbs arrive. Lives in the rollout workflow."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

from temporalio import workflow
from temporalio.exceptions import ActivityError

from fraisier.workflows.activities.requests import RequestActivities
from fraisier.workflows.carrying import Carried
from fraisier.workflows.contracts import RolloutInput
from fraisier.workflows.controls import Controls
from fraisier.workflows.failures import describe, was_cancelled
from fraisier.workflows.policy import LISTEN
from fraisier.workflows.rollout_state import RolloutState
from fraisier.workflows.steps import ListenInput, SentVerb
from fraisier.workflows.verbs import VOTES, Verb, VerbRequest


class Requests(Carried):
    """Listens beside the rollout's own work, from its start to its end.

    Args:
        order: the rollout's input.
        state: what is known of regions.
        controls: where votes are open.
        obey: does what a verb asks, or tells why not.
        refuse: tells why a verb is not even asked for.
    """

    KEPT: ClassVar[dict[str, Any]] = {"_after": int}

    def __init__(
        self,
        order: RolloutInput,
        state: RolloutState,
        controls: Controls,
        obey: Callable[[Verb, VerbRequest], Awaitable[None]],
        refuse: Callable[[str, VerbRequest, str], Awaitable[None]],
    ) -> None:
        self._order = order
        self._state = state
        self._controls = controls
        self._obey = obey
        self._refuse = refuse
        self._after = 0
        self._obeying = False
        self._listening: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Listen from now on, in rollouts that do."""
        if self._order.plan.heeds_events:
            self._listening = asyncio.create_task(self._listen())

    async def stop(self) -> None:
        """Listen no more; what is being obeyed is obeyed to its end."""
        if self._listening is not None:
            await workflow.wait_condition(lambda: not self._obeying)
            self._listening.cancel()
            await asyncio.gather(self._listening, return_exceptions=True)

    async def _listen(self) -> None:
        try:
            while True:
                sent = await self._next()
                self._obeying = True
                try:
                    await self._heed(sent)
                finally:
                    self._obeying = False
        except ActivityError as error:
            if was_cancelled(error):
                return  # by `stop`
            workflow.logger.warning("verbs that come as events are heard no more: %s", describe(error))

    async def _next(self) -> SentVerb:
        plan = self._order.plan
        asked = ListenInput(
            rollout_id=self._order.rollout_id,
            service=plan.service,
            digest=plan.release.digest,
            regions=tuple(plan.regions),
            after=self._after,
        )
        return await workflow.execute_activity_method(
            RequestActivities.listen, asked, summary="verbs that come as events", **LISTEN
        )

    async def _heed(self, sent: SentVerb) -> None:
        self._after = sent.sequence
        ballot = self._controls.ballot
        if sent.verb in VOTES and (ballot is None or (sent.gate, sent.wave) != (ballot.gate, ballot.wave)):
            why = f"a vote on gate {sent.gate or 'without a name'} after wave {sent.wave} is none on an open gate"
            await self._refuse(sent.verb.value, sent.request, why)
        elif sent.generation is not None and sent.generation not in self._state.generations.values():
            why = f"it was sent for another generation: {sent.generation}"
            await self._refuse(sent.verb.value, sent.request, why)
        else:
            await self._obey(sent.verb, sent.request)
