"""What a table is: columns, lines, cells, each with the text to show and the values and runs behind it."""

import functools
import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.rows import Row, row_id
from reports.compare import Comparison
from reports.lines import by_sampling_seed, grouped

ARROWS = {"min": "↓", "max": "↑"}
LEVEL = "≈"  # before a value that is not distinguishable from the best of its column
TRAINING, SAMPLING, IMAGES = "training seeds", "sampling seeds", "one set of images"  # where a value's spread comes from
ASIDE = {SAMPLING: "sampling sd", IMAGES: "standard error"}  # what stands beside a value that has no ±


@dataclass(frozen=True)
class Column:
    metric: str
    steps: int | None  # network evaluations an image; None where it does not apply
    head: str
    unit: str  # of the cells' texts ("MiB")
    raw_unit: str  # of the cells' values ("bytes")
    better: str  # min | max | ""
    divisor: float = 1.0  # text = value / divisor

    @property
    def arrow(self) -> str:
        """↓ where less is better, ↑ where more is, else nothing."""
        return ARROWS.get(self.better, "")

    @property
    def steps_text(self) -> str:
        return "" if self.steps is None else "1 step" if self.steps == 1 else f"{self.steps} steps"

    @property
    def metric_text(self) -> str:
        """Head, unit and arrow: "latency (ms) ↓"."""
        return " ".join(part for part in (self.head, f"({self.unit})" if self.unit else "", self.arrow) if part)

    @property
    def full_head(self) -> str:
        """The same with the steps, in one line: "latency (ms) ↓, 2 steps"."""
        return ", ".join(part for part in (self.metric_text, self.steps_text) if part)


