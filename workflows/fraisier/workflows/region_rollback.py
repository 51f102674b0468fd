"""`RegionRollbackWorkflow`: takes the touched targets of one region back to what each ran before."""

from collections.abc import Sequence

from temporalio import workflow

from fraisier.workflows.activities.targets import TargetActivities
from fraisier.workflows.arithmetic import batches
from fraisier.workflows.contracts import RegionOutcome, RegionReport, RollbackInput, TargetOutcome
from fraisier.workflows.details import region_details
from fraisier.workflows.hooks import RegionHooks
from fraisier.workflows.plans import TargetPlan
from fraisier.workflows.region_events import tell_of_region
from fraisier.workflows.targets import TargetBoard
from fraisier.workflows.window import in_window, long_enough


@workflow.defn
class RegionRollbackWorkflow:
    """Rolls the touched targets of a region back, in reverse order, health-checked, with no soak.

    A target where it fails is reported and does not stop the others.
    """

    @workflow.init
    def __init__(self, order: RollbackInput) -> None:
        """Set the board up."""
        self._order = order
        touched = {*order.targets}
        region = order.region.model_copy(
            update={"targets": tuple(target for target in reversed(order.region.targets) if target.name in touched)}
        )
        self._targets = region.targets
        self._board = TargetBoard(
            rollout_id=order.rollout_id,
            release=order.release,
            region=region,
            generation=order.generation,
            edition=order.edition,
            carried=order.carried,
        )

        self._hooks = RegionHooks(order.region.hooks, self._board)

    @workflow.run
    async def run(self, order: RollbackInput) -> RegionReport:
        """The rollback's story."""
        for number, batch in enumerate(batches(self._targets, canary=0, max_parallel=order.region.max_parallel)):
            if number < order.batches_done:
                continue
            self._say(f"taking back {self._board.names(batch)}")
            left = await in_window(self._board.standing(TargetOutcome.PENDING, among=batch), self._take_back)
            if not left:
                await self._hooks.run_and_log("batch", "on_rollback", self._back(batch))
            if left or long_enough():
                self._renew(batches_done=number if left else number + 1)
        await self._hooks.run_and_log("region", "on_rollback", self._back(self._targets))
        failed = self._board.counted(TargetOutcome.FAILED)
        outcome = RegionOutcome.ROLLBACK_FAILED if failed else RegionOutcome.ROLLED_BACK
        self._say(outcome.value)
        await self._announce(outcome)
        return self._report(outcome)

    @workflow.query
    def report(self) -> RegionReport:
        """How the targets stand now."""
        return self._report(RegionOutcome.STOPPED)

    def _renew(self, *, batches_done: int) -> None:
        """Go on in a run with a history of its own; nothing is under way."""
        carried = {"carried": self._board.carry(), "batches_done": batches_done}
        workflow.continue_as_new(self._order.model_copy(update=carried))

    async def _take_back(self, target: TargetPlan) -> None:
        previous = self._order.previous.get(target.name)
        behind_proxies = self._order.region.traffic is not None
        if behind_proxies:
            # A proxy that cannot be asked must not keep the target on a release that is worse.
            await self._board.step(TargetActivities.drain, self._board.order("drain", target), needed=False)
        done = await self._board.step(TargetActivities.rollback, self._board.order("rollback", target, to=previous))
        if done is None:
            return
        if previous is not None:
            health = await self._board.step(
                TargetActivities.check_health, self._board.order("verify", target, to=previous, health=True)
            )
            if health is None:
                return
            if not health.healthy:
                self._board.fail(target.name, f"back on {previous.version}, but not healthy: {health.detail}")
                return
            undrain = self._board.order("undrain", target)
            if behind_proxies and await self._board.step(TargetActivities.undrain, undrain) is None:
                return
        self._board.note(target.name, outcome=TargetOutcome.ROLLED_BACK)
        await self._hooks.run_and_log("target", "on_rollback", [target])

    def _back(self, targets: Sequence[TargetPlan]) -> list[TargetPlan]:
        back = self._board.standing(TargetOutcome.ROLLED_BACK)
        return [target for target in targets if target in back]

    async def _announce(self, outcome: RegionOutcome) -> None:
        event_type = "deployment.rolled_back" if outcome is RegionOutcome.ROLLED_BACK else "deployment.failed"
        detail = self._report(outcome).error
        await tell_of_region(self._order, event_type, "rollback", reason=self._order.reason, detail=detail)

    def _report(self, outcome: RegionOutcome) -> RegionReport:
        return RegionReport(region=self._order.region.name, outcome=outcome, targets=self._board.reports())

    def _say(self, doing: str) -> None:
        workflow.set_current_details(region_details(self._order.region.name, doing, self._board.reports()))
