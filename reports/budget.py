"""Which method is best at a budget of hours and memory, from result rows: what fits, what it scored, and how sure that is.

    for answer in best(frame, descriptions, hours=10, memory=40): print(answer.title, answer.verdict)

A method is taken at its last snapshot within the budget, not at its best one: which that is depends on luck.
"""

import math
import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pandas as pd

from bench.errors import BenchError, unknown
from reports import compare
from reports.compare import Comparison
from reports.curves import GB, Curve, Panel, Point, panels
from reports.lines import Descriptions
from reports.numbers import number
from reports.table import LEVEL
from reports.tables import QUALITY

ALIASES = {"fid": "frechet_distance", "sfid": "spatial_frechet_distance", "kid": "kernel_distance", "is": "inception_score"}
MAKE = "Make some first: `bench run --set loop.snapshots=8`; or name another place with --root DIR."
SNAPSHOTS = 8  # on the way, for a training that is done again


@dataclass(frozen=True)
class Choice:
    """One line at a budget."""

    line: str
    method: str
    curve: Curve | None = None  # at the steps that are best for it; None where nothing fits
    point: Point | None = None
    best: bool = False
    level: bool = False  # not distinguishable from the best
    reason: str = ""  # why nothing fits
    command: str = ""  # what would measure what is not known

    @property
    def texts(self) -> tuple[str, ...]:
        """Score, steps, images seen, hours, memory in GB."""
        if self.curve is None or self.point is None:
            return ("–",) * 5
        score = f"{LEVEL} {self.point.cell.text}" if self.level else self.point.cell.text
        steps = str(self.curve.column.steps or "–")
        memory = f"{max(self.curve.memory) / GB:.3g}" if self.curve.memory else "–"
        return score, steps, f"{self.point.images:,}", self.point.hours_text, memory


@dataclass(frozen=True)
class Answer:
    """All lines of a panel at one budget."""

    panel: Panel
    hours: float | None  # of panel.unit; None: any number
    memory: float | None  # GB; None: any
    choices: tuple[Choice, ...]  # those that fit, best first; then the others
    comparisons: tuple[Comparison, ...]  # all pairs of those that fit

    @property
    def budget_text(self) -> str:
        """ "10 GPU-hours and 40 GB"."""
        parts = [f"{self.hours:.4g} {self.panel.unit}"] if self.hours is not None else []
        parts += [f"{self.memory:.4g} GB"] if self.memory is not None else []
        return " and ".join(parts)

    @property
    def title(self) -> str:
        return f"{self.panel.title}: {f'within {self.budget_text}' if self.budget_text else 'without a limit'}"

    @property
    def heads(self) -> tuple[str, ...]:
        return (self.panel.columns[0].metric_text, "steps", "images", self.panel.unit, "GB")

    @property
    def fitting(self) -> list[Choice]:
        return [choice for choice in self.choices if choice.point]

    @property
    def verdict(self) -> str:
        """Who is best, and whether the first two can be told apart, by the rules of reports.compare."""
        fitting = self.fitting
        if len(fitting) < 2:
            return f"Only {fitting[0].line} fits." if fitting else "Nothing fits."
        first, second = fitting[:2]
        pairs = [pair if pair.second == first.line else pair.flipped for pair in self.comparisons]
        pair = next(pair for pair in pairs if {pair.first, pair.second} == {first.line, second.line})
        column = self.panel.columns[0]
        text = pair.text(column.divisor, column.unit)
        said = f"{text}: {pair.verdict}." if text else f"{second.line} is next: {pair.verdict}; no replicates were recorded."
        return f"{first.line} is {'best' if pair.settled else 'ahead'}. {said}"


def best(
    frame: pd.DataFrame,
    descriptions: Descriptions | None = None,
    *,
    hours: float | None = None,
    memory: float | None = None,
    metric: str = "frechet_distance",
    steps: int | None = None,
) -> list[Answer]:
    """One answer a panel. `hours` of training times processes, `memory` in GB (1e9 bytes) as one process needs it.

    `steps` None: each method at the number of steps that is best for it. Raises BenchError for numbers and names that can not
    be, and where the rows lack what was asked for.
    """
    for name, value in (("hours", hours), ("memory", memory), ("steps", steps)):
        if value is not None and not (math.isfinite(value) and value > 0):
            raise BenchError(f"--{name} {value:g}", "a number above 0", f"For example: --{name} {1 if name == 'steps' else 10}")
    metric = ALIASES.get(metric, metric)
    if metric not in QUALITY:
        raise unknown("metric", metric, [*QUALITY, *ALIASES], "For example: --metric frechet_distance")
    if frame.empty:
        raise BenchError("There are no results", "at least one run that was scored", MAKE)
    found = panels(frame, descriptions, metric)
    measured = sorted(set(frame[frame["metric"].isin(QUALITY) & (frame["status"] == "ok")]["metric"]))
    if metric not in measured:
        allowed = ", ".join(measured) or "at least one run that was scored"
        raise BenchError(f"No run has a {metric}", allowed, "`bench eval` scores trained runs; or choose another --metric.")
    known = sorted({column.steps for panel in found for column in panel.columns if column.steps})
    if steps is not None and steps not in known:
        remedy = f"Measure it: `bench eval --steps {steps}`; or choose one of these."
        raise BenchError(f"No {metric} at {steps} steps", ", ".join(map(str, known)), remedy)
    _require(found, hours, memory)
    return [answer(panel, hours, memory, steps) for panel in found if steps is None or panel.at(steps)]


