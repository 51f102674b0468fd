"""A cancellation that a library swallows on its way: the work still ends."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from temporalio.testing import ActivityEnvironment

from fraisier.workflows.activities import heartbeat
from fraisier.workflows.activities.events import EventActivities
from fraisier.workflows.gate_steps import Fact
from tests.workflows.harness import make_gate_input


class SwallowingLog:
    """A log under which the first cancellation is lost, as under `asyncio.wait_for` of old Pythons."""

    def __init__(self) -> None:
        self.reading = asyncio.Event()
        self.swallowed = 0

    async def facts(self, **which: Any) -> AsyncIterator[Fact]:
        self.reading.set()
        try:
            await asyncio.sleep(0.05)
        except asyncio.CancelledError:
            self.swallowed += 1
        for fact in ():
            yield fact

    @asynccontextmanager
    async def hints(self, **which: Any) -> AsyncIterator[asyncio.Event]:
        yield asyncio.Event()


async def test_a_gate_ends_although_its_cancellation_was_swallowed() -> None:
    log = SwallowingLog()
    asked = make_gate_input()
    environment = ActivityEnvironment()
    work = asyncio.create_task(environment.run(EventActivities(log).ask_gate, asked))  # type: ignore[arg-type]
    await log.reading.wait()
    environment.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(work, 60)
    assert log.swallowed == 1


async def test_work_that_goes_on_after_its_cancellation_is_cancelled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "CANCEL_AGAIN_S", 0.1)
    monkeypatch.setattr(heartbeat, "HEARTBEAT_EVERY", timedelta(seconds=0.05))
    running, swallowed = asyncio.Event(), []

    async def stubborn() -> None:
        async with heartbeat.heartbeating():
            running.set()
            try:
                await asyncio.sleep(600)
            except asyncio.CancelledError:
                swallowed.append(1)
            await asyncio.sleep(600)

    environment = ActivityEnvironment()
    work = asyncio.create_task(environment.run(stubborn))
    await running.wait()
    environment.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(work, 60)
    assert swallowed == [1]
