"""What a soak writes down: a table with gaps where something was dead, a plot of each kind, and what grew."""

import csv
from pathlib import Path

from tests.faults.matrix import ROWS as ALL_ROWS
from tests.faults.soak import COLUMNS, ROWS, Sample, growth, write


def seen() -> list[Sample]:
    """A worker that grows by a megabyte a sample; NATS is dead in the third one."""
    samples: list[Sample] = [
        {"seconds": 5 * number, "row": "nats-kill", "worker memory_mb": 100 + number, "nats files": 20}
        for number in range(8)
    ]
    del samples[2]["nats files"]
    return samples


def test_a_soak_plays_rows_that_there_are():
    assert [name for name in ROWS if name not in ALL_ROWS] == []
    assert {ALL_ROWS[name].on for name in ROWS} == {"one"}


def test_the_table_and_the_plots_hold_what_was_seen(tmp_path: Path):
    write(seen(), tmp_path)
    with (tmp_path / "soak.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert [row["worker memory_mb"] for row in rows] == [str(100 + number) for number in range(8)]
    assert [row["nats files"] for row in rows] == ["20", "20", "", *["20"] * 5]
    plots = {path.stem: path.read_text() for path in tmp_path.glob("*.svg")}
    assert plots.keys() == {"memory", "files", "connections", "threads-and-tasks", "streams"}
    assert ">worker<" in plots["memory"]
    assert "nats-kill 0" in plots["memory"]
    assert not any("memory_mb" in plot for plot in plots.values())


def test_growth_is_told_from_when_all_was_warm():
    assert growth(seen(), "worker memory_mb") == (102.5, 106.5)
    assert growth(seen(), "nats files") == (20, 20)
