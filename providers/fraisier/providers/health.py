"""The loop of a health check: probe until it passed often enough in a row or its deadline is over."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

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


async def watch(
    probe: Probe, check: HealthCheck, *, clock: Clock | None = None, sleep: Sleep = asyncio.sleep
) -> HealthResult:
    """Probe until a verdict.

    Args:
        probe: looks once; it is given at most ``check.timeout``.
        check: how often, how long and how many in a row.
        clock: the time; the event loop's unless a test brings another.
        sleep: waits between two probes.
    """
    now = clock or asyncio.get_running_loop().time
    timeout, interval, deadline = (
        part.total_seconds() for part in (check.timeout, check.interval, check.progress_deadline)
    )
    started = now()
    seen: Sighting | None = None
    in_a_row, attempts = 0, 0
    while True:
        left = max(deadline - (now() - started), 0.0)
        latest = await _once(probe, timeout, left)
        attempts += 1
        # A probe that only the deadline cut short tells less than the one before it.
        seen = latest or seen or Sighting(passed=False, answered=False, detail=f"no answer within {deadline:g} s")
        in_a_row = in_a_row + 1 if latest and latest.passed else 0
        if in_a_row >= check.healthy_after or now() - started + interval >= deadline:
            healthy = in_a_row >= check.healthy_after
            return HealthResult(
                healthy=healthy,
                timed_out=not healthy and not seen.answered,
                detail=_verdict(seen, healthy=healthy, check=check),
                attempts=attempts,
                duration_s=round(now() - started, 3),
            )
        await sleep(interval)


async def _once(probe: Probe, timeout: float, seconds: float) -> Sighting | None:
    """Probe once; None when it was cut short before its own timeout."""
    try:
        return await asyncio.wait_for(probe(), min(timeout, seconds))
    except (asyncio.TimeoutError, TimeoutError):
        return (
            Sighting(passed=False, answered=False, detail=f"no answer within {timeout:g} s")
            if timeout <= seconds
            else None
        )


def _verdict(seen: Sighting, *, healthy: bool, check: HealthCheck) -> str:
    if seen.passed and not healthy:
        return f"{seen.detail}, but not {check.healthy_after} times in a row before the deadline"
    return seen.detail