def _require(found: Sequence[Panel], hours: float | None, memory: float | None) -> None:
    """Raises BenchError where not one line has what the budget is about."""
    curves = [curve for panel in found for curve in panel.curves]
    command = next((curve.command for curve in curves if curve.command), "bench run")
    remedy = f"Measure it where the run was trained: `{command}`"
    if hours is not None and not any(point.hours for curve in curves for point in curve.points):
        raise BenchError(
            "--hours, but no run has a known training time", "rows of train_seconds", f"{remedy}; or leave out --hours."
        )
    if memory is not None and not any(curve.memory for curve in curves):
        raise BenchError(
            "--memory, but no run has a known peak memory", "rows of train_peak_bytes", f"{remedy}; or leave out --memory."
        )


# One panel


def answer(panel: Panel, hours: float | None = None, memory: float | None = None, steps: int | None = None) -> Answer:
    """What fits, best first, and how sure the order is."""
    by_line: dict[str, list[Curve]] = {}
    for curve in panel.curves:
        if steps is None or curve.column.steps == steps:
            by_line.setdefault(curve.line, []).append(curve)
    choices = [_choice(curves, hours, memory, panel.unit) for curves in by_line.values()]
    sign = -1.0 if panel.columns[0].better == "max" else 1.0
    fitting = sorted((c for c in choices if c.point), key=lambda c: (sign * _mean(c.point), c.line))
    # At its own best number of steps each: on the same noises all the same, so here the steps are no part of the question.
    pairs = compare.column([(c.line, [replace(row, steps=None) for row in c.point.cell.rows]) for c in fitting if c.point])
    marked = [_marked(choice, fitting[0], pairs) for choice in fitting] if len(fitting) > 1 else fitting
    others = sorted((c for c in choices if not c.point), key=lambda c: c.line)
    return Answer(panel, hours, memory, (*marked, *others), tuple(pairs))


def _mean(point: Point | None) -> float:
    assert point is not None
    return statistics.fmean(point.cell.values)


def _marked(choice: Choice, first: Choice, pairs: Sequence[Comparison]) -> Choice:
    if choice is first:
        return replace(choice, best=True)
    return replace(
        choice, level=any(pair.undecided and {pair.first, pair.second} == {choice.line, first.line} for pair in pairs)
    )


def _choice(curves: Sequence[Curve], hours: float | None, memory: float | None, unit: str) -> Choice:
    """The line at that number of steps that is best within the budget; else why there is none."""
    within = [(curve, point) for curve in curves if (point := _last(curve, hours)) and not _too_large(curve, memory)]
    if within:
        sign = -1.0 if curves[0].column.better == "max" else 1.0
        curve, point = min(within, key=lambda found: sign * _mean(found[1]))
        return Choice(curve.line, curve.method, curve, point)
    curve = next((curve for curve in curves if curve.points), curves[0])
    reason, command = _reason(curve, hours, memory, unit)
    return Choice(curve.line, curve.method, reason=reason, command=command)


def _last(curve: Curve, hours: float | None) -> Point | None:
    """The last snapshot at which the training of every seed was within the budget."""
    fits = [point for point in curve.points if hours is None or (point.hours and max(point.hours) <= hours)]
    return fits[-1] if fits else None


def _too_large(curve: Curve, memory: float | None) -> bool:
    """Of every seed; what is not known does not fit."""
    return memory is not None and (not curve.memory or max(curve.memory) > memory * GB)


def _reason(curve: Curve, hours: float | None, memory: float | None, unit: str) -> tuple[str, str]:
    """Why the line does not fit, and the command that would measure what is missing, "" where nothing is."""
    if not curve.points:
        return curve.lacks.get("score", "it was not scored"), curve.command
    if memory is not None and not curve.memory:
        return curve.lacks.get("memory", "its peak memory was not measured"), curve.command
    if memory is not None and _too_large(curve, memory):
        return f"training takes {max(curve.memory) / GB:.3g} GB", ""
    timed = [point for point in curve.points if point.hours]
    if not timed:
        return curve.lacks.get("hours", "its training time was not recorded"), curve.command
    only = "its only snapshot" if len(timed) == 1 else "its first snapshot"
    reason = f"{only}, of {timed[0].images:,} images, took {number(max(timed[0].hours))} {unit}"
    return reason, _with_snapshots(curve.command, math.ceil(max(timed[-1].hours) / hours)) if hours else ""


def _with_snapshots(command: str, count: int) -> str:
    """The same training anew, the first of whose snapshots is early enough; a finished one gets no further ones."""
    bare = re.sub(r" --set loop\.snapshots=\d+", "", command)
    return f"{bare} --set loop.snapshots={max(count, SNAPSHOTS)} --root OTHER" if bare else ""


# Budgets for a page


def suggested(panel: Panel) -> list[float]:
    """A quarter, half and all of the hours that the longest training took, less those within which nothing fits."""
    hours = [max(point.hours) for curve in panel.curves for point in curve.points if point.hours]
    if not hours:
        return []
    return [part * max(hours) for part in (0.25, 0.5, 1.0) if min(hours) <= part * max(hours)]


def budgets(panel: Panel) -> list[Answer]:
    """The answers for them, at the fewest steps."""
    return [answer(panel, hours, steps=panel.columns[0].steps) for hours in suggested(panel)]
