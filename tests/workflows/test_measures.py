"""What gates measure with, on a real Prometheus, real processes and a real web server; and their conditions."""

import asyncio
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from temporalio.testing import ActivityEnvironment

from fraisier.orchestrator.stack.ports import free_ports
from fraisier.workflows.activities.measures import MeasureActivities
from fraisier.workflows.gate_plans import Aggregate, CommandMeasure, GatePlan, HttpMeasure, Measure, PrometheusMeasure
from fraisier.workflows.gate_steps import MeasureInput, Reading, Verdict
from fraisier.workflows.gates.conditions import ConditionFailed, holds, problem_with
from fraisier.workflows.gates.measured import judge
from fraisier.workflows.gates.samples import DEFAULT_CONDITIONS, SAMPLES
from fraisier.workflows.measures.command import read_command
from fraisier.workflows.measures.http import read_http
from fraisier.workflows.measures.meter import GateMeter
from fraisier.workflows.measures.prometheus import read_prometheus
from fraisier.workflows.ports import EventLog, MeasuringFailed
from tests.support.prometheus import prometheus
from tests.support.web_page import WebPage


def asked(measure: Measure, pass_if: str, *, fail_if: str = "", timeout: float = 60) -> MeasureInput:
    gate = GatePlan(
        name="g",
        measure=measure,
        pass_if=pass_if,
        fail_if=fail_if,
        interval=timedelta(seconds=0.2),
        timeout=timedelta(seconds=timeout),
    )
    return MeasureInput(
        gate=gate, rollout_id="r", service="api", version="2", digest="d", regions=("a",), seconds_left=timeout
    )


async def measured(what: MeasureInput) -> tuple[Verdict, str]:
    """As the activity does it; nothing here reads the streams."""
    log: EventLog = None  # type: ignore[assignment]
    report = await ActivityEnvironment().run(MeasureActivities(GateMeter(log)).measure_gate, what)
    return report.verdict, report.detail


async def test_prometheus_answers_and_what_is_no_number_is_no_measurement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    two = "vector(1) or label_replace(vector(4), 'a', 'b', '', '')"
    async with prometheus(tmp_path / "p", free_ports({"nobody": 0})["nobody"]) as server:

        async def value(query: str, aggregate: Aggregate | None = None) -> float:
            (seen,) = await read_prometheus(PrometheusMeasure(server=server.url, query=query, aggregate=aggregate))
            return float(seen.values["value"])

        assert await value("vector(0.005)") == 0.005
        assert await value("scalar(vector(2))") == 2
        assert [await value(two, one) for one in (Aggregate.AVG, Aggregate.MIN, Aggregate.MAX, Aggregate.SUM)] == [
            2.5, 1, 4, 5,
        ]  # fmt: skip
        for query, says in (
            (two, "2 series answer"),
            ("no_such_metric", "no series answers"),
            ("vector(0) / vector(0)", "is NaN"),
            ("vector(1)[5m:1m]", "gives a matrix"),
            ("sum(", "parse error"),
        ):
            with pytest.raises(MeasuringFailed, match=says):
                await value(query)
        measure = PrometheusMeasure(server=server.url, query="vector(0.02)")
        verdict, detail = await measured(asked(measure, "value < 0.01"))
        assert (verdict, detail) == (Verdict.FAIL, "value 0.02, count 1: not value < 0.01")
    with pytest.raises(MeasuringFailed, match="api/v1/query"):
        await value("vector(1)")


