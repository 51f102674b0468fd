"""The activity of windows and freezes.

It asks no clock: the time comes from the workflow. It is an activity because it reads the zones' rules, which differ
between machines, and an answer in the history stays the same when the workflow is replayed elsewhere.
"""

from temporalio import activity

from fraisier.workflows.gates.calendar import opening
from fraisier.workflows.steps import Opening, OpeningInput


class CalendarActivities:
    """When regions may start."""

    @activity.defn
    async def opening(self, asked: OpeningInput) -> Opening:
        """Whether a region may start, or when it may."""
        return opening(asked.region, asked.at)
