"""Runs a region's hooks, in their order. Deterministic, so it lives in a workflow."""

from collections.abc import Sequence

from temporalio import workflow

from fraisier.providers.hooks import Hooks, Moment, Scope
from fraisier.workflows.plans import TargetPlan
from fraisier.workflows.targets import TargetBoard


class RegionHooks:
    """A region's hooks.

    Args:
        hooks: what the manifest says; None runs nothing.
        board: the region's targets.
    """

    def __init__(self, hooks: Hooks | None, board: TargetBoard) -> None:
        self._hooks = hooks or Hooks()
        self._board = board

    def has(self, scope: Scope, moment: Moment) -> bool:
        """Whether anything runs then."""
        return bool(self._hooks.at(scope, moment))

    async def run(self, scope: Scope, moment: Moment, targets: Sequence[TargetPlan]) -> bool:
        """Run a moment's hooks over targets; when one fails, the later ones do not run and all the targets fail."""
        error = await self._run(scope, moment, targets)
        for target in targets if error else ():
            self._board.fail_or_stop(target.name, error)
        return not error

    async def run_and_log(self, scope: Scope, moment: Moment, targets: Sequence[TargetPlan]) -> None:
        """The same, where it is too late to fail: what goes wrong is logged."""
        error = await self._run(scope, moment, targets)
        if error:
            workflow.logger.warning("%s", error)

    async def _run(self, scope: Scope, moment: Moment, targets: Sequence[TargetPlan]) -> str:
        if not targets:
            return ""
        for number, hook in enumerate(self._hooks.at(scope, moment), start=1):
            error = await self._board.hook(f"{scope}-{moment}-{number}", targets[0], hook)
            if error:
                return f"the hook {moment} the {scope} failed: {error}"
        return ""
