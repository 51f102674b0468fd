"""What people read at the end of a rollout."""

import io
from datetime import datetime, timezone

import pytest
from rich.console import Console

from fraisier.orchestrator.cli.render import LastLines, final_sentence
from fraisier.orchestrator.cli.tables import whole_table
from fraisier.workflows.contracts import RegionOutcome, RegionReport, RolloutPhase, TargetReport
from fraisier.workflows.status import RegionStatus, RolloutStatus, WaveStatus


@pytest.mark.parametrize(
    ("states", "dropped", "says"),
    [
        (("succeeded", "succeeded"), (), "api 2.0.0 runs in every region"),
        (("succeeded", "failed"), (), "api 2.0.0 runs in 1 of 2 regions; not in region-1 (failed)"),
        (("succeeded",), ("eu", "us"), "api 2.0.0 runs in 1 of 3 regions; not in eu (dropped), us (dropped)"),
    ],
)
def test_a_success_says_where_the_release_runs(states: tuple[str, ...], dropped: tuple[str, ...], says: str):
    regions = tuple(RegionStatus(name=f"region-{number}", state=state) for number, state in enumerate(states))
    status = RolloutStatus(
        rollout_id="r",
        service="api",
        version="2.0.0",
        digest="sha256:1",
        started_at=datetime.now(timezone.utc),
        phase=RolloutPhase.SUCCEEDED,
        waves=(WaveStatus(number=1, regions=regions),),
        dropped=dropped,
    )
    assert final_sentence(status) == says


@pytest.mark.parametrize("width", range(24, 160, 4))
def test_a_table_cuts_nothing_and_breaks_no_id_however_narrow_the_terminal(width: int):
    row = ("20260131-093000-d1be9f", "2026-01-31 09:30:00", "succeeded, 2 regions dropped", "root", "no port; " * 20)
    table = whole_table("rollout", "when (UTC)", "state", "by", "why")
    table.add_row(*row)
    console = Console(width=width, file=io.StringIO())
    console.print(table)
    shown = console.file.getvalue()
    assert row[0] in shown
    assert shown.count("port;") == 20
    assert all(word in shown for cell in row for word in cell.split())
    assert max(map(len, shown.splitlines())) <= width


def test_a_narrow_terminal_shows_a_line_for_each_cell():
    table = whole_table("service", "rollout")
    table.add_row("api", "r-2026-1")
    console = Console(width=20, file=io.StringIO())
    console.print(table)
    assert console.file.getvalue() == "service: api\nrollout: r-2026-1\n\n"


def test_the_last_lines_of_a_target_are_told_once():
    told, others = "; its last lines:\nno port\nbye", "; its last lines:\nno disk"
    seen = LastLines()
    assert seen.once(f"a1 is not healthy: 500{told}") == f"a1 is not healthy: 500{told}"
    assert seen.once(f"a failed: a1: 500{told}") == "a failed: a1: 500"
    assert seen.once(f"b failed: b1: 500{others}") == f"b failed: b1: 500{others}"
    assert seen.once(f"a failed: a1: 500{told}; b failed: b1: 500{others}") == "a failed: a1: 500; b failed: b1: 500"
    longer = f"c failed: c1: 500{others} at /var"
    assert seen.once(longer) == longer


def test_people_are_asked_for_a_decision_without_the_last_lines():
    failed = TargetReport(target="a1", error="not healthy: 500; its last lines:\nno port")
    report = RegionReport(region="a", outcome=RegionOutcome.FAILED, targets=(failed,))
    assert (report.brief, report.error) == ("a1: not healthy: 500", "a1: not healthy: 500; its last lines:\nno port")
