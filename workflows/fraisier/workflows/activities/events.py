"""Activities over the streams: publish, mint a generation, ask a gate."""

import asyncio
import time
from typing import Any

from pydantic import ValidationError
from temporalio import activity

from fraisier.workflows.activities.heartbeat import heartbeating
from fraisier.workflows.failures import is_refused, mapped_failures
from fraisier.workflows.gate_steps import GateInput, GateReport, Onward, Verdict
from fraisier.workflows.gates.events import EventGate
from fraisier.workflows.ports import EventLog, Hint
from fraisier.workflows.steps import EventInput, GenerationInput, WaveBegun, WaveInput

REREAD_S = 1.0
"""How long a gate goes without reading the stream, whatever the hints say."""

HINTED_S = 0.005
"""How soon it reads again after a hint, which comes before the event is on the server's disk; then at longer pauses."""


class EventActivities:
    """What the workflows do with the streams.

    Args:
        log: the streams.
    """

    def __init__(self, log: EventLog) -> None:
        self._log = log

    @activity.defn
    async def publish(self, event: EventInput) -> int:
        """Store an event of the rollout or of a region and return its sequence."""
        async with heartbeating():
            with mapped_failures():
                return await self._log.publish(event)

    @activity.defn
    async def mint_generation(self, asked: GenerationInput) -> int:
        """A new fencing generation for a service."""
        async with heartbeating():
            with mapped_failures():
                return await self._log.mint_generation(asked.service, asked.note)

    @activity.defn
    async def last_sequence(self, event_type: str) -> int:
        """Where the stream of an event type ends now: a gate counts only what comes after."""
        async with heartbeating():
            with mapped_failures():
                return await self._log.last_sequence(event_type)

    @activity.defn
    async def begin_wave(self, asked: WaveInput) -> WaveBegun:
        """Tell that a wave begins, after what is owed is told and it is known where the streams end.

        An attempt that is done once more finds its events stored, and may find later ends of the streams. Those are as
        right: nothing of the wave starts before one attempt has returned.
        """
        async with heartbeating():
            with mapped_failures():
                return await self._begin(asked)

    @activity.defn
    async def ask_gate(self, asked: GateInput) -> GateReport:
        """Read the stream until the gate is decided or its time is over.

        Stateless: an attempt reads everything from the wave's start, so a lost worker, a restarted server
        or a moved leader loses nothing. A pass that goes onward is told, and has begun the next wave, before it is
        reported; one that a lost attempt has told stands.
        """
        async with heartbeating():
            with mapped_failures():
                if asked.onward is None:
                    return await self._decide(asked)
                told = await self._told_pass(asked.onward) if activity.info().attempt > 1 else None
                report = told or await self._decide(asked)
                return report if report.verdict is not Verdict.PASS else await self._go_on(asked.onward, report)

    async def _told_pass(self, onward: Onward) -> GateReport | None:
        """The pass that another attempt has told; None too where what is stored in its place is no attempt's."""
        told = await self._log.stored(onward.passed) or {}
        try:
            return GateReport(verdict=Verdict.PASS, detail=told["detail"], evidence=told["evidence"])
        except (KeyError, ValidationError):
            return None

    async def _go_on(self, onward: Onward, report: GateReport) -> GateReport:
        passed = onward.passed.model_copy(update={"data": onward.passed.data | report.told()})
        try:
            begun = await self._begin(onward.wave.model_copy(update={"owed": passed}))
        except Exception as error:
            if not is_refused(error):
                raise
            told = await self._told_pass(onward)
            if told is not None and told.told() != report.told():
                return await self._go_on(onward, told)  # one that nobody hears of any more was here first
            activity.logger.warning("the rollout is left to begin the next wave by itself: %s", error)
            return report
        return report.model_copy(update={"begun": begun})

    async def _begin(self, asked: WaveInput) -> WaveBegun:
        if asked.owed is not None:
            await self._log.publish(asked.owed)
        positions = {kind: await self._log.last_sequence(kind) for kind in asked.positions}
        await self._log.publish(asked.started)
        return WaveBegun(positions=positions)

    async def _decide(self, asked: GateInput) -> GateReport:
        deadline = time.monotonic() + asked.seconds_left
        which: dict[str, Any] = {
            "event_type": asked.gate.event,
            "rollout_id": asked.rollout_id,
            "service": asked.service,
        }
        gate, pause = EventGate(asked), REREAD_S
        async with self._log.hints(**which) as hint:
            while True:
                hint.clear()
                gate.take([fact async for fact in self._log.facts(**which, after=asked.after)])
                verdict = gate.judge()
                if verdict is not None:
                    return verdict
                if activity.is_cancelled():
                    # It may have been swallowed below us (see `CANCEL_AGAIN_S`), and a rollback waits for this end.
                    raise asyncio.CancelledError
                left = deadline - time.monotonic()
                if left <= 0:
                    # What lies before the wave decides nothing, and may explain why nothing counted.
                    gate.take([fact async for fact in self._log.facts(**which, after=0)])
                    return gate.expired()
                hinted = await _woken(hint, min(left, pause))
                pause = HINTED_S if hinted else min(2 * pause, REREAD_S)


async def _woken(hint: Hint, seconds: float) -> bool:
    try:
        await asyncio.wait_for(hint.wait(), seconds)
    except asyncio.TimeoutError:
        return False
    return True
