"""The rollout's desk: where verbs arrive and the status is asked for."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Any, ClassVar

from temporalio import workflow
from temporalio.common import RawValue

from fraisier.workflows.adjustments import AdjustmentRefused, adjusted
from fraisier.workflows.carrying import Carried, Position
from fraisier.workflows.contracts import REGION_WAITS, RegionWaits, RolloutInput, RolloutPhase, read_signal
from fraisier.workflows.controls import Controls
from fraisier.workflows.crew import Crew
from fraisier.workflows.details import rollout_details
from fraisier.workflows.evidence import Evidence
from fraisier.workflows.gatekeeper import Gatekeeper
from fraisier.workflows.plans import Plan
from fraisier.workflows.requests import Requests
from fraisier.workflows.rollout_state import RolloutState
from fraisier.workflows.search import tell_state
from fraisier.workflows.status import RolloutStatus
from fraisier.workflows.verbs import (
    TEXT_KEPT,
    VOTES,
    Adjustment,
    BadRequest,
    Verb,
    VerbRequest,
    read_adjustment,
    read_request,
    unknown_verb,
)

NAME_KEPT = 100
"""How much of an unknown signal's name is kept, in characters."""


class RolloutDesk(Carried):
    """Takes verbs and tells how things stand.

    Signals, each with an empty payload or ``{"by", "reason", "id"}``: ``pause``, ``resume``, ``rollback``, ``retry``,
    ``skip``, ``cancel``, ``approve``, ``reject``, ``promote``, ``override``; and ``adjust``, which must be told what.
    ``rollback`` takes ``"override": true`` too. The update ``verb`` does the same and refuses at once what makes no
    sense now. The query ``status`` answers a `RolloutStatus`.

    A second payload is passed over: a signal that its handler could not take would hold the workflow up for ever.
    """

    KEPT: ClassVar[dict[str, Any]] = {"_verbs": int, "_refused": int, "_at": Position}

    def __init__(self, order: RolloutInput) -> None:
        self._order = order
        self._state = RolloutState(order, workflow.now())
        self._controls = Controls()
        self._evidence = Evidence(order)
        self._gatekeeper = Gatekeeper(order, self._state, self._controls, self._evidence, on_change=self._show)
        self._crew = Crew(order, self._state, self._controls, self._evidence, self._gatekeeper, on_change=self._show)
        self._requests = Requests(order, self._state, self._controls, self._obey, self._refuse)
        self._verbs = 0
        self._refused = 0
        self._at = Position()
        self._page_is_due = False

    @property
    def _plan(self) -> Plan:
        return self._state.plan

    @workflow.signal
    async def pause(self, payload: Any = None, *_: Any) -> None:
        """Start nothing new: no batch, no region, no gate; running steps end as they are."""
        await self._obey(Verb.PAUSE, read_request(payload))

    @workflow.signal
    async def resume(self, payload: Any = None, *_: Any) -> None:
        """Go on after a pause."""
        await self._obey(Verb.RESUME, read_request(payload))

    @workflow.signal
    async def rollback(self, payload: Any = None, *_: Any) -> None:
        """Take every touched region back, last wave first."""
        await self._obey(Verb.ROLLBACK, read_request(payload))

    @workflow.signal
    async def retry(self, payload: Any = None, *_: Any) -> None:
        """Try what failed once more."""
        await self._obey(Verb.RETRY, read_request(payload))

    @workflow.signal
    async def skip(self, payload: Any = None, *_: Any) -> None:
        """Go on without what failed."""
        await self._obey(Verb.SKIP, read_request(payload))

    @workflow.signal
    async def cancel(self, payload: Any = None, *_: Any) -> None:
        """End now and leave everything as it is."""
        await self._obey(Verb.CANCEL, read_request(payload))

    @workflow.signal
    async def approve(self, payload: Any = None, *_: Any) -> None:
        """Vote for the gate that asks people; `by` is one of its approvers."""
        await self._obey(Verb.APPROVE, read_request(payload))

    @workflow.signal
    async def reject(self, payload: Any = None, *_: Any) -> None:
        """Vote against the gate that asks people: it fails."""
        await self._obey(Verb.REJECT, read_request(payload))

    @workflow.signal
    async def promote(self, payload: Any = None, *_: Any) -> None:
        """Let the rest of a region follow its canary: of ``regions``, by default of all whose canary waits."""
        await self._obey(Verb.PROMOTE, read_request(payload))

    @workflow.signal
    async def override(self, payload: Any = None, *_: Any) -> None:
        """Let regions start whatever keeps them: ``regions``, by default all that wait. It needs a ``reason``."""
        await self._obey(Verb.OVERRIDE, read_request(payload))

    @workflow.signal
    async def adjust(self, payload: Any = None, *_: Any) -> None:
        """Change what is still to come: an object with keys of an `Adjustment` beside by, reason and id."""
        try:
            request = read_adjustment(payload)
        except BadRequest as error:
            await self._refuse(Verb.ADJUST.value, read_request(payload), str(error))
        else:
            await self._obey(Verb.ADJUST, request)

    @workflow.signal(dynamic=True)
    async def unknown(self, name: str, payloads: Sequence[RawValue]) -> None:
        """Say of a signal with any other name that it has no effect, and which verb may have been meant."""
        name = name[:NAME_KEPT]
        await self._refuse(name, read_request(_first_of(payloads)), unknown_verb(name))

    @workflow.signal(name=REGION_WAITS)
    def region_waits(self, payload: Any = None, *_: Any) -> None:
        """Hear from a region what keeps its next batch from starting; not for people."""
        told = read_signal(RegionWaits, payload)
        if told is not None:
            self._state.hear(told)
            self._show()

    @workflow.update
    async def verb(self, verb: Verb, request: VerbRequest) -> RolloutStatus:
        """Send a verb and get the status after it."""
        await self._obey(verb, request)
        return self.status()

    @verb.validator
    def _may(self, verb: Verb, request: VerbRequest) -> None:
        refusal = self._refusal(verb, request)
        if refusal and not self._controls.repeated(request):
            raise ValueError(refusal)

    @workflow.query
    def status(self) -> RolloutStatus:
        """Where the rollout is and what it waits for."""
        return self._state.status(paused=self._controls.paused, one_way=self._controls.one_way)

    def _refusal(self, verb: Verb, request: VerbRequest) -> str:
        """Why a verb makes no sense now, with the way out; empty when it does."""
        refusal = self._controls.refusal(verb, request)
        if not refusal and verb is Verb.ADJUST:
            try:
                adjusted(self._plan, request.adjust or Adjustment(), self._state.standing)
            except AdjustmentRefused as error:
                return str(error)
        if not refusal and verb is Verb.OVERRIDE:
            return self._state.not_overridden(request)
        return refusal

    async def _obey(self, verb: Verb, request: VerbRequest) -> None:
        if self._controls.repeated(request):
            return
        if verb is Verb.OVERRIDE:
            # Rollouts that began before a region that is tried again could be let start refuse it as they did.
            self._state.overrides_retries = workflow.patched("override-retries")
        refusal = self._refusal(verb, request)
        if refusal:
            await self._refuse(verb.value, request, refusal)
            return
        if verb is Verb.OVERRIDE and not request.regions:
            request = request.model_copy(update={"regions": self._state.kept})
        before = self._plan
        self._controls.apply(verb, request)
        if verb is Verb.ADJUST and request.adjust is not None:
            self._state.adjust(adjusted(before, request.adjust, self._state.standing))
        ballot = self._controls.ballot if verb in VOTES else None
        if ballot is not None:
            self._state.vote(ballot)
        self._verbs += 1
        number = self._verbs
        self._show()
        await self._crew.pass_on(verb, request)
        if self._plan is not before:
            await self._crew.adjust(before)
        await self._evidence.announce_verb(verb, request, number, ballot)

    async def _refuse(self, verb: str, request: VerbRequest, refusal: str) -> None:
        """Leave a trace of what came without anybody who waits for an answer, and has no effect."""
        refusal = refusal[:TEXT_KEPT]
        workflow.logger.warning("%s was refused: %s", verb, refusal)
        if not workflow.patched("tell-refusals"):
            return
        self._refused += 1
        number = self._refused
        self._state.refuse(verb, request, refusal)
        self._show()
        await self._evidence.announce_refusal(verb, request, refusal, number)

    def _end(self, phase: RolloutPhase, reason: str = "") -> None:
        self._go(phase, reason=reason)

    def _go(self, phase: RolloutPhase, waiting_for: str = "", reason: str | None = None) -> None:
        self._state.enter(phase, waiting_for=waiting_for, reason=reason)
        self._show()

    def _tell_end(self, at: datetime | None) -> None:
        """Show when what is waited for ends by itself."""
        self._state.until(at)
        self._show()

    def _show(self) -> None:
        """Let the rollout be found by its state, and write its page once all that happens now has happened.

        A wave of a hundred regions changes a hundred times at once, and one page tells of a thousand regions.
        """
        tell_state("paused" if self._controls.paused else self._state.phase.value)
        if not self._page_is_due:
            self._page_is_due = True
            asyncio.get_running_loop().call_soon(self._write_page)

    def _write_page(self) -> None:
        self._page_is_due = False
        workflow.set_current_details(rollout_details(self.status()))


def _first_of(payloads: Sequence[RawValue]) -> Any:
    try:
        return workflow.payload_converter().from_payload(payloads[0].payload) if payloads else None
    except Exception:  # noqa: BLE001 (nobody can read it, and the rollout must not stumble over it)
        return None
