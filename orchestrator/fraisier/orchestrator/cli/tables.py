"""Tables that cut nothing and break no ID or time: they are there to be copied."""

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Column, Table
from rich.text import Text

SHORT = 26
"""How wide a column may be, with its padding, that stays in one line: an ID or a time."""

LEAST = 14
"""How wide any other column must be, with its padding, to be read."""

UNBOUNDED = 10_000


class WholeTable(Table):
    """A table; where the terminal is too narrow for it, each cell is a line of its own, under its heading."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """What is printed."""
        if self._fits(console, options):
            yield from super().__rich_console__(console, options)
        else:
            yield from self._paragraphs()

    def _fits(self, console: Console, options: ConsoleOptions) -> bool:
        """Share the room among the columns that may break; whether it is enough."""
        unbounded = options.update_width(UNBOUNDED)
        wanted = [self._measure_column(console, unbounded, column).maximum for column in self.columns]
        room = options.max_width - self._extra_width - sum(width for width in wanted if width <= SHORT)
        long = [(width, column) for width, column in zip(wanted, self.columns, strict=True) if width > SHORT]
        share = room // len(long) if long else room
        for width, column in long:
            column.max_width = min(width, share) - self.padding[1] - self.padding[3]
        return share >= (LEAST if long else 0)

    def _paragraphs(self) -> RenderResult:
        for row in zip(*(column.cells for column in self.columns), strict=True):
            for column, cell in zip(self.columns, row, strict=True):
                if cell:
                    yield Text.from_markup(f"{column.header}: {cell}" if column.header else str(cell))
            yield Text()


def whole_table(*headings: str) -> WholeTable:
    """An empty table."""
    return WholeTable(*(Column(heading, overflow="fold") for heading in headings))
