"""`LookWorkflow`: what runs where, asked of the targets themselves. Changes nothing."""

import asyncio

from temporalio import workflow

from fraisier.workflows.activities.targets import TargetActivities
from fraisier.workflows.policy import STEP
from fraisier.workflows.steps import LookInput, RegionLook


@workflow.defn
class LookWorkflow:
    """Asks every target of a service what it runs, through the workers that hold the targets' keys."""

    @workflow.run
    async def run(self, asked: tuple[LookInput, ...]) -> tuple[RegionLook, ...]:
        """Look at all regions at once."""
        return tuple(
            await asyncio.gather(
                *(
                    workflow.execute_activity_method(
                        TargetActivities.look, one, summary=f"look at {one.region.name}", **STEP
                    )
                    for one in asked
                )
            )
        )
