"""The activity of gates that measure."""

import asyncio
import time

from temporalio import activity

from fraisier.workflows.activities.heartbeat import heartbeating
from fraisier.workflows.failures import mapped_failures
from fraisier.workflows.gate_steps import GateReport, MeasureInput, Verdict
from fraisier.workflows.ports import MeasuringFailed, Meter

AT_LEAST_S = 1.0
"""How long a measurement may take, however little of the gate's time is left."""


class MeasureActivities:
    """What gates measure.

    Args:
        meter: what measures.
    """

    def __init__(self, meter: Meter) -> None:
        self._meter = meter

    @activity.defn
    async def measure_gate(self, asked: MeasureInput) -> GateReport:
        """Measure until the gate is decided or its time is over.

        What cannot be measured or judged is measured again; when the time is over it is inconclusive. Stateless: an
        attempt measures anew, so a lost worker loses nothing.
        """
        async with heartbeating():
            with mapped_failures():
                return await self._decide(asked)

    async def _decide(self, asked: MeasureInput) -> GateReport:
        deadline = time.monotonic() + asked.seconds_left
        while True:
            report = await self._once(asked, max(deadline - time.monotonic(), AT_LEAST_S))
            left = deadline - time.monotonic()
            if report.verdict is not Verdict.INCONCLUSIVE or left <= 0:
                return report
            await asyncio.sleep(min(left, asked.gate.interval.total_seconds()))

    async def _once(self, asked: MeasureInput, seconds: float) -> GateReport:
        try:
            return await asyncio.wait_for(self._meter.measure(asked), seconds)
        except asyncio.TimeoutError:
            why = f"no answer in {seconds:.3g} s"
        except MeasuringFailed as error:
            why = str(error)
        return GateReport(verdict=Verdict.INCONCLUSIVE, detail=f"could not be measured: {why}")
