r"""Tables of text that fit a page of LaTeX: size of type, columns that may break, and columns that go into another tabular.

    row = Row((Entry((Span("soflow"),)), Entry((Span("0.19", "bold"),))), section="FID ↓")
    block = Block(("method", "1 step"), (False, True), (row,))
    [fit] = fitted(block)
    reports.latex.floats.tabular(fit, block.rows)

Of packages only booktabs is needed. Widths are estimates: reports.latex.text.width.
"""

import bisect
import functools
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from reports.latex.text import breakable, escape_latex, lines_of, narrowest, pieces, width

LIMIT = 345.0  # points: the width of text in the class article
PAGE = 540.0  # the height of its page, less a little
SHARE = LIMIT / 100  # a column that may break is some of these wide
MOST_HEAD_LINES = 4
MOST_LINES = 3  # of a cell, before smaller type is tried
MOST_BROKEN = 6  # and where even names are broken, before columns go into another tabular
NAMES = (150.0, 60.0, 0.0)  # points at 10 pt: a column of shorter texts is not broken, unless there is no other way
RULES = 20.0  # points above, below and between, and between two tabulars
BETWEEN = 2.0  # rows of which some are broken
INDENT = 10.0  # \quad, at 10 pt


@dataclass(frozen=True)
class Size:
    """Of type. `scale`: widths against those at 10 pt."""

    command: str
    scale: float
    line: float  # points from line to line
    gap: int  # points on each side of a column, but for the outermost sides
    aside: str = ""  # of what stands smaller beside a value
    aside_scale: float = 0.8


SIZES = (
    Size("", 1.0, 12.0, 6, r"\footnotesize", 0.85),
    Size(r"\small", 0.925, 11.0, 5, r"\scriptsize"),
    Size(r"\footnotesize", 0.85, 9.5, 4, r"\scriptsize"),
    Size(r"\footnotesize", 0.85, 9.5, 3, r"\scriptsize"),
    Size(r"\scriptsize", 0.8, 8.0, 3),
)


@dataclass(frozen=True)
class Span:
    text: str
    style: str = ""  # bold | aside | "": as what is around it

    def latex(self, size: Size, *, breaks: bool) -> str:
        text = breakable(self.text) if breaks else escape_latex(self.text)
        if self.style == "bold":
            return rf"\textbf{{{text}}}"
        return rf"{{{size.aside} {text}}}" if self.style == "aside" and size.aside else text

    def width(self, size: Size) -> float:
        scale = size.aside_scale if self.style == "aside" else size.scale
        return width(self.text, bold=self.style == "bold") * scale


@dataclass(frozen=True)
class Entry:
    """A cell: spans with a space between."""

    spans: tuple[Span, ...]

    @property
    def text(self) -> str:
        return " ".join(span.text for span in self.spans)

    def latex(self, size: Size, *, breaks: bool) -> str:
        return " ".join(span.latex(size, breaks=breaks) for span in self.spans)

    def width(self, size: Size) -> float:
        return sum(span.width(size) for span in self.spans) + (len(self.spans) - 1) * width(" ") * size.scale


@dataclass(frozen=True)
class Row:
    cells: tuple[Entry, ...]
    section: str = ""  # rows of a section stand together under its name


@dataclass(frozen=True)
class Block:
    """Rows and heads. `numbers`: by column, that it stands on the right and its cells do not break."""

    heads: tuple[str, ...]
    numbers: tuple[bool, ...]
    rows: tuple[Row, ...]

    @functools.cached_property
    def right(self) -> tuple[bool, ...]:
        """By column: as `numbers` says, unless it takes a third of the page."""
        widths = [max((row.cells[i].width(SIZES[-1]) for row in self.rows), default=0.0) for i in range(len(self.heads))]
        return tuple(number and wide < LIMIT / 3 for number, wide in zip(self.numbers, widths, strict=True))

    @functools.cached_property
    def indented(self) -> bool:
        return any(row.section for row in self.rows)


