"""A declared chart -> an SVG: same bytes every time, ink in the text colour of the page around it.

inline = draw(plot)             # for a page
alone = standalone(inline)      # a file for a paper
"""

import io
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from html import escape
from typing import Any, Literal

import matplotlib as mpl
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

from reports.charts.looks import FLOOR_DASH, Dash, Look
from reports.charts.plots import LONGEST_AT_BARS, Plot, Series, short

INK = "#010203"  # becomes currentColor: legible on a light and on a dark page
PRINTED_INK, PRINTED_FONT = "#1c1e21", "'DejaVu Sans', Arial, Helvetica, sans-serif"
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"
WIDTH, HEIGHT = 3.8, 2.7  # inches; small, so that a phone shows the text nearly at its own size
ROW = 0.215  # inches of the key a line of text
KEYED = 16  # lines that the key names; the others are in the table beneath

STYLE: Any = {
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "bench",
    "text.parse_math": False,  # a name with $ is a name
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": INK,
    "grid.alpha": 0.13,
    "grid.linewidth": 0.6,
    "axes.linewidth": 0.6,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "legend.fontsize": 9,
}


def draw(plot: Plot) -> str:
    """The plot as one <svg> element, whose ids begin with the plot's name."""
    lines = sorted({series.line for series in plot.series})
    height = 1.0 + 0.4 * len(lines) if plot.bars else HEIGHT + ROW * max(0, _shape([short(line) for line in lines])[1] - 3)
    with _figure(height) as (made, axes):
        if plot.bars:
            _bars(axes, plot)
        else:
            _curves(axes, plot)
            _legend(axes, plot)
        return _to_svg(made, name=plot.name, title=f"{plot.title}; {plot.caption.partition('. ')[0]}")


def standalone(svg: str) -> str:
    """The same drawing as a file of its own: dark ink, and a font that every machine finds."""
    concrete = _in_tags(_in_tags(svg, re.escape("currentColor"), PRINTED_INK), re.escape(FONT), PRINTED_FONT)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{concrete}'


@contextmanager
def _figure(height: float) -> Iterator[tuple[Figure, Axes]]:
    """A figure with one axes in the house's style, which lasts as long as the context. Touches no pyplot state."""
    with mpl.rc_context(STYLE), warnings.catch_warnings():
        # Only the measuring of text uses matplotlib's own font; the reader's browser has its own glyphs.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        made = Figure(figsize=(WIDTH, height), layout="constrained")
        yield made, made.add_subplot()


# What is drawn


def _curves(axes: Axes, plot: Plot) -> None:
    for series in plot.series:
        _series(axes, plot, series)
    if plot.floor is not None:
        axes.axhline(plot.floor, color=INK, linestyle=FLOOR_DASH, linewidth=1)
    axes.margins(x=0.05 if plot.joined else 0.15, y=0.12 if plot.marked else 0.05)
    if plot.x_range:
        axes.set_xlim(plot.x_range)
    axes.set_xlabel(plot.x.text)
    axes.set_ylabel(plot.y.text)
    if plot.x.kind == "steps":
        _steps_axis(axes, sorted({mark.x for series in plot.series for mark in series.marks}))
    else:
        _plain_numbers(axes, "x")
    _log_y(axes) if plot.y.kind == "log" else _plain_numbers(axes, "y")


def _series(axes: Axes, plot: Plot, series: Series) -> None:
    marks, look = plot.drawn(series), series.look
    xs, ys = [mark.x for mark in marks], [mark.y for mark in marks]
    if not plot.marked:
        alone = look.mark if len(marks) == 1 else ""  # a single point makes no line
        axes.plot(xs, ys, color=look.colour, linestyle=look.dash, linewidth=1.3, alpha=0.85, marker=alone)
        return
    # On a logarithmic axis a bar ends above zero.
    below = [min(mark.below, 0.9 * mark.y) if plot.y.kind == "log" else mark.below for mark in marks]
    axes.errorbar(
        xs,
        ys,
        xerr=[mark.x_bar for mark in marks] if any(mark.x_bar for mark in marks) else None,
        yerr=[below, [mark.above for mark in marks]] if any(mark.below or mark.above for mark in marks) else None,
        color=look.colour,
        marker=look.mark,
        markersize=5 if plot.joined else 7,
        linestyle=look.dash if plot.joined else "none",
        linewidth=1.6,
        elinewidth=1.1,
        capsize=2.5,
    )


def _bars(axes: Axes, plot: Plot) -> None:
    """Horizontal bars from zero, the value written at the end of each."""
    marks = [(series, mark) for series in plot.series for mark in series.marks]
    for place, (series, mark) in enumerate(marks):
        error = mark.x_bar or None
        axes.barh(place, mark.x, xerr=error, height=0.6, color=series.look.colour, ecolor=INK, capsize=2.5)
        axes.annotate(mark.text, (mark.x + mark.x_bar, place), (5, 0), textcoords="offset points", va="center")
    axes.set_yticks(range(len(marks)), [short(series.line, LONGEST_AT_BARS) for series, _ in marks])
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.set_xlim(plot.x_range)
    _plain_numbers(axes, "x", most=4)  # beside long names there is little room
    axes.set_xlabel(plot.x.text)


