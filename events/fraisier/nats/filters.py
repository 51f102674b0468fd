"""`EventFilter`: which events a handler wants."""

import functools
import re
from fnmatch import fnmatchcase, translate

from pydantic import BaseModel, ConfigDict

from fraisier.nats.events import Event


class EventFilter(BaseModel):
    """Which events a handler wants. What is not given matches any; ``*``, ``?`` and ``[…]`` are wildcards."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    event_type: str | None = None
    service: str | None = None
    region: str | None = None
    deployment_id: str | None = None
    target: str | None = None

    def matches(self, event: Event) -> bool:
        """Whether the event is wanted."""
        return all(pattern.match(str(getattr(event, key) or "")) for key, pattern in self._patterns)

    def may_want(self, event_type: str) -> bool:
        """Whether events of a type could be wanted, whatever else is filtered."""
        return self.event_type is None or fnmatchcase(str(event_type), self.event_type)

    @functools.cached_property
    def _patterns(self) -> tuple[tuple[str, "re.Pattern[str]"], ...]:
        given = self.model_dump(exclude_none=True)
        return tuple((key, re.compile(translate(str(pattern)))) for key, pattern in given.items())
