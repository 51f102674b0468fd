"""Measuring by a Prometheus query."""

import math
from typing import Any

import httpx

from fraisier.workflows.gate_plans import PrometheusMeasure
from fraisier.workflows.gate_steps import Reading
from fraisier.workflows.measures.http import ANSWER_S
from fraisier.workflows.ports import MeasuringFailed


async def read_prometheus(measure: PrometheusMeasure) -> tuple[Reading, ...]:
    """Ask the query as of now.

    Raises:
        MeasuringFailed: no answer, a refusal, no series, no number, or several series and nothing to make them one.
    """
    numbers = _numbers(await _ask(measure))
    if not numbers:
        raise MeasuringFailed(f"no series answers {measure.query}")
    if any(math.isnan(number) for number in numbers):
        raise MeasuringFailed(f"{measure.query} is NaN: nothing to compute it from yet?")
    if len(numbers) > 1 and measure.aggregate is None:
        raise MeasuringFailed(f"{len(numbers)} series answer {measure.query}; give the gate an aggregate")
    value = measure.aggregate.of(numbers) if measure.aggregate else numbers[0]
    values = {"value": value, "values": numbers, "count": len(numbers)}
    return (Reading(values=values, shown=("value", "count")),)


async def _ask(measure: PrometheusMeasure) -> dict[str, Any]:
    url = f"{measure.server.rstrip('/')}/api/v1/query"
    try:
        async with httpx.AsyncClient(timeout=ANSWER_S) as web:
            answer = await web.get(url, params={"query": measure.query})
            body = answer.json()
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise MeasuringFailed(f"{url}: {error or type(error).__name__}") from error
    if not isinstance(body, dict) or body.get("status") != "success":
        why = body.get("error") if isinstance(body, dict) else None
        raise MeasuringFailed(f"{url}: {why or f'status {answer.status_code}'}")
    data: dict[str, Any] = body["data"]
    return data


def _numbers(data: dict[str, Any]) -> list[float]:
    if data["resultType"] == "scalar":
        return [float(data["result"][1])]
    if data["resultType"] != "vector":
        raise MeasuringFailed(f"the query gives a {data['resultType']}; it must give a number for each series")
    return [float(series["value"][1]) for series in data["result"]]