async def test_what_cannot_be_measured_is_inconclusive_when_the_time_is_over_and_never_passes(
    web_page: WebPage,
) -> None:
    nobody = f"http://127.0.0.1:{free_ports({'nobody': 0})['nobody']}/"
    web_page.body = "not json"
    for measure, condition, says in (
        (HttpMeasure(url=nobody), "true", "could not be measured: http://127.0.0.1"),
        (HttpMeasure(url=web_page.url), 'json.db == "up"', 'could not be measured: json.db == "up": '),
        (CommandMeasure(argv=("/no/such/command",)), "true", "/no/such/command cannot be run"),
        (CommandMeasure(argv=("sleep", "300")), "true", "no answer in 1 s"),
    ):
        verdict, detail = await measured(asked(measure, condition, timeout=0.5))
        assert verdict is Verdict.INCONCLUSIVE
        assert says in detail
    web_page.body = '{"n": 0}'
    (seen,) = await read_http(HttpMeasure(url=web_page.url))
    assert holds("json.n < 0.01 && status == 200", seen.values)


async def test_a_command_is_killed_with_all_that_it_started_and_may_say_much(tmp_path: Path) -> None:
    talks = CommandMeasure(argv=(sys.executable, "-c", "print('x' * 1_000_000)"))
    (seen,) = await read_command(talks, asked(talks, ""))
    assert (seen.values["exit_status"], len(seen.values["stdout"])) == (0, 65536)
    alive = tmp_path / "alive"
    stays = CommandMeasure(argv=("sh", "-c", f"(while :; do date +%N > {alive}; sleep 0.05; done) & wait"))
    task = asyncio.create_task(read_command(stays, asked(stays, "")))
    while not alive.exists():  # noqa: ASYNC110 (another process makes it)
        await asyncio.sleep(0.05)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    alive.unlink(missing_ok=True)
    await asyncio.sleep(0.5)
    assert not alive.exists()


@pytest.mark.parametrize(
    ("kind", "condition", "says"),
    [
        ("http", 'status == 200 && json.db == "up" && seconds < 0.5', ""),
        ("http", "json.items.all(i, i.errors < 1.0) && size(body) > 2", ""),
        ("http", 'body.matches("^ok") || status in [200, 204]', ""),
        ("metric", "values.filter(v, v > 0.5).size() < 3 && count >= 10", ""),
        ("http", "status == ", "is not CEL, column "),
        ("http", "stats == 200", "unknown name stats; known here: status, body, json, seconds"),
        ("http", "json.items.all(i, j.errors < 1.0)", "unknown name j"),
        ("http", "json.items.all(i, true) && i > 1", "unknown name i"),
        ("http", "len(body) > 2", "unknown function len"),
        ("http", "body.contain('x')", "unknown function contain"),
        ("http", 'status == "200"', "cannot be judged: the types do not fit"),
        ("metric", "value == 0", "cannot be judged: the types do not fit"),
        ("metric", "value", "must be true or false"),
    ],
)
def test_a_condition_is_checked_before_anything_is_measured(kind: str, condition: str, says: str) -> None:
    problem = problem_with(condition, SAMPLES[kind])
    assert problem.startswith(says)
    assert bool(problem) is bool(says)


def test_the_conditions_that_hold_by_default_are_good() -> None:
    assert [problem_with(condition, SAMPLES[kind]) for kind, condition in DEFAULT_CONDITIONS.items()] == ["", ""]


def test_every_reading_must_pass_and_one_that_fails_fails_the_gate() -> None:
    gate = GatePlan(name="g", pass_if="value < 0.1", fail_if="value > 0.5", timeout=timedelta(0))

    def verdict(*values: float, plan: GatePlan = gate) -> Verdict:
        readings = [Reading(of=f"r{n}", values={"value": v}, shown=("value",)) for n, v in enumerate(values)]
        return judge(plan, readings).verdict

    assert verdict(0.01, 0.02) is Verdict.PASS
    assert verdict(0.01, 0.9) is Verdict.FAIL
    assert verdict(0.01, 0.3) is Verdict.INCONCLUSIVE
    assert verdict(0.01, 0.3, plan=gate.model_copy(update={"fail_if": ""})) is Verdict.FAIL
    assert verdict() is Verdict.INCONCLUSIVE
    with pytest.raises(ConditionFailed, match="is neither true nor false"):
        verdict(0.1, plan=gate.model_copy(update={"pass_if": "value", "fail_if": ""}))
