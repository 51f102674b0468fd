"""`LookWorkflow`: what runs where, asked of the targets themselves. Changes nothing."""

import asyncio

from temporalio import workflow

from fraisier.workflows.placement import look
from fraisier.workflows.steps import LookInput, RegionLook


@workflow.defn
class LookWorkflow:
    """Asks every target of a service what it runs, through the workers that hold the targets' keys."""

    @workflow.run
    async def run(self, asked: tuple[LookInput, ...]) -> tuple[RegionLook, ...]:
        """Look at all regions at once."""
        return tuple(await asyncio.gather(*map(look, asked)))
