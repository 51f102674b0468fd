"""When a region may start: windows and freezes by its own clocks, over changes of the clocks too."""

import zoneinfo
from datetime import datetime, timedelta

import pytest

from fraisier.providers.models import HealthCheck
from fraisier.workflows.gates.calendar import opening, origin, problem_with
from fraisier.workflows.plans import RegionPlan, TargetPlan, WindowPlan

OFFICE = WindowPlan(rrule="FREQ=WEEKLY;BYDAY=MO,TU,WE,TH;BYHOUR=9;BYMINUTE=0", start=origin(), lasts=timedelta(hours=8))
NIGHTS = WindowPlan(rrule="FREQ=DAILY;BYHOUR=22;BYMINUTE=0", start=origin(), lasts=timedelta(hours=8))
FRIDAY = WindowPlan(start=datetime(2026, 11, 27), lasts=timedelta(days=3), why="Black Friday")  # noqa: DTZ001


def region(zone: str, *windows: WindowPlan, freezes: tuple[WindowPlan, ...] = ()) -> RegionPlan:
    return RegionPlan(
        name="a",
        targets=(TargetPlan(name="a1", provider="simulated", options={}),),
        health=HealthCheck(command=("true",)),
        time_zone=zone,
        windows=windows,
        freezes=freezes,
    )


@pytest.mark.parametrize(
    ("zone", "at", "until"),
    [
        # Monday 09:00 in New York is 14:00 UTC in winter and 13:00 in summer.
        ("America/New_York", "2026-11-23T13:59:59+00:00", "2026-11-23T14:00:00+00:00"),
        ("America/New_York", "2026-11-23T14:00:00+00:00", None),
        ("America/New_York", "2026-11-23T21:59:59+00:00", None),
        ("America/New_York", "2026-11-23T22:00:00+00:00", "2026-11-24T14:00:00+00:00"),
        ("America/New_York", "2026-07-06T12:59:59+00:00", "2026-07-06T13:00:00+00:00"),
        ("America/New_York", "2026-07-06T13:00:00+00:00", None),
        # From Thursday's evening to Monday, while the clocks go back on Sunday.
        ("America/New_York", "2026-10-29T22:00:00+00:00", "2026-11-02T14:00:00+00:00"),
        ("Asia/Kolkata", "2026-11-23T03:29:59+00:00", "2026-11-23T03:30:00+00:00"),
        ("UTC", "2026-11-23T09:30:00+00:00", None),
    ],
)
def test_a_region_starts_in_its_window_by_its_own_clocks(zone: str, at: str, until: str | None) -> None:
    answer = opening(region(zone, OFFICE), datetime.fromisoformat(at))
    assert answer.until == (datetime.fromisoformat(until) if until else None)
    assert bool(answer.why) is (until is not None)


def test_a_window_lasts_by_the_clock_on_the_wall_when_the_clocks_change() -> None:
    # 22:00 to 06:00 in Berlin: eight hours, nine in the night when the clocks go back.
    berlin = region("Europe/Berlin", NIGHTS)
    assert opening(berlin, datetime.fromisoformat("2026-10-25T04:59:00+00:00")).until is None
    assert opening(berlin, datetime.fromisoformat("2026-10-25T05:00:00+00:00")).until is not None
    assert opening(berlin, datetime.fromisoformat("2026-03-29T03:59:00+00:00")).until is None
    assert opening(berlin, datetime.fromisoformat("2026-03-29T04:00:00+00:00")).until is not None


def test_a_freeze_wins_over_a_window_and_says_until_when_and_why() -> None:
    frozen = region("America/New_York", OFFICE, freezes=(FRIDAY,))
    answer = opening(frozen, datetime.fromisoformat("2026-11-28T12:00:00+00:00"))
    assert answer.until == datetime.fromisoformat("2026-11-30T14:00:00+00:00")
    assert answer.why == "a freeze (Black Friday), until Mon 2026-11-30 09:00 America/New_York, 2026-11-30 14:00 UTC"
    only = opening(region("UTC", freezes=(FRIDAY,)), datetime.fromisoformat("2026-11-28T12:00:00+00:00"))
    assert only.until == datetime.fromisoformat("2026-11-30T00:00:00+00:00")


def test_a_window_in_the_hour_that_comes_twice_opens_and_never_stands_still() -> None:
    twice = WindowPlan(rrule="FREQ=DAILY;BYHOUR=1;BYMINUTE=45", start=origin(), lasts=timedelta(minutes=5))
    at = datetime.fromisoformat("2026-11-01T06:30:00+00:00")  # the second 01:30 of that night in New York
    until = opening(region("America/New_York", twice), at).until
    assert until is not None
    assert at < until <= at + timedelta(days=2)


def test_zones_are_known_on_a_machine_that_has_none() -> None:
    zoneinfo.reset_tzpath(to=())
    zoneinfo.ZoneInfo.clear_cache()
    try:
        answer = opening(region("Pacific/Auckland", OFFICE), datetime.fromisoformat("2026-11-22T19:59:00+00:00"))
    finally:
        zoneinfo.reset_tzpath()
    assert answer.until == datetime.fromisoformat("2026-11-22T20:00:00+00:00")


def test_what_never_opens_says_so() -> None:
    past = WindowPlan(rrule="FREQ=DAILY;UNTIL=20250101T000000", start=origin(), lasts=timedelta(hours=1))
    answer = opening(region("UTC", past), datetime.fromisoformat("2026-11-23T00:00:00+00:00"))
    assert answer.until is None
    assert "none opens within 730 days" in answer.why


@pytest.mark.parametrize(
    ("rrule", "says"),
    [
        ("FREQ=NEVER", "is not an iCalendar RRULE"),
        ("BYDAY=MO", "is not an iCalendar RRULE"),
        ("every monday", "is not an iCalendar RRULE"),
        ("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30", "never happens"),
        ("FREQ=MINUTELY", "more than 2000 times a year"),
        ("DTSTART:20260101T000000\nRRULE:FREQ=DAILY", "must be the rule alone"),
    ],
)
def test_a_rule_that_cannot_be_used_is_refused(rrule: str, says: str) -> None:
    assert says in problem_with(WindowPlan(rrule=rrule, start=origin(), lasts=timedelta(hours=1)))
