"""How a rollout goes back, how it ends, and how it goes on in a history of its own."""

from collections.abc import Callable, Iterable

from temporalio import workflow
from temporalio.exceptions import ActivityError

from fraisier.providers.duration import format_duration
from fraisier.workflows.carrying import Carried, Position
from fraisier.workflows.contracts import RolloutInput, RolloutPhase, RolloutResult
from fraisier.workflows.failures import describe, with_left
from fraisier.workflows.migrations import Migrations
from fraisier.workflows.plans import OnFailure, WavePlan
from fraisier.workflows.rollout_desk import RolloutDesk
from fraisier.workflows.verbs import Verb
from fraisier.workflows.window import long_enough, never


class RolloutFailed(Exception):
    """The rollout cannot go on; `back` names the regions that shall be taken back first."""

    def __init__(self, reason: str, back: Iterable[str] = ()) -> None:
        super().__init__(reason)
        self.back = tuple(back)


class WayBack(RolloutDesk):
    """What a rollout does when it fails, when somebody ends it, and when its history grows long."""

    def __init__(self, order: RolloutInput) -> None:
        super().__init__(order)
        self._migrations = Migrations(order, self._state, self._controls, self._evidence, on_change=self._show)
        for name, part in self._parts().items():
            part.recall((order.carried or {}).get(name, {}))

    async def _after_failure(self, wave: WavePlan, reason: str, failed: dict[str, OnFailure], brief: str = "") -> Verb:
        """Do what each failed region is to do, then wait for a decision; an inconclusive gate (none) only waits.

        Once there is no clean way back, nothing goes back by itself. People are asked by the `brief` reason, if given.
        """
        self._state.wave(wave.number, "failed")
        failed = {} if self._controls.one_way else failed
        if OnFailure.ROLLBACK_ALL in failed.values():
            raise RolloutFailed(reason, back=self._state.touched)
        back = [name for name, fails in failed.items() if fails is OnFailure.ROLLBACK_REGION]
        left: list[str] = []
        if back:
            self._state.enter(RolloutPhase.ROLLING_BACK, reason=reason)
            left = await self._controls.to_the_end(self._take_back(back, reason, shut=never))
        asked, reason = with_left(brief or reason, left), with_left(reason, left)
        self._go(
            RolloutPhase.DECISION,
            f"a decision: {asked}. Send retry, skip, rollback or cancel",
            reason=reason,
        )
        self._tell_end(workflow.now() + self._plan.decision_timeout)
        decision = await self._controls.decide(self._plan.decision_timeout)
        if decision is None:
            raise RolloutFailed(self._undecided(reason))
        self._state.enter(RolloutPhase.ROLLING_OUT, reason="")
        return decision

    def _undecided(self, reason: str) -> str:
        """Why the rollout has failed where nobody said what shall become of it."""
        waited = self._plan.decision_timeout
        if not waited:
            return reason
        return f"{reason}; nobody decided within {format_duration(waited)}: {self._state.where()}"

    async def _fail(self, failure: RolloutFailed) -> None:
        reason = str(failure)
        await self._evidence.settle()
        if failure.back:
            self._at = self._at.model_copy(update={"failure": reason, "back": failure.back})
            self._state.enter(RolloutPhase.ROLLING_BACK, reason=reason)
            reason = with_left(reason, await self._take_back(failure.back, reason))
        if self._state.generations:
            # What fails before the first region leaves what was expanded: it fits the old release too.
            reason = with_left(reason, await self._take_databases_back())
        if self._controls.ending is Verb.ROLLBACK and any(self._state.touched.values()):
            # Asked while failed regions went back by themselves: the others shall follow.
            await self._end_as_asked()
        else:
            self._end(RolloutPhase.FAILED, reason)

    async def _end_as_asked(self) -> None:
        request = self._controls.request
        asked = f"asked by {request.by or 'a signal'}" + (f": {request.reason}" if request.reason else "")
        await self._evidence.settle()
        await self._crew.stop_regions()
        if self._controls.ending is Verb.CANCEL:
            self._end(RolloutPhase.CANCELLED, f"cancel {asked}; everything stays as it is: {self._state.where()}")
            return
        self._state.enter(RolloutPhase.ROLLING_BACK, reason=f"rollback {asked}")
        self._show()
        left = await self._take_back(self._state.touched, f"rollback {asked}")
        left += await self._take_databases_back()
        phase = RolloutPhase.FAILED if left else RolloutPhase.ROLLED_BACK
        self._end(phase, with_left(f"rollback {asked}", left))

    async def _close(self) -> RolloutResult:
        self._controls.close()
        await self._requests.stop()
        status = self.status()
        types = {RolloutPhase.SUCCEEDED: "completed", RolloutPhase.ROLLED_BACK: "rolled_back"}
        kind = types.get(status.phase, "cancelled" if status.phase is RolloutPhase.CANCELLED else "failed")
        try:
            without = {"without": status.without} if status.without else {}
            await self._evidence.announce(f"deployment.{kind}", data={"reason": status.reason} | without)
        except ActivityError as error:
            # What the rollout did stands, whether or not the streams tell of its end.
            self._go(status.phase, reason=f"{status.reason}; its end could not be told: {describe(error)}".lstrip("; "))
            status = self.status()
        await workflow.wait_condition(workflow.all_handlers_finished)
        return RolloutResult(
            rollout_id=self._order.rollout_id,
            phase=status.phase,
            reason=status.reason,
            regions=self._state.ended_regions(),
            without=status.without,
            undo=self._state.undo(),
            one_way=self._controls.one_way,
        )

    async def _take_back(
        self, names: Iterable[str], reason: str, *, shut: Callable[[], bool] = long_enough
    ) -> list[str]:
        """Take touched regions back; returns what could not be, for people, of earlier runs of the workflow too."""
        left = dict(self._at.left)
        touched = [name for name in names if self._state.touched.get(name) and name not in left]
        if touched:
            generation = await self._evidence.mint("rollback")
            left |= await self._crew.take_back(touched, generation, reason, shut=shut)
            if self._crew.put_off:
                await self._renew(self._at.model_copy(update={"left": left}))
        return [f"{name}: {error}" for name, error in left.items()]

    async def _take_databases_back(self) -> list[str]:
        """Undo what was expanded, unless some target still runs the release that needs it."""
        return [] if any(self._state.touched.values()) else await self._migrations.take_back()

    # -- the next run --------------------------------------------------------------------------------------

    async def _renew(self, at: Position) -> None:
        """Go on at a position in a run with a history of its own; nothing is under way that the next one needs.

        Raises:
            Interrupted: it was asked to end while a verb was still being obeyed, so it goes back in this run.
        """
        back = self._state.phase is RolloutPhase.ROLLING_BACK
        await self._evidence.settle()
        await self._requests.stop()
        await self._controls.obeyed(heed=not back)
        self._at = at
        carried = {name: part.carry() for name, part in self._parts().items()}
        workflow.continue_as_new(self._order.model_copy(update={"plan": self._plan, "carried": carried}))

    def _parts(self) -> dict[str, Carried]:
        """Whatever the next run must know, under the name by which it is handed over."""
        return {
            "desk": self,
            "state": self._state,
            "controls": self._controls,
            "evidence": self._evidence,
            "gatekeeper": self._gatekeeper,
            "requests": self._requests,
        }
