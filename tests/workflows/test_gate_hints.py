"""Gates and the hints that wake them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from temporalio.testing import ActivityEnvironment

from fraisier.workflows.activities import events
from fraisier.workflows.activities.events import EventActivities
from fraisier.workflows.gate_steps import Fact, Verdict
from tests.workflows.harness import make_gate_input

PASSED = Fact(
    event_type="health.check_passed",
    region="a",
    service="api",
    rollout_id="r1",
    sequence=7,
    target="a1",
    data={"release_digest": "sha256:2", "generation": 1, "scope": "target"},
)


class SlowDisk:
    """A log whose hint comes before the event can be read."""

    def __init__(self) -> None:
        self.hint = asyncio.Event()
        self.reads = 0

    async def facts(self, **which: Any) -> AsyncIterator[Fact]:
        self.reads += 1
        if self.reads == 1:
            self.hint.set()
        if self.reads > 4:
            yield PASSED

    @asynccontextmanager
    async def hints(self, **which: Any) -> AsyncIterator[asyncio.Event]:
        yield self.hint


async def test_a_gate_that_was_hinted_at_too_early_reads_again_soon(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(events, "REREAD_S", 3600.0)
    log = SlowDisk()
    asked = make_gate_input()
    asking = ActivityEnvironment().run(EventActivities(log).ask_gate, asked)  # type: ignore[arg-type]
    report = await asyncio.wait_for(asking, 60)
    assert (report.verdict, log.reads) == (Verdict.PASS, 5)
