"""Timeouts and retries of every activity, in one table."""

from datetime import timedelta
from typing import TypedDict

from temporalio.common import RetryPolicy
from temporalio.workflow import ActivityCancellationType

UNREACHABLE_AFTER_S = 30.0
"""How long a step goes on trying a target that does not answer before it counts as failed."""

HEARTBEAT_EVERY = timedelta(seconds=2)

TAKEN_WITHIN = timedelta(seconds=60)
"""How long a step waits for a region's own workers before it is asked whether there are any."""


AT_ONCE = 100
"""How many steps a region's workflow has under way, and how many regions a rollout: what is under way when a history is
long enough comes on top of it, and Temporal lets a workflow have at most 2,000. Another number
needs a patch: what runs has as many under way as it began with."""


class Options(TypedDict, total=False):
    """The options of `start_activity_method` that a policy sets."""

    start_to_close_timeout: timedelta
    heartbeat_timeout: timedelta
    retry_policy: RetryPolicy
    cancellation_type: ActivityCancellationType
    task_queue: str
    schedule_to_start_timeout: timedelta


def _options(start_to_close: timedelta) -> Options:
    # No limit on attempts: what is left to Temporal is the loss of a worker, and a rollout outlives workers.
    return Options(
        start_to_close_timeout=start_to_close,
        heartbeat_timeout=timedelta(seconds=10),
        retry_policy=RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(seconds=10)),
        cancellation_type=ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
    )


STEP = _options(timedelta(hours=1))
"""A step on a target: an upload may be long."""

EVENT = _options(timedelta(hours=24))
"""Publishing, minting and reading positions: they wait while NATS is away instead of failing."""

LISTEN: Options = {**EVENT, "cancellation_type": ActivityCancellationType.TRY_CANCEL}
"""Waiting for what somebody may say: it has no effect, so nobody waits for its end."""


def placed(task_queue: str) -> Options:
    """A step for a region's own workers."""
    return Options(**STEP, task_queue=task_queue, schedule_to_start_timeout=TAKEN_WITHIN)


def migrating(options: Options, timeout: timedelta) -> Options:
    """A migration's command ends by its own deadline, and may wait as long for another one before."""
    found = options.copy()
    found["start_to_close_timeout"] = 2 * timeout + timedelta(minutes=10)
    return found


def gate(timeout: timedelta) -> Options:
    """A gate activity decides by its own deadline; Temporal's is only the net below it."""
    return _options(timeout + timedelta(minutes=10))
