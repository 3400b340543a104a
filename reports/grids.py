"""A table that is text already, in the forms that others take: csv, markdown, latex (booktabs).

Grid("Training step", ("method", "ms"), (("soflow", "1.2"),)).render("latex")
"""

import csv
import io
import math
from dataclasses import dataclass

from bench.errors import unknown
from reports.forms import escape_markdown
from reports.latex.tables import NEEDS, text_table

DASH = "–"  # no value


@dataclass(frozen=True)
class Grid:
    """`lines` hold as many texts as there are `heads`."""

    title: str
    heads: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()

    @property
    def numeric(self) -> tuple[bool, ...]:
        """By column: it holds numbers and dashes, and nothing else."""
        columns = [[line[i] for line in self.lines] for i in range(len(self.heads))]
        return tuple(all(text == DASH or magnitude(text) is not None for text in column) for column in columns)

    def render(self, form: str) -> str:
        """As text that ends with a line break. Raises BenchError for an unknown form."""
        forms = {"csv": _csv, "markdown": _markdown, "latex": _latex}
        if form not in forms:
            raise unknown("form", form, forms, "Choose one of these.")
        return forms[form](self)


def magnitude(text: str) -> float | None:
    """The number that a text shows, "1,234*" or "≈ 12.3 ± 0.4"; None where it begins with none."""
    word = next(iter(text.removeprefix("≈").split()), "")
    try:
        value = float(word.rstrip("*%").replace(",", "").replace("−", "-"))
    except ValueError:
        return None
    return value if math.isfinite(value) else None  # a method may be called "nan"


def _csv(grid: Grid) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerows([grid.heads, *grid.lines])
    return buffer.getvalue()


def _markdown(grid: Grid) -> str:
    rule = ["---:" if numeric else "---" for numeric in grid.numeric]
    rows = [[escape_markdown(text) for text in line] for line in (grid.heads, *grid.lines)]
    body = ["| " + " | ".join(row) + " |" for row in (rows[0], rule, *rows[1:])]
    parts = [f"**{escape_markdown(grid.title)}**", "\n".join(body), "\n".join(map(escape_markdown, grid.notes))]
    return "\n\n".join(filter(None, parts)) + "\n"


def _latex(grid: Grid) -> str:
    return NEEDS + text_table(grid.title, grid.notes, grid.heads, grid.lines, grid.numeric)
