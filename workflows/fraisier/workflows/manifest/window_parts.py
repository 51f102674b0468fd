"""A window or a freeze in a manifest."""

from datetime import timedelta
from typing import Annotated

from pydantic import Field, NaiveDatetime, model_validator

from fraisier.providers.duration import Duration
from fraisier.workflows.gates.calendar import origin
from fraisier.workflows.manifest.parts import Part
from fraisier.workflows.plans import WindowPlan


class WindowPart(Part):
    """A stretch of time by the region's clocks, once or again and again.

    Attributes:
        rrule: an iCalendar recurrence rule (RFC 5545), such as ``FREQ=WEEKLY;BYDAY=MO,TU;BYHOUR=9;BYMINUTE=0``.
        start: when it begins, or for a rule where its counting begins; by default midnight of a Monday long ago.
        for_: how long it is, by the clock on the wall.
        why: what people call it.
    """

    rrule: str = ""
    start: NaiveDatetime | None = None
    for_: Annotated[Duration, Field(alias="for")]
    why: str = ""

    @model_validator(mode="after")
    def _some_time(self) -> "WindowPart":
        if not self.rrule and self.start is None:
            raise ValueError("give an rrule, a start or both")
        if self.for_ <= timedelta(0):
            raise ValueError("for must be longer than nothing")
        return self

    @property
    def plan(self) -> WindowPlan:
        """With its defaults resolved."""
        return WindowPlan(rrule=self.rrule, start=self.start or origin(), lasts=self.for_, why=self.why)
