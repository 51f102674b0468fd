"""How a region workflow works through its targets: starts steps, remembers what they did, stops them when asked."""

from collections.abc import Iterable
from typing import Any

from temporalio import workflow
from temporalio.exceptions import ActivityError

from fraisier.providers.models import FencingToken, ReleaseRef, Step
from fraisier.workflows.contracts import RegionPlan, ReleasePlan, TargetOutcome, TargetPlan, TargetReport
from fraisier.workflows.failures import describe, was_cancelled
from fraisier.workflows.policy import STEP
from fraisier.workflows.steps import StepInput

ORDINALS = {"stage": 1, "activate": 2, "health": 3, "prune": 4, "rollback": 1, "verify": 2}
"""A step's place in its generation, the middle part of the fencing token."""


class TargetBoard:
    """The targets of one region and how each stands. Deterministic, so it lives in a workflow.

    Args:
        rollout_id: the rollout.
        release: what is shipped.
        region: the region's plan.
        generation: the fencing generation of this run.
    """

    def __init__(self, *, rollout_id: str, release: ReleasePlan, region: RegionPlan, generation: int) -> None:
        self._rollout_id = rollout_id
        self._release = release
        self._region = region
        self._generation = generation
        # A dict for its order: a set's differs from replay to replay, and commands follow it.
        self._running: dict[Any, None] = {}
        self._reports = {target.name: TargetReport(target=target.name) for target in region.targets}
        self._stopping = False

    @property
    def stopping(self) -> bool:
        """Whether no step may start any more."""
        return self._stopping

    def note(self, target: str, **changes: Any) -> None:
        """Remember something of a target."""
        self._reports[target] = self._reports[target].model_copy(update=changes)

    def fail(self, target: str, error: str) -> None:
        """Count a target as failed."""
        self.note(target, outcome=TargetOutcome.FAILED, error=error)

    def reports(self) -> tuple[TargetReport, ...]:
        """How every target stands, in the plan's order."""
        return tuple(self._reports.values())

    def counted(self, *outcomes: TargetOutcome) -> int:
        """How many targets stand so."""
        return sum(report.outcome in outcomes for report in self._reports.values())

    def standing(self, *outcomes: TargetOutcome) -> list[TargetPlan]:
        """The targets that stand so, in the plan's order."""
        return [target for target in self._region.targets if self._reports[target.name].outcome in outcomes]

    def stop(self) -> None:
        """Let no step start any more, and ask the running ones to end."""
        self._stopping = True
        for handle in self._running:
            handle.cancel()

    def order(self, name: str, target: TargetPlan, *, to: ReleaseRef | None = None, health: bool = False) -> StepInput:
        """The input of a step on a target."""
        token = FencingToken(generation=self._generation, ordinal=ORDINALS[name], attempt=0)
        step = Step(
            rollout_id=self._rollout_id,
            service=self._release.service,
            region=self._region.name,
            target=target.name,
            name=name,
            token=token,
        )
        check = self._region.health if health else None
        return StepInput(step=step, target=target, release=self._release, health=check, to=to)

    async def step(self, activity: Any, order: StepInput) -> Any:
        """Run a step and return its result, or None after the target was noted as failed or stopped."""
        target = order.target.name
        if self._stopping:
            return None
        handle = workflow.start_activity_method(
            activity,
            order,
            summary=f"{order.step.name} {target} → {(order.to or order.release).version}",
            **STEP,
        )
        self._running[handle] = None
        try:
            return await handle
        except ActivityError as error:
            if self.stopping and was_cancelled(error):
                self.note(target, outcome=TargetOutcome.STOPPED)
            else:
                self.fail(target, describe(error))
            return None
        finally:
            self._running.pop(handle, None)

    def names(self, targets: Iterable[TargetPlan]) -> str:
        """Names for people."""
        return ", ".join(target.name for target in targets)
