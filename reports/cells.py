"""The rows of one table -> its columns, its lines' cells, and which cell of a column is the best."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace

from bench.rows import Row
from reports.lines import grouped
from reports.numbers import number, unit_and_divisor, with_spread
from reports.table import Cell, Column, Line

MISSING = "–"
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
    cell = Cell("ok", "", values, runs, _reasons(bad))
    mean, spread = statistics.fmean(values) / column.divisor, cell.spread
    if spread is None or (spread == 0 and column.metric in COUNTED):
        return replace(cell, text=number(mean))
    return replace(cell, text=with_spread(mean, spread / column.divisor))


def _reasons(rows: Sequence[Row]) -> str:
    return "; ".join(dict.fromkeys(row.reason for row in rows if row.reason))


def ranked(lines: Sequence[Line], columns: Sequence[Column]) -> tuple[Line, ...]:
    """The lines with their best cells marked, best first by the first column; lines without a value there come last."""
    best = [_best([line.cells[i] for line in lines], column) for i, column in enumerate(columns)]
    marked = [
        replace(line, cells=tuple(replace(cell, best=cell.mean in best[i]) for i, cell in enumerate(line.cells)))
        for line in lines
    ]

    def place(line: Line) -> tuple[bool, float, str]:
        mean = line.cells[0].mean if line.cells else None
        sign = -1.0 if columns and columns[0].better == "max" else 1.0
        return (mean is None, sign * (mean or 0.0), line.name)

    return tuple(sorted(marked, key=place))


def _best(cells: Sequence[Cell], column: Column) -> set[float]:
    """The best mean of a column; empty where there is nothing to choose between."""
    means = {cell.mean for cell in cells if cell.mean is not None}
    if len(means) < 2 or column.better not in ("min", "max"):
        return set()
    return {min(means) if column.better == "min" else max(means)}