@dataclass(frozen=True)
class Cell:
    status: str  # ok | failed | skipped | missing
    text: str  # the mean, and ± the spread over training seeds
    values: tuple[float, ...] = ()  # one a training seed, in the order of the seeds, in the raw unit
    runs: tuple[str, ...] = ()  # behind the text, in the order of the seeds
    reason: str = ""  # of the seeds that gave no value, also where others did
    best: bool = False  # of its column, with at least one other to compare with
    rows: tuple[Row, ...] = ()  # behind the values, in the order of training and sampling seeds
    aside: str = ""  # without ±: another spread, as `spread_of` says; never to be read as that of training seeds
    level: bool = False  # not distinguishable from the best of its column, which is another

    @property
    def mean(self) -> float | None:
        return statistics.fmean(self.values) if self.values else None

    @property
    def seeds(self) -> int:
        """Training seeds."""
        return len(self.values)

    @functools.cached_property
    def sample_seeds(self) -> int:
        """Sampling seeds of a training seed; the most, where they differ."""
        return max((len(by_sampling_seed(rows)) for rows in grouped(self.rows, ["train_seed"]).values()), default=0)

    @functools.cached_property
    def spread(self) -> float | None:
        """Sample standard deviation over training seeds; None below two."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None

    @functools.cached_property
    def sampling_spread(self) -> float | None:
        """Sample standard deviation over sampling seeds within a training seed, pooled; None below two."""
        groups = [list(by_sampling_seed(rows).values()) for rows in grouped(self.rows, ["train_seed"]).values()]
        freedom = sum(len(values) - 1 for values in groups if values)
        squares = sum((value - statistics.fmean(values)) ** 2 for values in groups for value in values)
        return math.sqrt(squares / freedom) if freedom else None

    @functools.cached_property
    def standard_error(self) -> float | None:
        """Of one set of images, from left-out groups or blocks: the mean over sets; None where no row has one."""
        errors = [row.standard_error for row in self.rows if row.standard_error is not None]
        return statistics.fmean(errors) if errors else None

    @functools.cached_property
    def spreads(self) -> dict[str, float]:
        """All that are known, by where they come from: TRAINING, SAMPLING, IMAGES."""
        found = {TRAINING: self.spread, SAMPLING: self.sampling_spread, IMAGES: self.standard_error}
        return {kind: value for kind, value in found.items() if value is not None}

    @property
    def spread_of(self) -> str:
        """Which of them the text and the error bars show: the widest in scope; "" where none is known."""
        return next(iter(self.spreads), "")

    @property
    def shown_spread(self) -> float | None:
        return self.spreads.get(self.spread_of)

    @property
    def aside_name(self) -> str:
        return ASIDE[self.spread_of] if self.aside else ""

    @property
    def full_text(self) -> str:
        """The text, with what stands beside it: "2.663 (sampling sd 0.041)"."""
        return f"{self.text} ({self.aside_name} {self.aside})" if self.aside else self.text

    @functools.cached_property
    def ids(self) -> tuple[str, ...]:
        """Of the rows, as `bench explain` takes them."""
        return tuple(row_id(row) for row in self.rows)


@dataclass(frozen=True)
class Line:
    name: str  # the method, and what sets it apart where a table has it twice
    method: str
    seeds_text: str  # "3", or "2 of 3" when a seed gave no value
    runs: tuple[tuple[int, str], ...]  # (training seed, run)
    cells: tuple[Cell, ...]  # one a column

    @property
    def aside_name(self) -> str:
        """What stands beside all its values in place of ±; "" where that is not one and the same."""
        names = {cell.aside_name for cell in self.cells if cell.values}
        return names.pop() if len(names) == 1 else ""

    @functools.cached_property
    def sampling_text(self) -> str:
        """Sampling seeds of a training seed: "3", "1 to 3" where columns differ, "" where nothing was sampled."""
        counts = {cell.sample_seeds for cell in self.cells if cell.sample_seeds}
        return " to ".join(str(count) for count in sorted({min(counts), max(counts)})) if counts else ""


@dataclass(frozen=True)
class Failure:
    run: str
    line: str
    train_seed: int
    status: str  # failed | skipped
    reason: str

    @property
    def text(self) -> str:
        return f"{self.line}, seed {self.train_seed}: {self.status}, {self.reason or 'no reason was recorded'}"


@dataclass(frozen=True)
class Table:
    kind: str  # quality | cost
    title: str
    note: str
    group: Mapping[str, Any]  # dataset, net, epochs, protocol; for cost also device
    columns: tuple[Column, ...]
    lines: tuple[Line, ...]  # best first, by the first column
    failures: tuple[Failure, ...]
    floor: float | None = None  # Fréchet distance of real against real images
    comparisons: tuple[tuple[Comparison, ...], ...] = ()  # of each column: all pairs of lines

    @property
    def sampled(self) -> bool:
        return any(line.sampling_text for line in self.lines)

    @property
    def seed_texts(self) -> dict[str, list[str]]:
        """How many seeds each line has, by their kind: training, and sampling where anything was sampled."""
        found = {"training": [line.seeds_text for line in self.lines]}
        return found | ({"sampling": [line.sampling_text or "0" for line in self.lines]} if self.sampled else {})

    @property
    def shared_seeds(self) -> list[str]:
        """What all lines have: "1 training seed", "3 sampling seeds"."""
        alike = {kind: counts[0] for kind, counts in self.seed_texts.items() if len(set(counts)) == 1}
        return [f"{count} {kind} seed{'' if count == '1' else 's'}" for kind, count in alike.items()]

    @property
    def judged(self) -> bool:
        """There is a difference from a best that the rows say something of."""
        return any(pair.difference for i in range(len(self.columns)) for pair in self.against_best(i))

    def against_best(self, index: int) -> list[Comparison]:
        """Every other line's minus the best's of that column, nearest first; empty where no line is the best."""
        best = next((line.name for line in self.lines if line.cells[index].best), None)
        pairs = self.comparisons[index] if self.comparisons else ()
        found = [pair if pair.second == best else pair.flipped for pair in pairs if best in (pair.first, pair.second)]
        return sorted(found, key=lambda pair: abs(pair.difference.value) if pair.difference else 0.0)

    def column_indices(self, metric: str) -> list[int]:
        """Where the metric's columns are, fewest steps first."""
        return [i for i, column in enumerate(self.columns) if column.metric == metric]
