"""When a region may start, by its windows and freezes. Pure: the time comes from outside."""

from datetime import datetime, timedelta, timezone
from itertools import islice
from zoneinfo import ZoneInfo

from dateutil.rrule import rrulestr

from fraisier.workflows.plans import RegionPlan, WindowPlan
from fraisier.workflows.steps import Opening

HORIZON = timedelta(days=730)
"""How far ahead an opening is looked for."""

A_YEAR = timedelta(days=366)
MOST_A_YEAR = 2000
"""How often a rule may begin in a year; more would take long to count through."""

_ORIGIN = datetime(2024, 1, 1)  # noqa: DTZ001 (a local time; a Monday)


def opening(region: RegionPlan, at: datetime) -> Opening:
    """Whether the region may start at a time, or when it may.

    Args:
        at: a time with a zone.
    """
    zone = ZoneInfo(region.time_zone)
    time, why = at, ""
    while time - at < HORIZON:
        freeze = next((end for end in (_end(one, time, zone) for one in region.freezes) if end is not None), None)
        if freeze is not None:
            end, name = freeze
            time, why = end, why or f"a freeze{name}"
        elif not region.windows or any(_end(one, time, zone) for one in region.windows):
            return _told(region, time, why, zone) if why else Opening()
        else:
            begins = [begin for begin in (_begin(one, time, zone) for one in region.windows) if begin is not None]
            if not begins:
                break
            time, why = min(begins), why or "no window is open"
    return Opening(why=f"{why or 'no window is open'}, and none opens within {HORIZON.days} days")


def problem_with(window: WindowPlan) -> str:
    """What is wrong with a window or a freeze by itself; empty when nothing is."""
    if not window.rrule:
        return ""
    if ":" in window.rrule:
        return "must be the rule alone, such as FREQ=DAILY;BYHOUR=9; start stands beside it"
    try:
        rule = rrulestr(window.rrule, dtstart=window.start)
        begins = list(islice(rule, MOST_A_YEAR + 1))
    except (ValueError, TypeError, AttributeError) as error:
        return f"is not an iCalendar RRULE such as FREQ=WEEKLY;BYDAY=MO,TU;BYHOUR=9;BYMINUTE=0: {error}"
    if not begins:
        return "never happens"
    if len(begins) > MOST_A_YEAR and begins[-1] - begins[0] < A_YEAR:
        return f"begins more than {MOST_A_YEAR} times a year; write fewer and longer ones"
    return ""


def origin() -> datetime:
    """Where a rule without a start begins to count: a Monday's midnight."""
    return _ORIGIN


def _end(window: WindowPlan, at: datetime, zone: ZoneInfo) -> tuple[datetime, str] | None:
    """When the window that is open at a time closes, with its name; None when it is not open."""
    begin = _last(window, _local(at, zone))
    if begin is None:
        return None
    end = _aware(begin + window.lasts, zone)
    return (end, f" ({window.why})" if window.why else "") if end > at else None


def _begin(window: WindowPlan, after: datetime, zone: ZoneInfo) -> datetime | None:
    """When the window opens next."""
    local = _local(after, zone)
    if window.rrule:
        begin = rrulestr(window.rrule, dtstart=window.start).after(local)
    else:
        begin = window.start if window.start > local else None
    if begin is None:
        return None
    opens = _aware(begin, zone)
    # In the hour that the clocks go through twice, it may lie behind: then go on, and never stand still.
    return opens if opens > after else after + timedelta(minutes=1)


def _last(window: WindowPlan, local: datetime) -> datetime | None:
    if window.rrule:
        begin: datetime | None = rrulestr(window.rrule, dtstart=window.start).before(local, inc=True)
        return begin
    return window.start if window.start <= local else None


def _told(region: RegionPlan, time: datetime, why: str, zone: ZoneInfo) -> Opening:
    local = time.astimezone(zone)
    utc = "" if region.time_zone == "UTC" else f", {time.astimezone(timezone.utc):%F %H:%M} UTC"
    return Opening(until=time, why=f"{why}, until {local:%a %F %H:%M} {region.time_zone}{utc}")


def _local(time: datetime, zone: ZoneInfo) -> datetime:
    return time.astimezone(zone).replace(tzinfo=None)


def _aware(local: datetime, zone: ZoneInfo) -> datetime:
    """A local time as an instant. One that the clocks skip lies as far behind the change as it says."""
    return local.replace(tzinfo=zone).astimezone(timezone.utc)
