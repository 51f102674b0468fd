"""The rollout's desk: where verbs arrive and the status is asked for."""

from typing import Any, ClassVar

from temporalio import workflow

from fraisier.workflows.carrying import Carried, Position
from fraisier.workflows.contracts import Plan, RolloutInput, RolloutPhase
from fraisier.workflows.controls import Controls
from fraisier.workflows.crew import Crew
from fraisier.workflows.details import rollout_details
from fraisier.workflows.evidence import Evidence
from fraisier.workflows.rollout_state import RolloutState
from fraisier.workflows.search import tell_state
from fraisier.workflows.status import RolloutStatus
from fraisier.workflows.verbs import VOTES, Verb, VerbRequest, read_request


class RolloutDesk(Carried):
    """Takes verbs and tells how things stand.

    Signals, each with an empty payload or ``{"by", "reason", "id"}``: ``pause``, ``resume``, ``rollback``, ``retry``,
    ``skip``, ``cancel``, ``approve``, ``reject``; ``rollback`` takes ``"override": true`` too. The update ``verb`` does
    the same and refuses at once what makes no sense now. The query ``status`` answers a `RolloutStatus`.
    """

    KEPT: ClassVar[dict[str, Any]] = {"_verbs": int, "_at": Position}

    def __init__(self, order: RolloutInput) -> None:
        self._order = order
        self._state = RolloutState(order, workflow.now())
        self._controls = Controls()
        self._evidence = Evidence(order)
        self._crew = Crew(order, self._state, self._controls, on_change=self._show)
        self._verbs = 0
        self._at = Position()

    @property
    def _plan(self) -> Plan:
        return self._state.plan

    @workflow.signal
    async def pause(self, payload: Any = None) -> None:
        """Start nothing new: no batch, no region, no gate; running steps end as they are."""
        await self._obey(Verb.PAUSE, read_request(payload))

    @workflow.signal
    async def resume(self, payload: Any = None) -> None:
        """Go on after a pause."""
        await self._obey(Verb.RESUME, read_request(payload))

    @workflow.signal
    async def rollback(self, payload: Any = None) -> None:
        """Take every touched region back, last wave first."""
        await self._obey(Verb.ROLLBACK, read_request(payload))

    @workflow.signal
    async def retry(self, payload: Any = None) -> None:
        """Try what failed once more."""
        await self._obey(Verb.RETRY, read_request(payload))

    @workflow.signal
    async def skip(self, payload: Any = None) -> None:
        """Go on without what failed."""
        await self._obey(Verb.SKIP, read_request(payload))

    @workflow.signal
    async def cancel(self, payload: Any = None) -> None:
        """End now and leave everything as it is."""
        await self._obey(Verb.CANCEL, read_request(payload))

    @workflow.signal
    async def approve(self, payload: Any = None) -> None:
        """Vote for the gate that asks people; `by` is one of its approvers."""
        await self._obey(Verb.APPROVE, read_request(payload))

    @workflow.signal
    async def reject(self, payload: Any = None) -> None:
        """Vote against the gate that asks people: it fails."""
        await self._obey(Verb.REJECT, read_request(payload))

    @workflow.update
    async def verb(self, verb: Verb, request: VerbRequest) -> RolloutStatus:
        """Send a verb and get the status after it."""
        await self._obey(verb, request)
        return self.status()

    @verb.validator
    def _may(self, verb: Verb, request: VerbRequest) -> None:
        refusal = self._controls.refusal(verb, request)
        if refusal and not self._controls.repeated(request):
            raise ValueError(refusal)

    @workflow.query
    def status(self) -> RolloutStatus:
        """Where the rollout is and what it waits for."""
        return self._state.status(paused=self._controls.paused)

    async def _obey(self, verb: Verb, request: VerbRequest) -> None:
        if self._controls.repeated(request):
            return
        refusal = self._controls.refusal(verb, request)
        if refusal:
            workflow.logger.warning("%s was ignored: %s", verb.value, refusal)
            return
        self._controls.apply(verb, request)
        ballot = self._controls.ballot if verb in VOTES else None
        if ballot is not None:
            self._state.vote(ballot)
        self._verbs += 1
        number = self._verbs
        self._show()
        await self._crew.pass_on(verb)
        await self._evidence.announce_verb(verb, request, number, ballot)

    def _end(self, phase: RolloutPhase, reason: str = "") -> None:
        self._go(phase, reason=reason)

    def _go(self, phase: RolloutPhase, waiting_for: str = "", reason: str | None = None) -> None:
        self._state.enter(phase, waiting_for=waiting_for, reason=reason)
        self._show()

    def _show(self) -> None:
        status = self.status()
        workflow.set_current_details(rollout_details(status))
        tell_state("paused" if status.paused else status.phase.value)
