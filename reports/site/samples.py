"""Sample grids of the runs side by side: the same noises and labels in every run, a column a method, a row a step count.

    for gallery in galleries(tables, directories, commands):
        gallery.rows[0].pictures    # of the fewest steps, one a method
        gallery.data                # what samples.js cuts them with

The files are those that `bench` wrote, byte for byte. What is missing, damaged or drawn otherwise is said, with its remedy.
"""

import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from bench.store import RunDirectory
from reports.lines import told_apart
from reports.site.links import anchor, run_page, slug
from reports.site.pictures import Layout, NotAPicture, Png, read_png
from reports.table import Line, Table

SMALL_GRID, SMALL_TILE = 320, 96  # pixels; narrower ones are enlarged without smoothing
NOT_HERE = "not here"


@dataclass(frozen=True)
class Picture:
    place: str  # in the site
    alt: str
    png: Png

    @property
    def small(self) -> bool:
        return self.png.width < SMALL_GRID


@dataclass(frozen=True)
class Head:
    line: str
    run: str  # whose samples stand for the line: of the lowest seed that gave a value
    method: str
    name: str  # of the line, with its run where another line of the gallery has that name


@dataclass(frozen=True)
class GridRow:
    steps: int
    pictures: tuple[Picture | str, ...]  # one a head, or words in its place

    @property
    def text(self) -> str:
        return steps_text([self.steps])


@dataclass(frozen=True)
class Absent:
    """Something that can not be shown, or not as the others are."""

    line: str
    what: str
    command: str  # mends it; "" where it was not recorded


@dataclass(frozen=True)
class Gallery:
    title: str
    dataset: str
    net: str
    heads: tuple[Head, ...]
    rows: tuple[GridRow, ...]
    absent: tuple[Absent, ...]
    layout: Layout | None  # of its comparable grids; None where none is recorded

    @property
    def id(self) -> str:
        return anchor(self.title, "gallery")

    @property
    def pictures(self) -> list[Picture]:
        return [picture for row in self.rows for picture in row.pictures if isinstance(picture, Picture)]

    @cached_property
    def data(self) -> dict[str, Any]:
        """For samples.js; `pictures` by line, then by row. `cut`: its cells are the gallery's noises."""
        layout = self.layout
        cells = {"columns": layout.columns, "tile": layout.tile, "gap": layout.gap, "labels": layout.labels} if layout else None
        columns = [self._column(index) for index in range(len(self.heads))]
        lines = [
            {"name": head.name, "page": run_page(head.run), "pictures": column}
            for head, column in zip(self.heads, columns, strict=True)
        ]
        small = layout is not None and max(layout.tile) < SMALL_TILE
        return {"id": self.id, "cells": cells, "small": small, "steps": [row.text for row in self.rows], "lines": lines}

    def _column(self, index: int) -> list[dict[str, Any] | None]:
        found = [row.pictures[index] for row in self.rows]
        return [
            {"src": p.place, "alt": p.alt, "width": p.png.width, "height": p.png.height,
             "cut": self.layout is not None and p.png.layout == self.layout}
            if isinstance(p, Picture) else None
            for p in found
        ]  # fmt: skip


def galleries(tables: Iterable[Table], directories: Mapping[str, RunDirectory], commands: Mapping[str, str]) -> list[Gallery]:
    """One a data set, network and training length; tables that differ by their protocol only share one.

    `directories`, `commands`: by run, where its folder is here, and what makes it.
    """
    by_title: dict[str, list[Table]] = {}
    for table in tables:
        by_title.setdefault(table.title, []).append(table)
    return [_gallery(group, directories, commands) for group in by_title.values()]


def _gallery(tables: Sequence[Table], directories: Mapping[str, RunDirectory], commands: Mapping[str, str]) -> Gallery:
    methods = {(line.name, run): line.method for table in tables for line in table.lines if (run := _shown(line))}
    keys = sorted(methods)  # a name says what varies inside its own table: two tables may have it of two runs
    heads = tuple(Head(*key, methods[key], name) for key, name in zip(keys, told_apart(keys), strict=True))
    meant = _meant(tables)
    steps = sorted({steps for *_, steps in meant})
    read: dict[tuple[Head, int], Picture | str] = {}
    for head in heads:
        for count in (count for count in steps if (head.line, head.run, count) in meant):
            read[head, count] = _read(head, count, directories[head.run]) if head.run in directories else NOT_HERE
    rows = tuple(GridRow(count, tuple(_in_place(read.get((head, count), "–")) for head in heads)) for count in steps)
    found = [item for item in read.values() if isinstance(item, Picture)]
    layouts = Counter(picture.png.layout for picture in found if picture.png.layout)
    layout = layouts.most_common(1)[0][0] if layouts else None
    absent = tuple(item for head in heads for item in _absent(head, _of(head, read), layout, directories, commands))
    first = tables[0]
    return Gallery(
        title=first.title, dataset=str(first.group["dataset"]), net=str(first.group["net"]),
        heads=heads if found else (), rows=rows if found else (), absent=absent, layout=layout,
    )  # fmt: skip


