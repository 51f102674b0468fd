"""The loop of a health check: probe until it passed often enough in a row, and stayed so, or its deadline is over."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from fraisier.providers.duration import format_duration
from fraisier.providers.models import HealthCheck, HealthResult

Clock = Callable[[], float]
"""Seconds that only grow."""

Sleep = Callable[[float], Awaitable[object]]
"""Waits so many seconds."""


@dataclass(frozen=True)
class Sighting:
    """What one probe saw.

    Attributes:
        passed: whether it was as it should be.
        detail: what was seen, for people.
        answered: whether there was an answer at all; silence until the deadline is a timeout, not a failure.
    """

    passed: bool
    detail: str
    answered: bool = True


Probe = Callable[[], Awaitable[Sighting]]
"""Looks once. It raises only what ends the whole check."""


Retried = Callable[[int, Sighting], Awaitable[object]]
"""Hears of every failed probe that another one follows: how many there were by now, and what was seen."""


async def watch(
    probe: Probe,
    check: HealthCheck,
    *,
    retried: Retried | None = None,
    clock: Clock | None = None,
    sleep: Sleep = asyncio.sleep,
) -> HealthResult:
    """Probe until a verdict.

    Args:
        probe: looks once; it is given at most ``check.timeout``.
        check: how often, how long and how many in a row.
        retried: hears of failed probes; the time that it takes is not the target's.
        clock: the time; the event loop's unless a test brings another.
        sleep: waits between two probes.
    """
    watching = _Watch(probe, check, retried, clock or asyncio.get_running_loop().time, sleep)
    healthy = await watching.becomes_healthy() and await watching.stays_healthy()
    return watching.result(healthy=healthy)


class _Watch:
    """One health check under way."""

    def __init__(self, probe: Probe, check: HealthCheck, retried: Retried | None, clock: Clock, sleep: Sleep) -> None:
        self._probe, self._check, self._retried, self._now, self._sleep = probe, check, retried, clock, sleep
        self._timeout, self._interval = check.timeout.total_seconds(), check.interval.total_seconds()
        self._started = clock()
        self._attempts = self._failures = 0
        self._seen = Sighting(
            passed=False,
            answered=False,
            detail=f"no answer within {check.progress_deadline.total_seconds():g} s",
        )
        self._relapsed = False

    async def becomes_healthy(self) -> bool:
        """Whether it passed often enough in a row before the deadline."""
        deadline = self._check.progress_deadline.total_seconds()
        in_a_row = 0
        while True:
            latest = await self._once(max(deadline - (self._now() - self._started), 0.0))
            # A probe that only the deadline cut short tells less than the one before it.
            self._seen = latest or self._seen
            in_a_row = in_a_row + 1 if latest and latest.passed else 0
            if in_a_row >= self._check.healthy_after:
                return True
            if self._now() - self._started + self._interval >= deadline:
                return False
            if latest and not latest.passed:
                await self._tell_of(latest)
            await self._sleep(self._interval)

    async def stays_healthy(self) -> bool:
        """Whether every probe of `min_healthy_time` passed."""
        since, least = self._now(), self._check.min_healthy_time.total_seconds()
        while (left := least - (self._now() - since)) > 0:
            await self._sleep(min(self._interval, left))
            self._seen = await self._once(self._timeout) or self._seen
            self._relapsed = not self._seen.passed
            if self._relapsed:
                return False
        return True

    def result(self, *, healthy: bool) -> HealthResult:
        """The verdict, as it is told."""
        return HealthResult(
            healthy=healthy,
            timed_out=not healthy and not self._seen.answered and not self._relapsed,
            detail=self._detail(healthy=healthy),
            attempts=self._attempts,
            duration_s=round(self._now() - self._started, 3),
        )

    async def _once(self, seconds: float) -> Sighting | None:
        """Probe once; None when it was cut short before its own timeout."""
        self._attempts += 1
        try:
            return await asyncio.wait_for(self._probe(), min(self._timeout, seconds))
        except (asyncio.TimeoutError, TimeoutError):
            if self._timeout > seconds:
                return None
            return Sighting(passed=False, answered=False, detail=f"no answer within {self._timeout:g} s")

    async def _tell_of(self, seen: Sighting) -> None:
        self._failures += 1
        if self._retried is not None:
            before = self._now()
            await self._retried(self._failures, seen)
            self._started += self._now() - before

    def _detail(self, *, healthy: bool) -> str:
        if self._relapsed:
            return f"{self._seen.detail}, within {format_duration(self._check.min_healthy_time)} of being healthy"
        if self._seen.passed and not healthy:
            return f"{self._seen.detail}, but not {self._check.healthy_after} times in a row before the deadline"
        return self._seen.detail
