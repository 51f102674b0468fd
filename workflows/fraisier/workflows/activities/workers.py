"""The activity that asks who works."""

from temporalio import activity
from temporalio.exceptions import ApplicationError

from fraisier.workflows.failures import NO_WORKER
from fraisier.workflows.ports import Roster


class WorkerActivities:
    """What the workflows ask of the other workers.

    Args:
        roster: knows who works.
    """

    def __init__(self, roster: Roster) -> None:
        self._roster = roster

    @activity.defn
    async def expect_worker(self, task_queue: str) -> None:
        """Fail for good when nobody polls a region's task queue."""
        if not await self._roster.count(task_queue):
            region = task_queue.rpartition(".")[2]
            raise ApplicationError(
                f"no worker polls the task queue {task_queue}: start one that reaches the region's targets, "
                f"`fraisier worker --region {region}`",
                type=NO_WORKER,
                non_retryable=True,
            )