@dataclass(frozen=True)
class Fit:
    """How some columns of a block are set; all tuples are by column."""

    size: Size
    columns: tuple[int, ...]  # of the block
    heads: tuple[tuple[str, ...], ...]  # lines
    shares: tuple[int, ...]  # hundredths of the page; 0: as wide as its widest cell, without a break
    right: tuple[bool, ...]
    width: float  # points in all

    def lines(self, row: Row) -> int:
        """How high the row is."""
        broken = [(i, share * SHARE / self.size.scale) for i, share in zip(self.columns, self.shares, strict=True) if share]
        rooms = ((row.cells[i].text, room - INDENT * (i == 0 and row.section != "")) for i, room in broken)
        return max((len(lines_of(text, room)) for text, room in rooms), default=1)

    def height(self, rows: Sequence[Row]) -> float:
        """Points that these rows take with the heads."""
        return self.head_height + sum(map(self.row_height, rows)) + self.section_height * len({r.section for r in rows} - {""})

    @property
    def head_height(self) -> float:
        return RULES + self.size.line * max(map(len, self.heads), default=0)

    @property
    def section_height(self) -> float:
        """Of the name above rows that stand together."""
        return 1.5 * self.size.line

    def row_height(self, row: Row) -> float:
        return self.size.line * self.lines(row) + (BETWEEN if any(self.shares) else 0.0)


@functools.lru_cache(1000)
def head_room(head: str, count: int) -> float:
    """Points at 10 pt in which a head has no more than `count` lines."""
    cut = pieces(head)
    ends = list(itertools.accumulate(map(width, cut), initial=0.0))
    bare = [ends[k] + width(piece.rstrip()) for k, piece in enumerate(cut)]  # up to a piece, without the space behind it
    rooms = sorted({end - start for i, start in enumerate(ends[:-1]) for end in bare[i:]} | {narrowest(head)})
    rooms = rooms[bisect.bisect_left(rooms, narrowest(head)) :]
    found = bisect.bisect_left(rooms, True, key=lambda room: len(lines_of(head, room)) <= count)  # in more room, no more lines
    return rooms[found] if found < len(rooms) else width(head)


@dataclass(frozen=True)
class Measures:
    """Points that the columns of a block take in a size of type."""

    block: Block
    size: Size
    names: float = 0.0  # one of NAMES

    @functools.cached_property
    def whole(self) -> list[float]:
        """Without a break in a cell."""
        cells = [[row.cells[i].width(self.size) for row in self.block.rows] for i in range(len(self.block.heads))]
        return [max(column, default=0.0) + self._indent(i) for i, column in enumerate(cells)]

    @functools.cached_property
    def least(self) -> list[float]:
        """With breaks wherever there can be one."""
        heads = [max(narrowest(head), min(head_room(head, MOST_HEAD_LINES), LIMIT / 4)) for head in self.block.heads]
        return [max(self._least(i), room * self.size.scale) for i, room in enumerate(heads)]

    def _least(self, i: int) -> float:
        if self.block.right[i] or self.whole[i] < self.names * self.size.scale:
            return self.whole[i]
        words = (narrowest(row.cells[i].text) for row in self.block.rows)
        return max(words, default=0.0) * self.size.scale + self._indent(i)

    def _indent(self, i: int) -> float:
        return INDENT * self.size.scale if i == 0 and self.block.indented else 0.0


