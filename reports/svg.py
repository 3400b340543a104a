"""A matplotlib figure -> an SVG that stands inside a page: same bytes every time, ink in the page's own text colour."""

import io
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from html import escape
from typing import Any

import matplotlib as mpl
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

INK = "#010203"  # becomes currentColor: legible on a light and on a dark page
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"
WIDTH, HEIGHT = 3.8, 2.7  # inches; small, so that a phone shows the text nearly at its own size

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


@contextmanager
def figure(height: float = HEIGHT) -> Iterator[tuple[Figure, Axes]]:
    """A figure with one axes in the house's style, which lasts as long as the context. Touches no pyplot state."""
    with mpl.rc_context(STYLE), warnings.catch_warnings():
        # Only the measuring of text uses matplotlib's own font; the reader's browser has its own glyphs.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        made = Figure(figsize=(WIDTH, height), layout="constrained")
        yield made, made.add_subplot()


# Axes


def steps_axis(axes: Axes, steps: Sequence[float]) -> None:
    """A base-2 logarithmic x axis with a tick at each step count."""
    axes.set_xscale("log", base=2)
    axes.set_xticks(steps, [f"{step:g}" for step in steps])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("steps (network evaluations per image)")


def log_y(axes: Axes) -> None:
    """A logarithmic y axis with plain numbers; call it when all is drawn, for the ticks depend on the range."""
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    if high / low < 10:  # powers of ten would leave an axis without numbers
        axes.yaxis.set_major_locator(MaxNLocator(nbins=5))
    else:
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low < 500 else (1,)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def plain_numbers(axes: Axes, axis: str) -> None:
    """Grouped numbers on a linear axis."""
    chosen = axes.xaxis if axis == "x" else axes.yaxis
    chosen.set_major_locator(MaxNLocator(nbins=6))
    chosen.set_major_formatter(FuncFormatter(lambda value, _: f"{round(value, 9):,.6g}"))


def legend(axes: Axes, handles: Sequence[Artist], names: Sequence[str]) -> None:
    """A legend above the axes. Names are set afterwards, because matplotlib leaves out those that begin with "_"."""
    columns = len(names) if sum(len(name) + 7 for name in names) <= 54 else 2 if max(map(len, names)) < 20 else 1
    made = axes.get_figure(root=True)
    assert made is not None, "axes of figure()"
    box = made.legend(
        handles,
        [str(i) for i in range(len(names))],
        loc="outside upper left",
        ncols=columns,
        borderpad=0,
        handlelength=1.8,
        columnspacing=1.2,
    )
    for text, name in zip(box.get_texts(), names, strict=True):
        text.set_text(name)


# Text


def to_svg(made: Figure, *, name: str, title: str) -> str:
    """The figure as one <svg> element. `name` makes its ids unique in the page; `title` is its text for screen readers."""
    buffer = io.StringIO()
    made.savefig(buffer, format="svg", transparent=True)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    # The metadata have the date of drawing; the style sheet would rule the whole page.
    for unwanted in (r"<metadata>.*?</metadata>\s*", r"<!--.*?-->\s*", r"<style[^>]*>.*?</style>\s*"):
        text = re.sub(unwanted, "", text, flags=re.DOTALL)
    text = text.replace("'DejaVu Sans'", FONT).replace(INK, "currentColor")
    text = re.sub(r"""(\bid="|\burl\(#|href="#)([^")]+)""", lambda match: f"{match[1]}{name}-{match[2]}", text)
    return _opened(text, name, title)


def _opened(text: str, name: str, title: str) -> str:
    """The same drawing under an <svg> tag with a size that shrinks, a role and a title."""
    head, body = text[: text.index(">") + 1], text[text.index(">") + 1 :]
    box = re.search(r'viewBox="([^"]+)"', head)
    assert box is not None, "matplotlib writes a viewBox"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="{box[1]}" '
        f'width="{box[1].split()[2]}pt" role="img" aria-labelledby="{name}-title" stroke-linejoin="round">'
        f'<title id="{name}-title">{escape(title)}</title>{body.strip()}\n'
    )
