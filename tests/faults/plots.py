"""``python -m tests.faults.plots CSV FOLDER``: draw the table of a soak."""

import csv
import sys
from pathlib import Path

import pygal

PLOTS = {
    "memory": ("MB", " memory_mb"),
    "files": ("", " files"),
    "connections": ("", " connections"),
    "threads-and-tasks": ("", (" threads", " tasks")),
    "streams": ("kB", " kb"),
}
"""By file, the unit and how the columns end that it shows."""


def draw(table: Path, into: Path) -> None:
    """Write an SVG of each kind of size over the minutes."""
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    for name, (unit, ends) in PLOTS.items():
        chart = pygal.XY(title=f"{name} {unit}".strip(), x_title="minutes", show_dots=False, js=())
        chart.config.truncate_legend, chart.config.include_x_axis = -1, True
        for column in (column for column in rows[0] if column.endswith(ends)):
            chart.add(column, [(float(row["seconds"]) / 60, float(row[column])) for row in rows if row[column]])
        chart.render_to_file(str(into / f"{name}.svg"))


if __name__ == "__main__":
    draw(Path(sys.argv[1]), Path(sys.argv[2]))