# Axes


def _steps_axis(axes: Axes, steps: Sequence[float]) -> None:
    axes.set_xscale("log", base=2)
    axes.set_xticks(steps, [f"{step:g}" for step in steps])
    axes.xaxis.set_minor_locator(NullLocator())


def _log_y(axes: Axes) -> None:
    """A logarithmic y axis with plain numbers; called when all is drawn, for the ticks depend on the range."""
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    if high / low < 10:  # powers of ten would leave an axis without numbers
        axes.yaxis.set_major_locator(MaxNLocator(nbins=5))
    else:
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low < 500 else (1,)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _plain_numbers(axes: Axes, axis: Literal["x", "y"], most: int = 6) -> None:
    """Grouped numbers on a linear axis."""
    chosen = axes.xaxis if axis == "x" else axes.yaxis
    chosen.set_major_locator(MaxNLocator(nbins=most))
    chosen.set_major_formatter(FuncFormatter(lambda value, _: f"{round(value, 9):,.6g}"))


# The key


def _legend(axes: Axes, plot: Plot) -> None:
    """Above the axes, in alphabetical order. Names are set afterwards: matplotlib leaves out those that begin with "_"."""
    looks = {series.line: series.look for series in plot.series}
    lines = sorted(looks)
    named = lines if len(lines) <= KEYED else lines[: KEYED - 1]
    dashed = plot.joined and (not plot.marked or any(len(series.marks) > 1 for series in plot.series))
    handles: list[Artist] = [_handle(looks[line], dashed=dashed, marked=plot.marked) for line in named]
    names = [short(line) for line in named]
    if len(named) < len(lines):
        handles.append(Line2D([], [], linestyle="none"))
        names.append(f"and {len(lines) - len(named)} more, in the table")
    if plot.floor is not None:
        handles.append(Line2D([], [], color=INK, linestyle=FLOOR_DASH, linewidth=1))
        names.append("real against real")
    made = axes.get_figure(root=True)
    assert made is not None, "axes of _figure()"
    box = made.legend(
        handles,
        [str(i) for i in range(len(names))],
        loc="outside upper left",
        ncols=_shape(names)[0],
        borderpad=0,
        handlelength=1.8,
        columnspacing=1.2,
    )
    for text, name in zip(box.get_texts(), names, strict=True):
        text.set_text(name)


def _handle(look: Look, *, dashed: bool, marked: bool) -> Line2D:
    dash: Dash | Literal["none"] = look.dash if dashed else "none"
    mark = look.mark if marked else ""
    return Line2D([], [], color=look.colour, linestyle=dash, marker=mark, markersize=5, linewidth=1.6)


def _shape(names: Sequence[str]) -> tuple[int, int]:
    """Columns and rows of a key with these names."""
    columns = len(names) if sum(len(name) + 7 for name in names) <= 54 else 2 if max(map(len, names)) < 20 else 1
    return columns, -(-min(len(names), KEYED) // columns)


# Text


def _to_svg(made: Figure, *, name: str, title: str) -> str:
    """`name` makes the ids unique in the page; `title` is the drawing's text for screen readers."""
    buffer = io.StringIO()
    made.savefig(buffer, format="svg", transparent=True)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    # The metadata have the date of drawing; the style sheet would rule the whole page.
    for unwanted in (r"<metadata>.*?</metadata>\s*", r"<!--.*?-->\s*", r"<style[^>]*>.*?</style>\s*"):
        text = re.sub(unwanted, "", text, flags=re.DOTALL)
    text = _in_tags(_in_tags(text, "'DejaVu Sans'", FONT), INK, "currentColor")
    text = _in_tags(text, r"""(\bid="|\burl\(#|href="#)""", rf"\g<1>{name}-")
    return _opened(text, name, title)


def _in_tags(text: str, pattern: str, replacement: str) -> str:
    """Replaced in tags only: between them are names, which may be anything."""
    return re.sub(r"<[^>]*>", lambda tag: re.sub(pattern, replacement, tag[0]), text)


def _opened(text: str, name: str, title: str) -> str:
    """The same drawing under an <svg> tag with a size that shrinks, a role and a title."""
    head, body = text[: text.index(">") + 1], text[text.index(">") + 1 :]
    box = re.search(r'viewBox="([^"]+)"', head)
    assert box is not None, "matplotlib writes a viewBox"
    width, height = box[1].split()[2:]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="{box[1]}" '
        f'width="{width}pt" height="{height}pt" role="img" aria-labelledby="{name}-title" stroke-linejoin="round">'
        f'<title id="{name}-title">{escape(short(title, 400))}</title>{body.strip()}\n'
    )
