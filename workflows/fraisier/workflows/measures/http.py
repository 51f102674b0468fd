"""Measuring by HTTP."""

import time

import httpx

from fraisier.workflows.gate_plans import HttpMeasure
from fraisier.workflows.gate_steps import Reading
from fraisier.workflows.measures.texts import TEXT_KEPT, as_json
from fraisier.workflows.ports import MeasuringFailed

ANSWER_S = 10.0
"""How long a server may take for each part of its answer."""


async def read_http(measure: HttpMeasure) -> tuple[Reading, ...]:
    """GET the URL; redirects are not followed.

    Raises:
        MeasuringFailed: nobody answered.
    """
    started = time.monotonic()
    body = b""
    try:
        async with httpx.AsyncClient(timeout=ANSWER_S) as web, web.stream("GET", measure.url) as answer:
            async for part in answer.aiter_bytes():
                body += part
                if len(body) > TEXT_KEPT:
                    break
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise MeasuringFailed(f"{measure.url}: {error or type(error).__name__}") from error
    text = body[:TEXT_KEPT].decode(errors="replace")
    values = {
        "status": answer.status_code,
        "body": text,
        "json": as_json(text),
        "seconds": time.monotonic() - started,
    }
    return (Reading(values=values, shown=("status", "seconds", "body")),)
