"""A rollout as another Fraisier might have it: what it did first is done second now."""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from fraisier.workflows.contracts import RolloutInput, RolloutResult
from fraisier.workflows.rollout import RolloutWorkflow


@workflow.defn(name="RolloutWorkflow")
class ChangedRolloutWorkflow(RolloutWorkflow):
    @workflow.init
    def __init__(self, order: RolloutInput) -> None:
        super().__init__(order)

    @workflow.run
    async def run(self, order: RolloutInput) -> RolloutResult:
        await workflow.sleep(0.01)
        return await super().run(order)