def _shown(line: Line) -> str | None:
    """The run of the lowest seed that gave a value; a line that only failed has no samples to show."""
    return next((cell.runs[0] for cell in line.cells if cell.values), None)


def _meant(tables: Iterable[Table]) -> set[tuple[str, str, int]]:
    """(line, run, steps) of what the runs that stand for the lines were asked for."""
    return {
        (line.name, run, column.steps)
        for table in tables
        for line in table.lines
        if (run := _shown(line))
        for column, cell in zip(table.columns, line.cells, strict=True)
        if column.steps is not None and run in cell.runs
    }


def _read(head: Head, steps: int, directory: RunDirectory) -> Picture | str:
    """The grid, or what is wrong with it."""
    file = directory.samples / f"steps-{steps}.png"
    try:
        if file.is_file() and not file.resolve().is_relative_to(directory.path.resolve()):
            return "is a link that leads out of the run's folder"
        png = read_png(file.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return NOT_HERE
    except OSError as error:
        return f"can not be read ({error.strerror})"
    except NotAPicture as error:
        return str(error)
    place = f"samples/{slug(head.run)}-steps-{steps}.png"
    return Picture(place, f"Samples of {head.name} in {steps_text([steps])}", png)


def _in_place(item: Picture | str) -> Picture | str:
    """In the table, a few words: the rest is said below it."""
    return item if isinstance(item, Picture) or item in (NOT_HERE, "–") else "not shown"


def _of(head: Head, read: Mapping[tuple[Head, int], Picture | str]) -> dict[int, Picture | str]:
    return {steps: item for (other, steps), item in read.items() if other == head}


# What is not here, and what is not as the rest


def _absent(
    head: Head,
    items: Mapping[int, Picture | str],
    layout: Layout | None,
    directories: Mapping[str, RunDirectory],
    commands: Mapping[str, str],
) -> Iterator[Absent]:
    """One for each thing that is wrong, of all step counts that have it."""
    if items and head.run not in directories:
        yield Absent(head.name, f"the run directory {head.run} is {NOT_HERE}", commands.get(head.run, ""))
        return
    wrong: dict[str, list[int]] = {}
    for steps, item in items.items():
        if what := item if isinstance(item, str) else _otherwise(item.png, layout):
            wrong.setdefault(what, []).append(steps)
    for what, counts in wrong.items():
        command = sample_command(directories[head.run], counts) or commands.get(head.run, "")
        where = f"in {steps_text(counts)}"
        gone = f"samples of the run {head.run} are {NOT_HERE}, {where}"
        yield Absent(head.name, gone if what == NOT_HERE else f"{where}, the grid {what}", command)


def _otherwise(png: Png, layout: Layout | None) -> str:
    """Why the cells of this grid are not those of the gallery; "" where they are."""
    if png.layout is None:
        return f"{png.remark}: it is shown whole, without class and noise of each sample"
    if layout is None or png.layout == layout:
        return ""
    if (png.layout.seed, png.layout.shape) == (layout.seed, layout.shape):
        return "has other labels than the rest, or is laid out otherwise: it is shown whole"
    return "was made from other noises than the rest: it is shown whole, and its samples are no counterparts of theirs"


def sample_command(run: RunDirectory, counts: Sequence[int]) -> str:
    """Writes the run's grids again, from its last snapshot; "" where it has none."""
    if run.newest_snapshot() is None:
        return ""
    name = shlex.quote(run.name)
    file = f"{shlex.quote(str(Path('runs') / run.name / 'samples'))}/steps-"
    if len(counts) == 1:
        return f"bench sample {name} --steps {counts[0]} --out {file}{counts[0]}.png"
    listed = " ".join(map(str, counts))
    return f"for n in {listed}; do bench sample {name} --steps $n --out {file}$n.png; done"


def steps_text(counts: Sequence[int]) -> str:
    """[1] -> "1 step"; [1, 2, 4] -> "1, 2 and 4 steps"."""
    words = " and ".join(filter(None, [", ".join(map(str, counts[:-1])), str(counts[-1])]))
    return f"{words} step" if list(counts) == [1] else f"{words} steps"
