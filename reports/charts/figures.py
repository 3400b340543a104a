"""Tables and training logs -> charts, declared: reports/charts/chart.py has them drawn, as data and for the page's script.

looks = looks_of([(line.name, line.method) for line in table.lines])
for chart in quality_charts(table, looks): page += chart.svg
"""

import hashlib
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from reports.charts.chart import Chart
from reports.charts.looks import Looks
from reports.charts.plots import Axis, Kind, Mark, Plot, Series
from reports.curves import GB, Curve, Panel, Point
from reports.numbers import unit_and_divisor
from reports.table import IMAGES, SAMPLING, TRAINING, Cell, Line, Table

BARS = {
    TRAINING: "one sample standard deviation over training seeds",
    SAMPLING: "where there is one training seed, the standard deviation over sampling seeds of its network, which is not that "
    "over training seeds",
    IMAGES: "where there is one set of images, the standard error of its value",
}
STEPS = "steps (network evaluations per image)"
Logs = Mapping[str, tuple[str, Sequence[Mapping[str, Any]]]]  # run -> (line, lines of train.jsonl)


# Quality


def quality_charts(table: Table, looks: Looks) -> list[Chart]:
    """One chart a metric: value against steps, a line a method, bars of the spread that the table shows."""
    metrics = dict.fromkeys(column.metric for column in table.columns if column.steps is not None)
    return [chart for metric in metrics if (chart := _quality_chart(table, metric, looks)) is not None]


def _quality_chart(table: Table, metric: str, looks: Looks) -> Chart | None:
    indices = table.column_indices(metric)
    column = table.columns[indices[0]]
    series = []
    for line in table.lines:
        cells = [(float(table.columns[i].steps or 0), line.cells[i]) for i in indices if line.cells[i].values]
        if cells:
            marks = tuple(_mark(steps, cell, column.divisor) for steps, cell in cells)
            series.append(Series(line.name, looks[line.name], marks))
    if not series:
        return None
    logarithmic = metric == "frechet_distance" and all(mark.y > 0 for of in series for mark in of.marks)
    floor = table.floor if metric == "frechet_distance" and ((table.floor or 0.0) > 0 or not logarithmic) else None
    axis = "Both axes are logarithmic." if logarithmic else "The axis of steps is logarithmic."
    return _chart(
        _identity(metric, table),
        title=f"{_capital(column.head)} against steps",
        caption=f"{table.title}. {bars_text([line.cells[i] for line in table.lines for i in indices])}{axis}",
        x=Axis(STEPS, "steps"),
        y=Axis(column.metric_text, "log" if logarithmic else "linear"),
        series=tuple(series),
        floor=None if floor is None else floor / column.divisor,
        where=_where(table),
    )


def _mark(x: float, cell: Cell, divisor: float, **more: Any) -> Mark:
    """A cell that has values as a point; its bars are the spread that the table shows."""
    spread = (cell.shown_spread or 0.0) / divisor
    fields: dict[str, Any] = {"text": cell.full_text, "below": spread, "above": spread, "runs": cell.runs}
    return Mark(x, (cell.mean or 0.0) / divisor, **(fields | more))


def bars_text(cells: Sequence[Cell]) -> str:
    """What the bars are, told apart by where they come from; "" where there is none."""
    kinds = {cell.spread_of for cell in cells if cell.shown_spread}
    texts = [text for kind, text in BARS.items() if kind in kinds]
    return f"Bars: {'; '.join(texts)}. " if texts else ""


# Training


def loss_charts(group: str, logs: Logs, looks: Looks, where: Mapping[str, str] | None = None) -> list[Chart]:
    """Raw mse and gradient norm against epochs, one line a run. `group`: what the runs share, in words; `where`: see Plot."""
    caption = (
        f"{group}. Raw mean squared error of each method's own identity, one line a run. A perfect network's training "
        "mse is not zero, and the mse of different methods are not comparable: read a curve against its own past only."
    )
    norm = f"{group}. Norm of the whole gradient, one line a run."
    charts = (
        _curves(group, "mse", "Training mse", caption, logs, looks, where or {}),
        _curves(group, "grad_norm", "Gradient norm", norm, logs, looks, where or {}),
    )
    return [chart for chart in charts if chart is not None]


def _curves(group: str, key: str, title: str, caption: str, logs: Logs, looks: Looks, where: Mapping[str, str]) -> Chart | None:
    points = {run: _points(log, key) for run, (_, log) in logs.items()}
    drawn = {run: line for run, (line, _) in logs.items() if points[run]}
    if not drawn:
        return None
    lost = sum(sum(key in record for record in log) - len(points[run]) for run, (_, log) in logs.items())
    said = f" Not shown: {lost} {'record' if lost == 1 else 'records'} without a finite value above zero." if lost else ""
    return _chart(
        f"{key} {group} {sorted(drawn)!r}",
        title=title,
        caption=caption + said,
        x=Axis("epochs"),
        y=Axis(f"{title[0].lower()}{title[1:]}", "log"),
        series=tuple(Series(line, looks[line], points[run], run) for run, line in drawn.items()),
        marked=False,
        where=where,
    )


def _points(log: Sequence[Mapping[str, Any]], key: str) -> tuple[Mark, ...]:
    """The records that have an epoch and a positive, finite value: what a logarithmic axis can show."""
    pairs = [(record.get("epoch"), record.get(key)) for record in log]
    numbers = [(float(x), float(y)) for x, y in pairs if isinstance(x, int | float) and isinstance(y, int | float)]
    return tuple(Mark(x, y) for x, y in numbers if math.isfinite(x) and 0 < y < math.inf)


# Cost


