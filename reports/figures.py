"""Tables and training logs -> charts, as SVG text.

looks = looks_of([(line.name, line.method) for line in table.lines])
for chart in quality_charts(table, looks): page += chart.svg
"""

import hashlib
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure

from reports.curves import GB, Curve, Panel, Point
from reports.looks import FLOOR_DASH, Looks, draw_points, legend_of
from reports.numbers import unit_and_divisor
from reports.svg import INK, figure, log_y, plain_numbers, steps_axis, to_svg
from reports.table import IMAGES, SAMPLING, TRAINING, Cell, Line, Table

BARS = {
    TRAINING: "one sample standard deviation over training seeds",
    SAMPLING: "where there is one training seed, the standard deviation over sampling seeds of its network, which is not that "
    "over training seeds",
    IMAGES: "where there is one set of images, the standard error of its value",
}
Logs = Mapping[str, tuple[str, Sequence[Mapping[str, Any]]]]  # run -> (line, lines of train.jsonl)


@dataclass(frozen=True)
class Chart:
    name: str  # unique in a page
    title: str
    caption: str
    svg: str


# Quality


def quality_charts(table: Table, looks: Looks) -> list[Chart]:
    """One chart a metric: value against steps, a line a method, bars of the spread that the table shows."""
    metrics = dict.fromkeys(column.metric for column in table.columns if column.steps is not None)
    return [chart for metric in metrics if (chart := _quality_chart(table, metric, looks)) is not None]


def _quality_chart(table: Table, metric: str, looks: Looks) -> Chart | None:
    indices = table.column_indices(metric)
    column = table.columns[indices[0]]
    drawn = [line for line in table.lines if any(line.cells[i].values for i in indices)]
    if not drawn:
        return None
    lowest = min(mean for line in drawn for i in indices if (mean := line.cells[i].mean) is not None)
    logarithmic = metric == "frechet_distance" and lowest > 0
    floor = table.floor if metric == "frechet_distance" and ((table.floor or 0.0) > 0 or not logarithmic) else None
    with figure() as (made, axes):
        for line in drawn:
            filled = [i for i in indices if line.cells[i].values]
            cells = [line.cells[i] for i in filled]
            xs, ys = (
                [float(table.columns[i].steps or 0) for i in filled],
                [(cell.mean or 0.0) / column.divisor for cell in cells],
            )
            draw_points(axes, xs, ys, looks[line.name], xerr=None, yerr=_bars(cells, logarithmic, column.divisor), joined=True)
        if floor is not None:
            axes.axhline(floor / column.divisor, color=INK, linestyle=FLOOR_DASH, linewidth=1)
        steps_axis(axes, [float(table.columns[i].steps or 0) for i in indices])
        axes.set_ylabel(column.metric_text)
        log_y(axes) if logarithmic else plain_numbers(axes, "y")
        legend_of(axes, [line.name for line in drawn], looks, floor="" if floor is None else "real against real")
        bars = bars_text([li.cells[i] for li in drawn for i in indices])
        axis = "Both axes are logarithmic." if logarithmic else "The axis of steps is logarithmic."
        title = f"{_capital(column.head)} against steps"
        return _chart(made, _identity(metric, table), title, f"{table.title}. {bars}{axis}")


def _bars(cells: Sequence[Cell], logarithmic: bool, divisor: float) -> list[list[float]]:
    """Lengths below and above the means. On a logarithmic axis a bar ends above zero."""
    spreads = [((cell.mean or 0.0) / divisor, (cell.shown_spread or 0.0) / divisor) for cell in cells]
    below = [min(spread, 0.9 * mean) if logarithmic else spread for mean, spread in spreads]
    return [below, [spread for _, spread in spreads]]


def bars_text(cells: Sequence[Cell]) -> str:
    """What the bars are, told apart by where they come from; "" where there is none."""
    kinds = {cell.spread_of for cell in cells if cell.shown_spread}
    texts = [text for kind, text in BARS.items() if kind in kinds]
    return f"Bars: {'; '.join(texts)}. " if texts else ""


# Training


def loss_charts(group: str, logs: Logs, looks: Looks) -> list[Chart]:
    """Raw mse and gradient norm against epochs, one line a run. `group`: what the runs share, in words."""
    caption = (
        f"{group}. Raw mean squared error of each method's own identity, one line a run. A perfect network's training "
        "mse is not zero, and the mse of different methods are not comparable: read a curve against its own past only."
    )
    norm = f"{group}. Norm of the whole gradient, one line a run."
    charts = (
        _curves(group, "mse", "Training mse", caption, logs, looks),
        _curves(group, "grad_norm", "Gradient norm", norm, logs, looks),
    )
    return [chart for chart in charts if chart is not None]


def _curves(group: str, key: str, title: str, caption: str, logs: Logs, looks: Looks) -> Chart | None:
    points = {run: _points(log, key) for run, (_, log) in logs.items()}
    if not any(points.values()):
        return None
    with figure() as (made, axes):
        for run, (line, _) in logs.items():
            xs, ys = [x for x, _ in points[run]], [y for _, y in points[run]]
            mark = looks[line].mark if len(xs) == 1 else ""  # a single point makes no line
            axes.plot(xs, ys, color=looks[line].colour, linestyle=looks[line].dash, linewidth=1.3, alpha=0.85, marker=mark)
        axes.set_xlabel("epochs")
        axes.set_ylabel(f"{title[0].lower()}{title[1:]}")
        plain_numbers(axes, "x")
        log_y(axes)
        legend_of(axes, sorted({line for run, (line, _) in logs.items() if points[run]}), looks, marks=False)
        return _chart(made, f"{key} {group}", title, caption)


