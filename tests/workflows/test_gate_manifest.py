"""Gates, windows and freezes in a manifest: what is wrong is named with its line, and what is right is planned."""

from datetime import datetime, timedelta
from pathlib import Path

import pytest
from pydantic import BaseModel

from fraisier.workflows.gate_plans import (
    Aggregate,
    Approval,
    CommandMeasure,
    HttpMeasure,
    MetricMeasure,
    PrometheusMeasure,
)
from fraisier.workflows.manifest.check import check_manifest
from fraisier.workflows.manifest.errors import ManifestInvalid
from fraisier.workflows.planning import make_plan
from fraisier.workflows.plans import Plan, ReleasePlan

GOOD = """\
service: api
release: {version: "2.0.0", image: "api:2"}
waves: [{regions: [east]}, {regions: [west]}]
gates:
  - {name: smoke, http: "https://api.example/status", pass_if: 'json.db == "up"', fail_if: status >= 500, interval: 2s}
  - {name: up, http: "https://api.example/", dry_run: true}
  - {name: slow, prometheus: "http://prom:9090", query: "max(latency)", aggregate: max, below: 0.3, timeout: 5m}
  - {name: e2e, command: [./smoke, --quick]}
  - {name: errors, metric: metrics.error_rate, below: 0.01, above: 0, over: 5m}
  - {name: sign-off, approval: {approvers: [ann, bob], quorum: 2}, timeout: 4h}
regions:
  east:
    provider: any
    targets: [{}]
    health: {tcp: "127.0.0.1:80"}
    time_zone: America/New_York
    windows:
      - {rrule: "FREQ=WEEKLY;BYDAY=MO,TU;BYHOUR=9;BYMINUTE=0", for: 8h}
    freezes:
      - {start: 2026-12-20, for: 14d, why: holidays}
      - {start: 2026-11-27T08:00:00, for: 3d}
  west: {provider: any, targets: [{name: w}], health: {tcp: "127.0.0.1:80"}}
"""


class AnyOptions(BaseModel):
    name: str = ""


def plan_of(path: Path, text: str = GOOD) -> Plan:
    path.write_text(text)
    manifest = check_manifest(path, lambda _: AnyOptions)
    release = ReleasePlan(service="api", version="2.0.0", digest="sha256:0")
    return make_plan(manifest, release, gate_timeout=timedelta(seconds=7))


def test_every_kind_of_gate_is_planned_with_its_defaults(tmp_path: Path) -> None:
    plan = plan_of(tmp_path / "r.yaml")
    assert [gate.measure for gate in plan.gates] == [
        HttpMeasure(url="https://api.example/status"),
        HttpMeasure(url="https://api.example/"),
        PrometheusMeasure(server="http://prom:9090", query="max(latency)", aggregate=Aggregate.MAX),
        CommandMeasure(argv=("./smoke", "--quick")),
        MetricMeasure(event="metrics.error_rate", over=timedelta(minutes=5)),
        None,
    ]
    assert [(gate.pass_if, gate.fail_if) for gate in plan.gates] == [
        ('json.db == "up"', "status >= 500"),
        ("status >= 200 && status < 300", ""),
        ("value < 0.3", ""),
        ("exit_status == 0", ""),
        ("value < 0.01 && value > 0.0", ""),
        ("", ""),
    ]
    assert [gate.timeout.total_seconds() for gate in plan.gates] == [7, 7, 300, 7, 7, 4 * 3600]
    assert [gate.interval.total_seconds() for gate in plan.gates[:2]] == [2, 10]
    assert [gate.name for gate in plan.gates if gate.dry_run] == ["up"]
    assert plan.gates[-1].approval == Approval(approvers=("ann", "bob"), quorum=2)
    assert Plan.model_validate_json(plan.model_dump_json()) == plan


