"""A declared chart -> what the page's script hands to Plotly: traces and axes, without the colours of the page.

    spec(plot)["data"][0]["y"]

Everything is text to Plotly's eyes: it would read <b> and entities in a name.
"""

from typing import Any

from reports.charts.looks import FLOOR_DASH, Dash, Look
from reports.charts.plots import LONGEST_AT_BARS, Axis, Mark, Plot, Series, short
from reports.site.links import run_page, slug

SYMBOLS = {"o": "circle", "s": "square", "^": "triangle-up", "D": "diamond", "v": "triangle-down", "P": "cross", "X": "x"}
KEYED = 8  # lines up to which a chart has a key of its own; the page's switches name them all
Json = dict[str, Any]


def spec(plot: Plot) -> Json:
    """All that assets/charts.js needs of one chart.

    lines: by slug (name, colour, dash). data: Plotly's traces; line: the slug of each, null for one that is not switched.
    behind: of each trace's points (one entry for all of them, where they share it) the runs, as places in `runs`
    (name, page). log: whether y may be logarithmic, and whether it is at first.
    """
    runs = sorted({run for series in plot.series for run in _runs(series)})
    places = {run: i for i, run in enumerate(runs)}
    first = {series.line: i for i, series in reversed(list(enumerate(plot.series)))}
    rank = {line: i for i, line in enumerate(sorted(first))}
    keyed = len(first) <= KEYED and not plot.bars
    traces = [
        _trace(plot, series) | {"showlegend": keyed and first[series.line] == i, "legendrank": rank[series.line]}
        for i, series in enumerate(plot.series)
    ]
    behind = [
        [[places[series.run]]] if series.run else [[places[run] for run in mark.runs] for mark in plot.drawn(series)]
        for series in plot.series
    ]
    looks = {series.line: series.look for series in plot.series}
    if plot.floor is not None:
        traces.append(_floor(plot) | {"showlegend": keyed})
    return {
        "title": plot.title,
        "lines": {slug(line): [short(line), look.colour, dash_text(look.dash)] for line, look in sorted(looks.items())},
        "data": traces,
        "line": [*(slug(series.line) for series in plot.series), *([] if plot.floor is None else [None])],
        "runs": [[run, run_page(run)] for run in runs],
        "behind": behind,
        "log": {"may": plot.positive, "is": plot.y.kind == "log"},
        "layout": {"xaxis": _axis(plot, plot.x), "yaxis": _axis(plot, plot.y), "showlegend": keyed},
    }


def dash_text(dash: Dash) -> str:
    """As SVG and Plotly write it; "" for a solid line."""
    return ",".join(f"{1.6 * length:g}px" for length in dash[1])


def plain(text: str) -> str:
    """So that Plotly shows it letter for letter."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _runs(series: Series) -> tuple[str, ...]:
    return (series.run,) if series.run else tuple(run for mark in series.marks for run in mark.runs)


def _trace(plot: Plot, series: Series) -> Json:
    marks, look = plot.drawn(series), series.look
    shared = {
        "name": plain(short(series.line)),
        "legendgroup": slug(series.line),
        "meta": [plain(short(text, 90)) for text in (series.line, plot.x.text, plot.y.text, series.run)],
        "x": [mark.x for mark in marks],
        **_hover(plot, series, marks),
    }
    if plot.bars:
        bar: Json = {"type": "bar", "orientation": "h", "y": [slug(series.line)], "marker": {"color": look.colour}}
        text = {"text": [plain(mark.text) for mark in marks], "textposition": "none"}  # the page writes it behind the error bar
        return shared | bar | text | _error("x", [mark.x_bar for mark in marks], [mark.x_bar for mark in marks])
    alone = len(marks) == 1
    curve: Json = {
        "type": "scatter",
        "y": [mark.y for mark in marks],
        "mode": "+".join(filter(None, ["lines" * (plot.joined and not alone), "markers" * (plot.marked or alone)])),
        "line": {"color": look.colour, "width": 2 if plot.marked else 1.5, "dash": dash_text(look.dash) or "solid"},
        "marker": _sign(look, 8 if plot.joined else 10),
        "opacity": 1 if plot.marked else 0.85,
    }
    error = _error("y", [mark.below for mark in marks], [mark.above for mark in marks])
    return shared | curve | error | _error("x", [mark.x_bar for mark in marks], [mark.x_bar for mark in marks])


def _sign(look: Look, size: int) -> Json:
    return {"color": look.colour, "symbol": SYMBOLS[look.mark], "size": size}


def _error(axis: str, below: list[float], above: list[float]) -> Json:
    if not any((*below, *above)):
        return {}
    bars = {"type": "data", "symmetric": False, "array": above, "arrayminus": below, "thickness": 1.3, "width": 3}
    return {f"error_{axis}": bars}


def _hover(plot: Plot, series: Series, marks: tuple[Mark, ...]) -> Json:
    """A name can have no part in the template, which has a language of its own."""
    head = "<b>%{meta[0]}</b><br>" + ("%{meta[3]}<br>" if series.run else "")
    if plot.bars:
        return {"hovertemplate": head + "%{meta[1]}: %{text}<extra></extra>"}
    if any(mark.text for mark in marks):
        value: Json = {"text": [plain(mark.text) for mark in marks]}
        return value | {"hovertemplate": head + "%{meta[1]}: %{x:,}<br>%{meta[2]}: %{text}<extra></extra>"}
    return {"hovertemplate": head + "%{meta[1]}: %{x:,.4~g}<br>%{meta[2]}: %{y:,.4~g}<extra></extra>"}


def _floor(plot: Plot) -> Json:
    """From the first to the last x; its colour is the page's ink."""
    xs = [mark.x for series in plot.series for mark in series.marks]
    return {
        "type": "scatter",
        "mode": "lines",
        "name": "real against real",
        "x": [min(xs), max(xs)],
        "y": [plot.floor, plot.floor],
        "line": {"width": 1, "dash": dash_text(FLOOR_DASH)},
        "hovertemplate": "real against real: %{y:,.4~g}<extra></extra>",
    }


def _axis(plot: Plot, axis: Axis) -> Json:
    title = {"title": {"text": plain(short(axis.text, 90))}}
    if axis.kind == "steps":
        steps = sorted({mark.x for series in plot.series for mark in series.marks})
        return title | {"type": "log", "tickvals": steps, "ticktext": [f"{step:g}" for step in steps]}
    if axis.kind == "lines":
        lines = [series.line for series in plot.series]
        names = {"tickvals": list(map(slug, lines)), "ticktext": [plain(short(line, LONGEST_AT_BARS)) for line in lines]}
        return {"type": "category", "autorange": "reversed", "showgrid": False, **names}
    given = {"range": list(plot.x_range)} if axis is plot.x and plot.x_range else {}
    return title | {"type": axis.kind} | given
