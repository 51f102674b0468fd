"""The real `Meter`: measures what a gate asks for, and judges it."""

from fraisier.workflows.gate_plans import CommandMeasure, HttpMeasure, MetricMeasure, PrometheusMeasure
from fraisier.workflows.gate_steps import GateReport, MeasureInput, Reading
from fraisier.workflows.gates.conditions import ConditionFailed
from fraisier.workflows.gates.measured import judge
from fraisier.workflows.measures.command import read_command
from fraisier.workflows.measures.http import read_http
from fraisier.workflows.measures.metric import read_metric
from fraisier.workflows.measures.prometheus import read_prometheus
from fraisier.workflows.ports import EventLog, MeasuringFailed


class GateMeter:
    """Measures from where the worker is.

    Args:
        log: the streams, for metrics events.
    """

    def __init__(self, log: EventLog) -> None:
        self._log = log

    async def measure(self, asked: MeasureInput) -> GateReport:
        """Measure once and judge; inconclusive when neither of the gate's conditions holds.

        Raises:
            MeasuringFailed: there is nothing to judge.
        """
        readings = await self._read(asked)
        try:
            return judge(asked.gate, readings)
        except ConditionFailed as error:
            raise MeasuringFailed(str(error)) from error

    async def _read(self, asked: MeasureInput) -> tuple[Reading, ...]:
        measure = asked.gate.measure
        if isinstance(measure, HttpMeasure):
            return await read_http(measure)
        if isinstance(measure, PrometheusMeasure):
            return await read_prometheus(measure)
        if isinstance(measure, CommandMeasure):
            return await read_command(measure, asked)
        if isinstance(measure, MetricMeasure):
            return await read_metric(measure, asked, self._log)
        raise ValueError(f"gate {asked.gate.name} measures nothing")
