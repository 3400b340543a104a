"""What a table is: columns, lines, cells, each with the text to show and the values and runs behind it."""

import itertools
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

ARROWS = {"min": "↓", "max": "↑"}


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
    text: str
    values: tuple[float, ...] = ()  # one a training seed, in the order of the seeds, in the raw unit
    runs: tuple[str, ...] = ()  # behind the text, in the order of the seeds
    reason: str = ""  # of the seeds that gave no value, also where others did
    best: bool = False  # of its column, with at least one other to compare with

    @property
    def mean(self) -> float | None:
        return statistics.fmean(self.values) if self.values else None

    @property
    def spread(self) -> float | None:
        """Sample standard deviation over training seeds; None below two."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None

    @property
    def seeds(self) -> int:
        return len(self.values)


@dataclass(frozen=True)
class Line:
    name: str  # the method, and what sets it apart where a table has it twice
    method: str
    seeds_text: str  # "3", or "2 of 3" when a seed gave no value
    runs: tuple[tuple[int, str], ...]  # (training seed, run)
    cells: tuple[Cell, ...]  # one a column


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

    @property
    def head_spans(self) -> list[tuple[str, int]]:
        """The upper of two head lines: what neighbouring columns share, and how many they are."""
        texts = itertools.groupby(column.metric_text for column in self.columns)
        return [(text, len(list(group))) for text, group in texts]

    def column_indices(self, metric: str) -> list[int]:
        """Where the metric's columns are, fewest steps first."""
        return [i for i, column in enumerate(self.columns) if column.metric == metric]
