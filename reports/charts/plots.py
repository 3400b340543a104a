"""A chart as it is declared, once: axes, lines, points with their bars and the runs behind them.

    plot = Plot("fid-1", "Fréchet distance against steps", "digits, T/2.", Axis("steps", "steps"), Axis("FID ↓", "log"), series)
    plot.csv()

reports/charts/svg.py draws it, reports/charts/interactive.py tells it to the page's script; here it is a table.
"""

import csv
import io
import math
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from reports.charts.looks import Look
from reports.numbers import number

Kind = Literal["linear", "log", "steps", "lines"]
DRAWN, MOST_DRAWN = 400, 20_000  # points of a series and of a chart that are drawn; more are not seen on so small a one
FEWEST_DRAWN = 60  # points of a series, however many there are
SHOWN = 300  # rows of a chart's table in a page
LONGEST, LONGEST_AT_BARS = 44, 20  # characters of a name in a chart
NARROWEST = 1e-3  # part of its values that an axis spans at least: less would be rounding, and no difference to read


@dataclass(frozen=True)
class Axis:
    text: str  # name, unit and arrow: "latency (ms) ↓"
    kind: Kind = "linear"  # steps: logarithmic to the base 2, a tick at each count; lines: a place for each line


@dataclass(frozen=True, slots=True)
class Mark:
    """One point. All numbers are in the unit of their axis."""

    x: float
    y: float
    text: str = ""  # the value with its spread, as a table has it; "" where it is one number without a spread
    below: float = 0.0  # length of the bar under y; it may reach below zero
    above: float = 0.0
    x_bar: float = 0.0  # length of the bar to either side
    runs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Series:
    """What is drawn in one stroke: a line of a table, or one of its runs."""

    line: str
    look: Look
    marks: tuple[Mark, ...]
    run: str = ""  # where a line has a series for each run: which one


@dataclass(frozen=True)
class Plot:
    name: str  # unique in the site, safe in a file name
    title: str
    caption: str
    x: Axis
    y: Axis  # of kind lines: horizontal bars of x, whose y is the place of the line
    series: tuple[Series, ...]
    joined: bool = True  # the points of a series, by a line
    marked: bool = True  # a sign at each point
    floor: float | None = None  # a dashed line at this y: real against real images
    where: Mapping[str, str] = field(default_factory=dict)  # dataset, net, protocol: by these a page shows or hides it

    @property
    def bars(self) -> bool:
        return self.y.kind == "lines"

    @property
    def positive(self) -> bool:
        """All of it can be shown on a logarithmic y axis."""
        ys = [mark.y for series in self.series for mark in series.marks]
        return not self.bars and all(y > 0 for y in (*ys, *([] if self.floor is None else [self.floor])))

    @property
    def x_range(self) -> tuple[float, float] | None:
        """Ends of the x axis, where what is drawn does not give it a width, or the values of bars need room; else None."""
        marks = [mark for series in self.series for mark in series.marks]
        low, high = min(mark.x - mark.x_bar for mark in marks), max(mark.x + mark.x_bar for mark in marks)
        if self.bars:
            return 0.0, 1.35 * high or 1.0
        if self.x.kind != "linear" or high - low > NARROWEST * abs(high):
            return None
        return (low - 0.01 * abs(high), high + 0.01 * abs(high)) if high else (-1.0, 1.0)

    def drawn(self, series: Series) -> tuple[Mark, ...]:
        """The points of a series that a drawing has: all, or of a long one its extremes."""
        return thinned(series.marks, max(FEWEST_DRAWN, min(DRAWN, MOST_DRAWN // len(self.series))))

    @property
    def step(self) -> int:
        """Which points a page's table has: every, every 2nd, ..., beside the last of each series."""
        return max(1, math.ceil(sum(len(series.marks) for series in self.series) / SHOWN))

    def rows(self) -> Iterator[tuple[Series, Mark, str, str]]:
        """The table in a page: each row's series and point, the text of x and that of y."""
        for series in self.series:
            last = len(series.marks) - 1
            for i in sorted({*range(0, last + 1, self.step), last}) if series.marks else ():
                mark = series.marks[i]
                x, y = (mark.text, "") if self.bars else (number(mark.x), mark.text or number(mark.y))
                yield series, mark, x or number(mark.x), y

    def csv(self) -> str:
        """All points with all their digits; empty where there is nothing."""
        heads = ["line", self.x.text, self.y.text, "bar below", "bar above", "bar to either side in x", "runs"]
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(heads[:2] + heads[5:] if self.bars else heads)
        for series in self.series:
            for mark in series.marks:
                bars = [mark.x_bar or ""] if self.bars else [mark.y, mark.below or "", mark.above or "", mark.x_bar or ""]
                writer.writerow([series.line, mark.x, *bars, " ".join(mark.runs or (series.run,))])
        return buffer.getvalue()


def thinned(marks: Sequence[Mark], most: int) -> tuple[Mark, ...]:
    """At most so many (4 or more), evenly in their order: of each stretch its lowest and its highest, so that spikes stay."""
    if len(marks) <= most:
        return tuple(marks)
    stretches, inner = (most - 2) // 2, range(1, len(marks) - 1)
    kept = {0, len(marks) - 1}
    for i in range(stretches):
        stretch = inner[i * len(inner) // stretches : (i + 1) * len(inner) // stretches]
        kept |= {min(stretch, key=lambda k: marks[k].y), max(stretch, key=lambda k: marks[k].y)}
    return tuple(marks[i] for i in sorted(kept))


def short(name: str, longest: int = LONGEST) -> str:
    """A name as a chart can show it: in one line, without control characters, its middle left out where it is long."""
    text = "".join(" " if c in "\n\r\t" else "\ufffd" if unicodedata.category(c) in ("Cc", "Cs", "Cn") else c for c in name)
    kept = 2 * longest // 3
    return text if len(text) <= longest else f"{text[:kept]}…{text[kept + 1 - longest :]}"