def _points(log: Sequence[Mapping[str, Any]], key: str) -> list[tuple[float, float]]:
    """(epoch, value) of the records that have a positive, finite value: what a logarithmic axis can show."""
    pairs = [(record.get("epoch"), record.get(key)) for record in log]
    numbers = [(float(x), float(y)) for x, y in pairs if isinstance(x, int | float) and isinstance(y, int | float)]
    return [(x, y) for x, y in numbers if 0 < y < float("inf")]


# Cost


def throughput_chart(table: Table, looks: Looks) -> Chart | None:
    """Bars: training images a second, a bar a method."""
    found = _valued(table, "train_images_per_second")
    if not found:
        return None
    with figure(height=1.0 + 0.4 * len(found)) as (made, axes):
        for place, (line, cell) in enumerate(found):
            mean, spread = cell.mean or 0.0, cell.spread or 0.0
            axes.barh(place, mean, xerr=spread or None, height=0.6, color=looks[line.name].colour, ecolor=INK, capsize=2.5)
            axes.annotate(cell.text, (mean + spread, place), (5, 0), textcoords="offset points", va="center")
        axes.set_yticks(range(len(found)), [line.name for line, _ in found])
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.set_xlim(0, 1.35 * max((cell.mean or 0.0) + (cell.spread or 0.0) for _, cell in found))
        plain_numbers(axes, "x")
        axes.set_xlabel("training images per second ↑")
        return _chart(made, _identity("throughput", table), "Training throughput", f"{table.title}.")


def quality_against_time(quality: Table, cost: Table, looks: Looks) -> Chart | None:
    """Points: Fréchet distance at the fewest steps against seconds of training, a point a method that has both."""
    indices = quality.column_indices("frechet_distance")
    seconds = {line.name: cell for line, cell in _valued(cost, "train_seconds")}
    lines = [line for line in quality.lines if indices and line.cells[indices[0]].values and line.name in seconds]
    if not lines:
        return None
    column = quality.columns[indices[0]]
    with figure() as (made, axes):
        for line in lines:
            cell, time, look = line.cells[indices[0]], seconds[line.name], looks[line.name]
            draw_points(
                axes,
                [time.mean or 0.0],
                [(cell.mean or 0.0) / column.divisor],
                look,
                xerr=time.spread,
                yerr=_bars([cell], True, column.divisor),
                joined=False,
            )
        axes.margins(x=0.15, y=0.2)
        axes.set_xlabel("seconds of training ↓")
        axes.set_ylabel(", ".join(filter(None, [column.metric_text, column.steps_text])))
        plain_numbers(axes, "x")
        log_y(axes) if all((line.cells[indices[0]].mean or 0.0) > 0 for line in lines) else plain_numbers(axes, "y")
        legend_of(axes, [line.name for line in lines], looks, lines=False)
        title = f"{_capital(column.head)} against training time"
        bars = bars_text([line.cells[indices[0]] for line in lines])
        caption = f"{cost.title}. {bars}Lower left is better: closer to the data after less time."
        return _chart(made, _identity("time", cost, quality), title, caption)


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
    cells = [point.cell for _, points in drawn for _, point in points]
    logarithmic = column.metric == "frechet_distance" and all((cell.mean or 0.0) > 0 for cell in cells)
    with figure() as (made, axes):
        for curve, points in drawn:
            own = [point.cell for _, point in points]
            ys, bars = [(cell.mean or 0.0) / column.divisor for cell in own], _bars(own, logarithmic, column.divisor)
            xs = [x for x, _ in points]
            draw_points(axes, xs, ys, looks[curve.line], xerr=None, yerr=bars, joined=len(points) > 1)
        axes.margins(x=0.1, y=0.15)
        axes.set_xlabel(f"{axis} ↓")
        axes.set_ylabel(", ".join(filter(None, [column.metric_text, column.steps_text])))
        plain_numbers(axes, "x")
        log_y(axes) if logarithmic else plain_numbers(axes, "y")
        legend_of(axes, [curve.line for curve, _ in drawn], looks, lines=any(len(points) > 1 for _, points in drawn))
        title = f"{_capital(column.head)} against {axis.partition(' (')[0]}"
        identity = f"{axis.split()[0]}-curve {(panel.dataset, panel.net, panel.protocol, panel.device, axis)!r}"
        return _chart(
            made, identity, title, f"{panel.title}. {bars_text(cells)}A mark is a snapshot; the last ends the training."
        )


def _valued(table: Table, metric: str) -> list[tuple[Line, Cell]]:
    return [(line, line.cells[i]) for i in table.column_indices(metric) for line in table.lines if line.cells[i].values]


def _capital(text: str) -> str:
    """At the start of a title; "sFID" has its own capitals."""
    return text[0].upper() + text[1:] if text.split()[0].islower() else text


def _identity(kind: str, *tables: Table) -> str:
    """A text that differs for different charts of a page."""
    return f"{kind} {[sorted(table.group.items()) for table in tables]!r}"


def _chart(made: Figure, identity: str, title: str, caption: str) -> Chart:
    name = f"{identity.split()[0].replace('_', '-')}-{hashlib.sha256(identity.encode()).hexdigest()[:8]}"
    return Chart(name, title, caption, to_svg(made, name=name, title=f"{title}; {caption.partition('. ')[0]}"))