def fitted(block: Block, sizes: Sequence[Size] = SIZES) -> list[Fit]:
    """In as few tabulars as can be, each begun by the first column; then on as few pages, then in as large a type.

    `sizes`: largest first. Nothing is too wide unless two columns alone are.
    """
    most = max(1, len(block.heads) - 1)
    tries: list[tuple[Size, float]] = [*((size, MOST_LINES) for size in sizes), (sizes[-1], math.inf)]
    least = Measures(block, sizes[-1]).least
    fewest = math.ceil(sum(least[1:]) / max(1.0, LIMIT - least[0]))  # fewer can not be as narrow
    for count in range(max(1, min(fewest, most)), most + 1):
        groups = _groups(block, count, sizes[-1])
        found = [_all_fit(Measures(block, size, NAMES[0]), groups, lines) for size, lines in tries]
        if any(found):
            return min(filter(None, found), key=lambda fits: _pages(block, fits))
        for names in NAMES[1:]:
            if fits := _all_fit(Measures(block, sizes[-1], names), groups, MOST_BROKEN):
                return fits
    return [_broken(Measures(block, sizes[-1]), group) for group in groups]


def _all_fit(found: Measures, groups: Sequence[tuple[int, ...]], most: float) -> list[Fit]:
    """Nothing where one of them does not."""
    fits = [_fit(found, group, most) for group in groups]
    return [fit for fit in fits if fit] if all(fits) else []


def _pages(block: Block, fits: Sequence[Fit]) -> int:
    return math.ceil(sum(fit.height(block.rows) for fit in fits) / (PAGE - 60))  # less a caption


def _groups(block: Block, count: int, size: Size) -> list[tuple[int, ...]]:
    """The columns in at most so many groups, about as wide as one another, each begun by the first column."""
    least = Measures(block, size).least
    room = sum(least[1:]) / count
    while True:
        groups: list[list[int]] = [[]]
        for i in range(1, len(least)):
            if groups[-1] and sum(least[k] for k in (*groups[-1], i)) > room:
                groups.append([])
            groups[-1].append(i)
        if len(groups) <= count:
            return [(0, *group) for group in groups]
        room *= 1.05


def _fit(found: Measures, columns: tuple[int, ...], most: float) -> Fit | None:
    """Unbroken below heads of a few lines, else broken; None where that is too wide or has cells of more than `most` lines."""
    block, size = found.block, found.size
    for count in range(1, MOST_HEAD_LINES + 1):
        widths = [max(found.whole[i], head_room(block.heads[i], count) * size.scale) for i in columns]
        if (fit := _made(found, columns, widths, [0] * len(columns))).width <= LIMIT:
            return fit
    fit = _broken(found, columns)
    return fit if fit.width <= LIMIT and max(map(fit.lines, block.rows), default=1) <= most else None


def _broken(found: Measures, columns: tuple[int, ...]) -> Fit:
    """Columns of text share what those of numbers leave: which has most to fill in its room gets the next hundredth."""
    text = [i for i in columns if not found.block.right[i]]
    shares = {i: math.ceil(found.least[i] / SHARE) for i in text}
    filled = {i: sum(row.cells[i].width(found.size) for row in found.block.rows) for i in text}
    left = LIMIT - 2 * found.size.gap * (len(columns) - 1) - sum(found.least[i] for i in columns if i not in shares)
    whole = {i: max(found.whole[i], found.least[i]) for i in columns}
    for _ in range(int(left / SHARE) - sum(shares.values())):
        if short := [i for i in text if shares[i] * SHARE < whole[i]]:
            shares[max(short, key=lambda i: filled[i] / shares[i])] += 1
    shares = {i: share for i, share in shares.items() if share * SHARE < whole[i]}
    widths = [shares[i] * SHARE if i in shares else whole[i] if i in text else found.least[i] for i in columns]
    return _made(found, columns, widths, [shares.get(i, 0) for i in columns])


def _made(found: Measures, columns: tuple[int, ...], widths: Sequence[float], shares: Sequence[int]) -> Fit:
    block, size = found.block, found.size
    heads = tuple(tuple(lines_of(block.heads[i], w / size.scale)) for i, w in zip(columns, widths, strict=True))
    sections = max((width(row.section) * size.scale for row in block.rows), default=0.0)
    total = max(sum(widths) + 2 * size.gap * (len(columns) - 1), min(sections, LIMIT))
    return Fit(size, columns, heads, tuple(shares), tuple(block.right[i] for i in columns), total)
