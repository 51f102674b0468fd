"""The real `Roster`: Temporal knows who polls its task queues. Only workers and clients import this."""

from datetime import datetime, timedelta, timezone

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client

RECENT = timedelta(seconds=70)
"""A poll lasts a minute at most, and Temporal tells of pollers for five minutes after the last one of theirs."""


class TemporalRoster:
    """Who works.

    Args:
        temporal: the server, in the namespace of the workers.
    """

    def __init__(self, temporal: Client) -> None:
        self._temporal = temporal

    async def count(self, task_queue: str) -> int:
        """How many workers polled a task queue within the last 70 seconds; one that was just killed still counts.

        Polls for workflows count, for a worker whose steps fill all its slots asks for no more activities.
        """
        answer = await self._temporal.workflow_service.describe_task_queue(
            DescribeTaskQueueRequest(
                namespace=self._temporal.namespace,
                task_queue=TaskQueue(name=task_queue),
                task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
            )
        )
        since = datetime.now(timezone.utc) - RECENT
        return sum(one.last_access_time.ToDatetime(timezone.utc) >= since for one in answer.pollers)
