"""The health check's loop, with a clock of its own: ten minutes take no time."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import pytest

from fraisier.providers.health import Sighting, watch
from fraisier.providers.models import HealthCheck, HealthResult

GOOD = Sighting(passed=True, detail="HTTP 200")
BAD = Sighting(passed=False, detail="HTTP 500")
SILENT = Sighting(passed=False, detail="nothing there", answered=False)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


async def look(sightings: Sequence[Sighting], **check: object) -> HealthResult:
    """Watch a target that shows these one after the other, and the last one for ever."""
    left, clock = list(sightings), Clock()

    async def probe() -> Sighting:
        return left.pop(0) if len(left) > 1 else left[0]

    settings = {"tcp": "h:1", "interval": timedelta(seconds=1), "progress_deadline": timedelta(minutes=10), **check}
    return await watch(probe, HealthCheck(**settings), clock=lambda: clock.now, sleep=clock.sleep)


async def test_it_must_pass_so_often_in_a_row():
    found = await look([GOOD, GOOD, BAD, GOOD, GOOD, GOOD, BAD], healthy_after=3)
    assert (found.healthy, found.attempts, found.duration_s) == (True, 6, 5.0)


async def test_errors_until_the_deadline_are_a_failure():
    found = await look([SILENT, BAD])
    assert (found.healthy, found.timed_out, found.detail) == (False, False, "HTTP 500")
    assert 599 <= found.duration_s <= 600


async def test_silence_until_the_deadline_is_a_timeout():
    found = await look([BAD, SILENT])
    assert (found.healthy, found.timed_out, found.detail) == (False, True, "nothing there")


async def test_flapping_is_not_health():
    found = await look([GOOD, BAD] * 400, healthy_after=2)
    assert not found.healthy


async def test_a_last_good_probe_does_not_hide_that_it_was_the_only_one():
    found = await look([BAD] * 599 + [GOOD], healthy_after=3)
    assert (found.healthy, found.timed_out) == (False, False)
    assert "but not 3 times in a row" in found.detail


async def test_it_must_stay_healthy_for_a_while():
    found = await look([GOOD], healthy_after=2, min_healthy_time=timedelta(seconds=30))
    assert (found.healthy, found.attempts, found.duration_s) == (True, 32, 31.0)


@pytest.mark.parametrize("relapse", [BAD, SILENT])
async def test_a_relapse_fails_at_once_however_much_time_is_left(relapse: Sighting):
    found = await look([GOOD] * 5 + [relapse, GOOD], healthy_after=2, min_healthy_time=timedelta(seconds=30))
    assert (found.healthy, found.timed_out, found.attempts) == (False, False, 6)
    assert found.detail == f"{relapse.detail}, within 30s of being healthy"


async def test_the_time_to_stay_healthy_comes_on_top_of_the_deadline():
    found = await look([BAD] * 500 + [GOOD], min_healthy_time=timedelta(minutes=5))
    assert found.healthy
    assert found.duration_s > 700


async def test_every_failed_probe_that_another_follows_is_told_and_telling_takes_no_time():
    clock, told = Clock(), []
    left = [BAD, SILENT, GOOD, BAD, GOOD, GOOD]

    async def probe() -> Sighting:
        return left.pop(0)

    async def retried(failures: int, seen: Sighting) -> None:
        told.append((failures, seen.detail))
        clock.now += 1000  # the streams are away

    check = HealthCheck(tcp="h:1", interval=timedelta(seconds=1), healthy_after=2)
    found = await watch(probe, check, retried=retried, clock=lambda: clock.now, sleep=clock.sleep)
    assert (found.healthy, found.duration_s) == (True, 5.0)
    assert told == [(1, "HTTP 500"), (2, "nothing there"), (3, "HTTP 500")]


async def test_a_probe_that_hangs_is_cut_off():
    async def hang() -> Sighting:
        await asyncio.Event().wait()
        raise AssertionError

    check = HealthCheck(
        tcp="h:1", timeout=timedelta(milliseconds=50), interval=timedelta(0), progress_deadline=timedelta(seconds=0.4)
    )
    found = await watch(hang, check)
    assert (found.healthy, found.timed_out, found.detail) == (False, True, "no answer within 0.05 s")
    assert found.attempts >= 4


async def test_a_probe_that_only_the_deadline_cut_short_hides_no_answer():
    answers = [BAD]

    async def once_then_hang() -> Sighting:
        if answers:
            return answers.pop()
        await asyncio.Event().wait()
        raise AssertionError

    check = HealthCheck(tcp="h:1", interval=timedelta(0), progress_deadline=timedelta(seconds=0.2))
    found = await watch(once_then_hang, check)
    assert (found.timed_out, found.detail) == (False, "HTTP 500")
