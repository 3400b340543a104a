"""Runs with a training log and no score: those that train now, those that stopped, those that nobody scored.

for group in unscored(logs, tables, rows_of, recorded): loss_charts(group.title, group.logs, looks)

Their rows say what they are, as far as they have any, else the settings that were recorded with them.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.rows import Row
from reports.lines import Descriptions
from reports.papers.recipes import epochs_text
from reports.site.runs import task_of
from reports.table import Table

Log = Sequence[Mapping[str, Any]]  # lines of train.jsonl


@dataclass(frozen=True)
class Unscored:
    run: str
    line: str  # what a chart calls it
    method: str
    log: Log

    @property
    def progress(self) -> str:
        """How far the last line of the log is: "epoch 14.25"."""
        epoch, images = self.log[-1].get("epoch"), self.log[-1]["images"]
        return f"{images:,} images" if epoch is None or not math.isfinite(epoch) else f"epoch {epoch:.4g}"


@dataclass(frozen=True)
class Group:
    """Those of one data set, network and length of training."""

    title: str  # "digits, T/2, 240 epochs: no scores yet"
    runs: tuple[Unscored, ...]  # by line, then by name

    @property
    def count(self) -> int:
        return len(self.runs)

    @property
    def logs(self) -> dict[str, tuple[str, Log]]:
        """As loss_charts takes them."""
        return {found.run: (found.line, found.log) for found in self.runs}


def unscored(
    logs: Mapping[str, Log], tables: Sequence[Table], rows_of: Mapping[str, Sequence[Row]], recorded: Descriptions
) -> tuple[Group, ...]:
    """By title. `tables`: of scores; `rows_of` and `recorded`: rows and descriptions by run."""
    scored = {run for table in tables for line in table.lines for _, run in line.runs}
    groups: dict[str, dict[str, tuple[str, Any]]] = {}  # title -> run -> (method, seed)
    for run in (run for run in sorted(logs) if run not in scored):
        task = task_of(rows_of.get(run, ()), recorded.get(run, {}))
        groups.setdefault(f"{_title(task)}: no scores yet", {})[run] = (str(task["method"]), task["seed"])
    return tuple(Group(title, _named(runs, logs)) for title, runs in sorted(groups.items()))


def _named(runs: Mapping[str, tuple[str, Any]], logs: Mapping[str, Log]) -> tuple[Unscored, ...]:
    """A line a method; two runs of one method and seed differ in something else, and their names tell them apart."""
    count = Counter(repr(key) for key in runs.values())
    found = [
        Unscored(run, method if count[repr((method, seed))] == 1 else f"{method} [{run}]", method, logs[run])
        for run, (method, seed) in runs.items()
    ]
    return tuple(sorted(found, key=lambda item: (item.line, item.run)))


def _title(task: Mapping[str, Any]) -> str:
    epochs = task["epochs"]
    length = epochs_text(epochs) if isinstance(epochs, (int, float)) else ""
    return ", ".join(filter(None, [str(task["dataset"]), str(task["net"]), length])) or "settings not recorded"