def throughput_chart(table: Table, looks: Looks) -> Chart | None:
    """Bars: training images a second, a bar a method."""
    found = _valued(table, "train_images_per_second")
    series = [
        Series(line.name, looks[line.name], (Mark(cell.mean or 0.0, i, cell.text, x_bar=cell.spread or 0.0, runs=cell.runs),))
        for i, (line, cell) in enumerate(found)
    ]
    if not series:
        return None
    return _chart(
        _identity("throughput", table),
        title="Training throughput",
        caption=f"{table.title}.",
        x=Axis("training images per second ↑"),
        y=Axis("method", "lines"),
        series=tuple(series),
        where=_where(table),
    )


def quality_against_time(quality: Table, cost: Table, looks: Looks) -> Chart | None:
    """Points: Fréchet distance at the fewest steps against seconds of training, a point a line whose every run has both.

    They meet by their runs: a line's name says what varies inside its own table, and is another run's in another table.
    """
    indices = quality.column_indices("frechet_distance")
    times = [cell for _, cell in _valued(cost, "train_seconds")]
    cells = [(line, line.cells[indices[0]]) for line in quality.lines if indices and line.cells[indices[0]].values]
    found = [(line, cell, time) for line, cell in cells if (time := _of_runs(cell.runs, times))]
    if not found:
        return None
    column, series = quality.columns[indices[0]], []
    for line, cell, time in found:
        mark = _mark(time.mean or 0.0, cell, column.divisor, x_bar=time.spread or 0.0)
        series.append(Series(line.name, looks[line.name], (mark,)))
    return _chart(
        _identity("time", cost, quality),
        title=f"{_capital(column.head)} against training time",
        caption=f"{cost.title}. {bars_text([cell for _, cell, _ in found])}Lower left is better: closer to the data after "
        "less time.",
        x=Axis("seconds of training ↓"),
        y=Axis(column.full_head, _log_if_positive(series)),
        series=tuple(series),
        joined=False,
        where=_where(quality),
    )


def _of_runs(runs: Sequence[str], cells: Sequence[Cell]) -> Cell | None:
    """The cell of exactly these runs, or what another holds of them; None where no one cell has all of them, or two have."""
    covering = [cell for cell in cells if set(runs) <= set(cell.runs)]
    if len(covering) != 1:
        return None
    [cell] = covering
    values = tuple(v for run, v in zip(cell.runs, cell.values, strict=True) if run in runs)  # one run a training seed
    return replace(cell, values=values, runs=tuple(runs), rows=tuple(row for row in cell.rows if row.run in runs))


def _log_if_positive(series: Sequence[Series]) -> Kind:
    return "log" if all(mark.y > 0 for of in series for mark in of.marks) else "linear"


# Cost curves


def curve_charts(panel: Panel, looks: Looks) -> list[Chart]:
    """The score at the fewest steps against images seen, hours and peak memory of training: a line a method, a mark a snapshot.

    Without snapshots on the way there is no curve, and the memory alone is drawn; what no row knows is left out.
    """
    curves = [curve for curve in panel.at(panel.columns[0].steps) if curve.points]
    last = [(curve, [(statistics.fmean(curve.memory) / GB, curve.points[-1])]) for curve in curves if curve.memory]
    found = [("peak memory of training (GB)", last)]
    if any(len(curve.points) > 1 for curve in curves):
        unit, divisor = unit_and_divisor("", max(point.images for curve in curves for point in curve.points))
        images = [(curve, [(point.images / divisor, point) for point in curve.points]) for curve in curves]
        hours = [(curve, [(statistics.fmean(p.hours), p) for p in curve.points if p.hours]) for curve in curves]
        seen = f"images seen ({unit})" if unit else "images seen"
        found = [(seen, images), (f"{panel.unit} of training", [(c, points) for c, points in hours if points]), *found]
    return [_cost_chart(panel, axis, drawn, looks) for axis, drawn in found if drawn]


def _cost_chart(panel: Panel, axis: str, drawn: Sequence[tuple[Curve, list[tuple[float, Point]]]], looks: Looks) -> Chart:
    column = panel.columns[0]
    series = [
        Series(curve.line, looks[curve.line], tuple(_mark(x, point.cell, column.divisor) for x, point in points))
        for curve, points in drawn
    ]
    bars = bars_text([point.cell for _, points in drawn for _, point in points])
    return _chart(
        f"{axis.split()[0]}-curve {(panel.dataset, panel.net, panel.protocol, panel.device, column.metric, axis)!r}",
        title=f"{_capital(column.head)} against {axis.partition(' (')[0]}",
        caption=f"{panel.title}. {bars}A mark is a snapshot; the last ends the training.",
        x=Axis(f"{axis} ↓"),
        y=Axis(column.full_head, _log_if_positive(series) if column.metric == "frechet_distance" else "linear"),
        series=tuple(series),
        where={"dataset": panel.dataset, "net": panel.net, "protocol": panel.protocol},
    )


def _valued(table: Table, metric: str) -> list[tuple[Line, Cell]]:
    return [(line, line.cells[i]) for i in table.column_indices(metric) for line in table.lines if line.cells[i].values]


def _capital(text: str) -> str:
    """At the start of a title; "sFID" has its own capitals."""
    return text[0].upper() + text[1:] if text.split()[0].islower() else text


def _where(table: Table) -> dict[str, str]:
    return {name: str(table.group[name]) for name in ("dataset", "net", "protocol") if name in table.group}


def _identity(kind: str, *tables: Table) -> str:
    """A text that differs for different charts of the site."""
    return f"{kind} {[sorted(table.group.items()) for table in tables]!r}"


def _chart(identity: str, **declared: Any) -> Chart:
    name = f"{identity.split()[0].replace('_', '-')}-{hashlib.sha256(identity.encode(errors='surrogatepass')).hexdigest()[:8]}"
    return Chart(Plot(name=name, **declared))
