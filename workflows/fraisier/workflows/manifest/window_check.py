"""Whether a region's windows and freezes make sense."""

from collections.abc import Iterator
from datetime import datetime, timezone
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from fraisier.workflows.gates.calendar import opening, problem_with
from fraisier.workflows.manifest.errors import Problem
from fraisier.workflows.manifest.models import RegionPart
from fraisier.workflows.planning import plan_region


def window_problems(name: str, part: RegionPart) -> Iterator[Problem]:
    """What is wrong with a region's zone, windows and freezes."""
    region = plan_region(name, part)
    here = f"regions.{name}"
    found = [
        Problem(f"{here}.{key}.{place}.rrule", why)
        for key, windows in (("windows", region.windows), ("freezes", region.freezes))
        for place, window in enumerate(windows)
        if (why := problem_with(window))
    ]
    if why := _zone_problem(region.time_zone):
        found.append(Problem(f"{here}.time_zone", why))
    yield from found
    if not found and (region.windows or region.freezes):
        when = opening(region, datetime.now(timezone.utc))
        if when.why and when.until is None:
            yield Problem(f"{here}.{'windows' if region.windows else 'freezes'}", f"it could never start: {when.why}")


def _zone_problem(name: str) -> str:
    """Why a zone cannot be used; empty when it can."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return f"{name} is no IANA time zone, such as America/New_York"
    return ""