def test_windows_and_freezes_are_planned(tmp_path: Path) -> None:
    regions = plan_of(tmp_path / "r.yaml").regions
    east = regions["east"]
    assert (east.time_zone, regions["west"].time_zone, regions["west"].windows) == ("America/New_York", "UTC", ())
    assert [(one.rrule, one.lasts) for one in east.windows] == [
        ("FREQ=WEEKLY;BYDAY=MO,TU;BYHOUR=9;BYMINUTE=0", timedelta(hours=8))
    ]
    assert [(one.start, one.lasts, one.why) for one in east.freezes] == [
        (datetime(2026, 12, 20), timedelta(days=14), "holidays"),  # noqa: DTZ001 (by the region's clocks)
        (datetime(2026, 11, 27, 8), timedelta(days=3), ""),  # noqa: DTZ001
    ]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("status >= 500", "stats >= 500", "r.yaml:5: gates.0.fail_if: unknown name stats; known here: status, body"),
        ("'json.db == \"up\"'", "'json.db =='", "r.yaml:5: gates.0.pass_if: is not CEL, column "),
        ("fail_if: status >= 500", "fail_iff: status >= 500", "gates.0.fail_iff: unknown key; did you mean fail_if?"),
        ("interval: 2s", "interval: 0s", "r.yaml:5: gates.0.interval: must be 100ms or more"),
        ("dry_run: true", "from: 2", "r.yaml:6: gates.1.from: belongs to gates of event, not of http"),
        ("dry_run: true", "command: [x]", "r.yaml:6: gates.1: give exactly one of event, http,"),
        ('http: "https://api.example/", ', "", "r.yaml:6: gates.1: give exactly one of event, http, prometheus"),
        ('https://api.example/",', 'api.example",', "r.yaml:6: gates.1.http: api.example is no URL"),
        ('https://api.example/",', 'https://u:p@api.example",', "gates.1.http: must hold no user and password"),
        (', query: "max(latency)"', "", "r.yaml:7: gates.2.query: is missing"),
        ("aggregate: max", "aggregate: last", "r.yaml:7: gates.2.aggregate: the series of a query have no order"),
        (", below: 0.3", "", "r.yaml:7: gates.2: give below, above or pass_if"),
        (", below: 0.3", ", below: 0.3, pass_if: value > 1", "r.yaml:7: gates.2.pass_if: says what below or above"),
        ("[./smoke, --quick]", "[]", "r.yaml:8: gates.3.command: must not be empty"),
        (", over: 5m", "", "r.yaml:9: gates.4.over: is missing"),
        ("metric: metrics.error_rate", "metric: health.check_passed", "r.yaml:9: gates.4.metric:"),
        (", timeout: 4h", "", "r.yaml:10: gates.5.timeout: is missing: how long people have"),
        ("quorum: 2", "quorum: 3", "r.yaml:10: gates.5.approval.quorum: is more than the 2 approvers"),
        ("[ann, bob]", "[ann, ann]", "r.yaml:10: gates.5.approval.approvers: names somebody twice"),
        (", timeout: 4h", ", timeout: 4h, dry_run: true", "gates.5.dry_run: belongs to gates of event, http"),
        ("name: up", "name: smoke", "gates: two gates are called smoke"),
        ("America/New_York", "New York", "r.yaml:16: regions.east.time_zone: New York is no IANA time zone"),
        ("FREQ=WEEKLY", "FREQ=OFTEN", "r.yaml:18: regions.east.windows.0.rrule: is not an iCalendar RRULE"),
        (", for: 8h", "", "r.yaml:18: regions.east.windows.0.for: is missing"),
        ("start: 2026-12-20, ", "", "r.yaml:20: regions.east.freezes.0: give an rrule, a start or both"),
        ("start: 2026-12-20", "start: 2026-12-20T00:00:00Z", "r.yaml:20: regions.east.freezes.0.start:"),
        ("start: 2026-12-20, for: 14d", "start: 2026-01-01, for: 9999d", "r.yaml:17: regions.east.windows: it could"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(tmp_path: Path, old: str, new: str, says: str) -> None:
    assert old in GOOD
    with pytest.raises(ManifestInvalid) as caught:
        plan_of(tmp_path / "r.yaml", GOOD.replace(old, new, 1))
    assert says in str(caught.value).replace(f"{tmp_path}/", "")
