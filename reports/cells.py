"""The rows of one table -> its columns, its lines' cells, which cell of a column is the best and which may well be."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace

from bench.rows import Row
from reports.compare import Comparison
from reports.lines import grouped
from reports.numbers import number, pair, unit_and_divisor, with_spread
from reports.table import IMAGES, SAMPLING, TRAINING, Cell, Column, Line

MISSING = "–"
TOLD = 6  # rows and runs that a cell names
COUNTED = ("parameters", "forward_macs", "forward_equivalents")  # not measured: equal seeds are no finding


def columns_of(rows: Sequence[Row], heads: Mapping[str, str]) -> list[Column]:
    """In the order of `heads`, then by steps. Where nothing of them was measured: what the failed rows were meant to hold."""
    found = {row.metric for row in rows}
    columns = []
    for metric in [name for name in heads if name in found] or sorted(found):
        of_metric = sorted((row for row in rows if row.metric == metric), key=lambda row: row.status != "ok")
        first = of_metric[0]  # an ok row where there is one: a failed row may have no unit
        steps: list[int | None] = [*sorted({row.steps for row in of_metric if row.steps is not None})]
        largest = max((abs(row.value) for row in of_metric if row.value is not None), default=0.0)
        unit, divisor = unit_and_divisor(first.unit, largest, thousandths=metric == "kernel_distance")
        head = heads.get(metric, metric.replace("_", " "))
        columns += [Column(metric, step, head, unit, first.unit, first.better, divisor) for step in steps or [None]]
    return columns


def line_of(name: str, rows: Sequence[Row], columns: Sequence[Column]) -> Line:
    cells = [_cell(rows, column) for column in columns]
    seeds = {row.train_seed for row in rows}
    most = max((cell.seeds for cell in cells), default=0)
    cells = [
        replace(cell, text=f"{cell.text} ({cell.seeds} of {most} seeds)") if 0 < cell.seeds < most else cell for cell in cells
    ]
    runs = tuple(sorted({(row.train_seed, row.run) for row in rows}))
    return Line(name, rows[0].method, str(most) if most == len(seeds) else f"{most} of {len(seeds)}", runs, tuple(cells))


def _cell(rows: Sequence[Row], column: Column) -> Cell:
    """A line's rows -> the mean over training seeds of each seed's mean; without a value, why."""
    own = [row for row in rows if row.metric == column.metric and row.steps in (column.steps, None)]
    good = grouped([row for row in own if row.status == "ok" and row.steps == column.steps], ["train_seed"])
    bad = [row for row in rows if row.status != "ok" and (row.train_seed,) not in good]
    if not good:
        # A column that this method was never meant to fill is missing; without any value in the line, the failure is why.
        about = [row for row in bad if row in own] or ([] if any(row.status == "ok" for row in rows) else bad)
        if not about:
            return Cell("missing", MISSING)
        about.sort(key=lambda row: (row.train_seed, row.run))
        return Cell(about[0].status, about[0].status, (), tuple(dict.fromkeys(row.run for row in about)), _reasons(about))
    values = tuple(statistics.fmean(row.value for row in group if row.value is not None) for group in good.values())
    runs = tuple(dict.fromkeys(row.run for group in good.values() for row in group))
    behind = sorted((row for group in good.values() for row in group), key=lambda row: (row.train_seed, row.sample_seed or 0))
    cell = Cell("ok", "", values, runs, _reasons(bad), rows=tuple(behind))
    mean, spread = statistics.fmean(values) / column.divisor, cell.shown_spread
    if spread is None or (spread == 0 and column.metric in COUNTED):
        return replace(cell, text=number(mean))
    if cell.spread_of == TRAINING:
        return replace(cell, text=with_spread(mean, spread / column.divisor))
    text, aside = pair(mean, spread / column.divisor)
    return replace(cell, text=text, aside=aside)


def spread_texts(cell: Cell, column: Column) -> tuple[str, ...]:
    """Over training seeds, over sampling seeds, of one set of images; in the unit of the text, "–" where it is not known."""
    kinds = (TRAINING, SAMPLING, IMAGES)
    return tuple(number(cell.spreads[k] / column.divisor) if k in cell.spreads else MISSING for k in kinds)


def facts(cell: Cell, column: Column) -> list[str]:
    """How sure a value is and where it comes from, for whoever points at it."""
    names = (
        f"sd over {cell.seeds} training seeds",
        f"sd over {cell.sample_seeds} sampling seeds",
        "standard error of one set of images",
    )
    spreads = zip(names, spread_texts(cell, column), strict=True)
    told = [f"{name}: {text}" for name, text in spreads if text != MISSING]
    told += [f"rows: {_some(cell.ids, ' ')}", f"runs: {_some(cell.runs, ', ')}"]
    return told + ([f"other seeds: {cell.reason}"] if cell.reason else [])


def _some(names: Sequence[str], between: str) -> str:
    """The first few, and how many more there are: a page has thousands of cells, and a run's page has them all."""
    more = len(names) - TOLD
    return between.join(names) if more <= 0 else f"{between.join(names[:TOLD])} and {more} more"


def _reasons(rows: Sequence[Row]) -> str:
    return "; ".join(dict.fromkeys(row.reason for row in rows if row.reason))


def ranked(lines: Sequence[Line], columns: Sequence[Column], comparisons: Sequence[Sequence[Comparison]]) -> tuple[Line, ...]:
    """The lines with their best cells marked, best first by the first column; lines without a value there come last.

    `comparisons`: each column's; what is not distinguishable from the best is marked so.
    """
    marks = [_marks(lines, i, column, comparisons[i]) for i, column in enumerate(columns)]
    marked = [replace(line, cells=tuple(map(_marked, line.cells, (mark.get(line.name) for mark in marks)))) for line in lines]

    def place(line: Line) -> tuple[bool, float, str]:
        mean = line.cells[0].mean if line.cells else None
        sign = -1.0 if columns and columns[0].better == "max" else 1.0
        return (mean is None, sign * (mean or 0.0), line.name)

    return tuple(sorted(marked, key=place))


def _marked(cell: Cell, mark: str | None) -> Cell:
    return replace(cell, best=mark == "best", level=mark == "level")


def _marks(lines: Sequence[Line], i: int, column: Column, pairs: Sequence[Comparison]) -> dict[str, str]:
    """By line: best, or level with it as far as the rows can tell."""
    best = _best([line.cells[i] for line in lines], column)
    first = {line.name for line in lines if line.cells[i].mean in best}
    undecided = {name for p in pairs if p.undecided and first & {p.first, p.second} for name in (p.first, p.second)}
    return dict.fromkeys(undecided, "level") | dict.fromkeys(first, "best")


def _best(cells: Sequence[Cell], column: Column) -> set[float]:
    """The best mean of a column; empty where there is nothing to choose between."""
    means = {cell.mean for cell in cells if cell.mean is not None}
    if len(means) < 2 or column.better not in ("min", "max"):
        return set()
    return {min(means) if column.better == "min" else max(means)}
