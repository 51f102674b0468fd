"""How a region workflow works through its targets: starts steps, remembers what they did, stops them when asked."""

from collections.abc import Iterable
from typing import Any

from temporalio import workflow
from temporalio.exceptions import ActivityError, FailureError

from fraisier.providers.hooks import Hook
from fraisier.providers.models import FencingToken, ReleaseRef, Step
from fraisier.workflows.activities.targets import TargetActivities
from fraisier.workflows.contracts import BoardCarry, TargetOutcome, TargetReport
from fraisier.workflows.failures import describe, was_cancelled, was_not_taken
from fraisier.workflows.placement import run_placed
from fraisier.workflows.plans import RegionPlan, ReleasePlan, TargetPlan
from fraisier.workflows.policy import Options
from fraisier.workflows.steps import HookInput, StepInput, StepsInput
from fraisier.workflows.together import Together


class TargetBoard:
    """The targets of one region and how each stands. Deterministic, so it lives in a workflow.

    Args:
        rollout_id: the rollout.
        release: what is shipped.
        region: the region's plan.
        generation: the fencing generation of this run.
        edition: see `EDITION`.
        carried: what an earlier run of the workflow knew.
    """

    def __init__(
        self,
        *,
        rollout_id: str,
        release: ReleasePlan,
        region: RegionPlan,
        generation: int,
        edition: int,
        carried: BoardCarry | None = None,
    ) -> None:
        self._rollout_id = rollout_id
        self._release = release
        self._region = region
        self._generation = generation
        # A dict for its order: a set's differs from replay to replay, and commands follow it.
        self._running: dict[Any, None] = {}
        self._reports = {target.name: TargetReport(target=target.name) for target in region.targets}
        self._ordinals: dict[str, int] = {}
        self._ordinal = 0
        if carried is not None:
            self._reports |= {report.target: report for report in carried.reports}
            self._ordinal = carried.ordinal
        self._stopping = False
        self._together = Together(self._run, edition)

    @property
    def stopping(self) -> bool:
        """Whether no step may start any more."""
        return self._stopping

    def carry(self) -> BoardCarry:
        """What the workflow's next run must know."""
        return BoardCarry(reports=self.reports(), ordinal=max((self._ordinal, *self._ordinals.values())))

    def note(self, target: str, **changes: Any) -> None:
        """Remember something of a target."""
        self._reports[target] = self._reports[target].model_copy(update=changes)

    def fail(self, target: str, error: str) -> None:
        """Count a target as failed."""
        self.note(target, outcome=TargetOutcome.FAILED, error=error)

    def fail_or_stop(self, target: str, error: str) -> None:
        """Count a target as failed, unless its steps were asked to end."""
        if self._stopping:
            self.note(target, outcome=TargetOutcome.STOPPED)
        else:
            self.fail(target, error)

    def reports(self) -> tuple[TargetReport, ...]:
        """How every target stands, in the plan's order."""
        return tuple(self._reports.values())

    def counted(self, *outcomes: TargetOutcome) -> int:
        """How many targets stand so."""
        return sum(report.outcome in outcomes for report in self._reports.values())

    def standing(self, *outcomes: TargetOutcome, among: Iterable[TargetPlan] | None = None) -> list[TargetPlan]:
        """The targets that stand so: of all, in the plan's order, or of those that are given, in theirs."""
        asked = self._region.targets if among is None else among
        return [target for target in asked if self._reports[target.name].outcome in outcomes]

    def stop(self) -> None:
        """Let no step start any more, and ask the running ones to end."""
        self._stopping = True
        for handle in self._running:
            handle.cancel()

    def order(self, name: str, target: TargetPlan, *, to: ReleaseRef | None = None, health: bool = False) -> StepInput:
        """The input of a step on a target."""
        step = self._next_step(name, target)
        check = self._region.health if health else None
        traffic = self._region.traffic if name in ("drain", "undrain") else None
        return StepInput(step=step, target=target, release=self._release, health=check, traffic=traffic, to=to)

    async def step(self, activity: Any, order: StepInput, *, needed: bool = True) -> Any:
        """Run a step and return its result, or None after the target was noted as failed or stopped.

        Args:
            activity: the step's activity.
            order: its input, see `order`.
            needed: False for a step whose failure is only logged.
        """
        target = order.target.name
        if self._stopping:
            return None
        try:
            return await self._together.take(activity, order)
        except FailureError as error:
            if self.stopping and (was_cancelled(error) or was_not_taken(error)):
                self.note(target, outcome=TargetOutcome.STOPPED)
            elif not needed:
                workflow.logger.warning("%s: %s failed: %s", target, order.step.name, describe(error))
            else:
                self.fail(target, describe(error))
            return None

    async def hook(self, name: str, target: TargetPlan, hook: Hook) -> str:
        """Run a hook at a target or for it; what went wrong, or nothing."""
        if self._stopping:
            return "it was asked to end"
        step = self._next_step(f"hook-{name}", target)
        order = HookInput(step=step, target=target, version=self._release.version, hook=hook)
        try:
            await self._run(TargetActivities.run_hook, order, f"{name} {target.name}: {hook.run[0]}")
        except ActivityError as error:
            return describe(error)
        return ""

    async def _run(self, activity: Any, order: StepInput | StepsInput | HookInput, summary: str) -> Any:
        async def once(options: Options, offers: int) -> Any:
            asked = order.offered(offers)
            handle = workflow.start_activity_method(activity, asked, summary=summary, **options)
            self._running[handle] = None
            try:
                return await handle
            finally:
                self._running.pop(handle, None)

        return await run_placed(self._region, once, given_up=lambda: self._stopping)

    def _next_step(self, name: str, target: TargetPlan) -> Step:
        """A step whose token is higher than that of every step before it at this target."""
        ordinal = self._ordinals[target.name] = self._ordinals.get(target.name, self._ordinal) + 1
        return Step(
            rollout_id=self._rollout_id,
            service=self._release.service,
            region=self._region.name,
            target=target.name,
            name=name,
            token=FencingToken(generation=self._generation, ordinal=ordinal, attempt=0),
        )

    def names(self, targets: Iterable[TargetPlan]) -> str:
        """Names for people."""
        return ", ".join(target.name for target in targets)
