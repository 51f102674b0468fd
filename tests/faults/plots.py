"""``python -m tests.faults.plots CSV FOLDER``: draw the table of a soak."""

import csv
import sys
from pathlib import Path
from typing import Any

import pygal
from pygal.style import DefaultStyle

PLOTS = {
    "memory": ("MB", " memory_mb"),
    "files": ("", " files"),
    "connections": ("", " connections"),
    "threads-and-tasks": ("", (" threads", " tasks")),
    "streams": ("kB", " kb"),
}
"""By file, the unit and how the columns end that it shows."""
ROW_PX, NAME_PX = 9, 12
"""How large the names of rows are, below the memory, and how much room each takes."""


def draw(table: Path, into: Path) -> None:
    """Write an SVG of each kind of size over the minutes."""
    with table.open(newline="") as file:
        read = csv.DictReader(file)
        columns, rows = list(read.fieldnames or ()), list(read)
    for name, (unit, ends) in PLOTS.items():
        chart = pygal.XY(title=name, x_title="minutes", y_title=unit or None, show_dots=False, js=())
        chart.config.truncate_legend, chart.config.include_x_axis = -1, True
        if name == "memory":
            chart.x_labels = _begun(rows)
            chart.x_label_rotation = 90
            chart.config.width = max(chart.config.width, NAME_PX * len(chart.x_labels))
            chart.config.style = DefaultStyle(label_font_size=ROW_PX)
        for column in (column for column in columns if column.endswith(ends)):
            chart.add(
                column.removesuffix(ends) if isinstance(ends, str) else column,
                [(float(row["seconds"]) / 60, float(row[column])) for row in rows if row[column]],
            )
        chart.render_to_file(str(into / f"{name}.svg"))


def _begun(rows: list[dict[str, str]]) -> list[dict[str, Any]]:
    """When which row began."""
    before = [{"row": ""}, *rows]
    return [
        {"value": float(row["seconds"]) / 60, "label": f"{row['row']} {float(row['seconds']) / 60:.0f}"}
        for last, row in zip(before, rows, strict=False)
        if row["row"] != last["row"]
    ]


if __name__ == "__main__":
    draw(Path(sys.argv[1]), Path(sys.argv[2]))
