"""Result rows -> cost curves: what each method scored at each snapshot, and what its training had cost by then.

    for panel in panels(frame, descriptions): print(panel.title, [curve.points for curve in panel.curves])

What shares a panel may be compared: one data set, network, protocol and metric, trained on one kind of device. Hours of
different devices are never on one axis, nor added.
"""

import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.rows import Row
from reports.cells import columns_of, line_of
from reports.lines import Descriptions, Measured, grouped, named_lines, records
from reports.numbers import number, with_spread
from reports.table import Cell, Column
from reports.tables import QUALITY, conditions_of, quality_heads

GB = 1e9
CPU = re.compile(r"\((\d+ of )?\d+ threads?( on \d+)?\)$")  # so bench.provenance.processor names a CPU, and torch no GPU


@dataclass(frozen=True)
class Point:
    """One snapshot of one line."""

    images: int  # seen in training
    cell: Cell  # the score, over training and sampling seeds
    hours: tuple[float, ...]  # of training up to here, times processes, one a training seed; () where one is not known

    @property
    def hours_text(self) -> str:
        """The mean over training seeds, ± their sample standard deviation."""
        if len(self.hours) < 2:
            return number(self.hours[0]) if self.hours else "–"
        return with_spread(statistics.fmean(self.hours), statistics.stdev(self.hours))


@dataclass(frozen=True)
class Curve:
    """One line at one number of steps."""

    line: str
    method: str
    column: Column  # metric and steps
    points: tuple[Point, ...]  # fewest images first; none where nothing was scored
    memory: tuple[float, ...]  # peak of training, bytes, one a training seed; () where one is not known
    lacks: Mapping[str, str] = field(default_factory=dict)  # of "score", "hours", "memory": why there is none
    command: str = ""  # of its first run that lacks something, else of its first one: measures it, or trains again elsewhere


@dataclass(frozen=True)
class Panel:
    dataset: str
    net: str
    protocol: str
    device: str  # that trained; "" where no time is known
    columns: tuple[Column, ...]  # of the metric, fewest steps first
    curves: tuple[Curve, ...]  # by line, then fewest steps first

    @property
    def unit(self) -> str:
        """CPU-hours, GPU-hours; hours where the device is not known."""
        return "hours" if not self.device else "CPU-hours" if CPU.search(self.device) else "GPU-hours"

    @property
    def title(self) -> str:
        return ", ".join(filter(None, [self.dataset, self.net, self.device]))

    def at(self, steps: int | None) -> list[Curve]:
        """Those at this number of steps."""
        return [curve for curve in self.curves if curve.column.steps == steps]


@dataclass(frozen=True)
class Spent:
    """What one run's training took, where the rows say it."""

    device: str
    hours: Mapping[int, float]  # by images seen
    memory: float | None  # bytes, measured on that device
    lacks: Mapping[str, str]


def panels(frame: Measured, descriptions: Descriptions | None = None, metric: str = "frechet_distance") -> list[Panel]:
    """One for each data set, network, protocol and device that trained. Runs of unknown time stand in every one they fit."""
    rows, known = records(frame), _without_epochs(descriptions or {})
    spent = {run: spent_by(of_run, known.get(run, {})) for (run,), of_run in grouped(rows, ["run"]).items()}
    scored = {row.run for row in rows if row.metric in QUALITY}
    strays = grouped([row for row in rows if row.status != "ok" and row.run not in scored], ["dataset", "net"])
    found = []
    for (dataset, net, protocol), group in grouped(
        [row for row in rows if row.metric == metric], ["dataset", "net", "protocol"]
    ).items():
        group += strays.get((dataset, net), [])
        n = max((row.n for row in group if row.n is not None), default=None)
        columns = tuple(columns_of([r for r in group if r.metric == metric], quality_heads(conditions_of(protocol, known), n)))
        for device in sorted({spent[row.run].device for row in group} - {""}) or [""]:
            own = [row for row in group if spent[row.run].device in (device, "")]
            lines = named_lines(own, known, ["precision", "epochs"])
            curves = [_curve(name, of, column, spent, known) for name, of in lines.items() for column in columns]
            found.append(Panel(dataset, net, protocol, device, columns, tuple(curves)))
    return found


def panels_of_all(frame: Measured, descriptions: Descriptions | None = None) -> list[Panel]:
    """Of the Fréchet distance, and of every other score that was measured on the way too."""
    rows = records(frame)
    moments: dict[str, set[tuple[str, int]]] = {}
    for row in rows:
        if row.status == "ok":
            moments.setdefault(row.metric, set()).add((row.run, row.images))
    several = [metric for metric, seen in moments.items() if len({run for run, _ in seen}) < len(seen)]
    others = [metric for metric in QUALITY if metric in several and metric != "frechet_distance"]
    return [panel for metric in ("frechet_distance", *others) for panel in panels(rows, descriptions, metric)]


def _without_epochs(descriptions: Descriptions) -> dict[str, dict[str, Any]]:
    """The rows have them too, and a line's name needs them once."""
    found = {}
    for run, description in descriptions.items():
        config = description.get("config")
        if isinstance(config, Mapping) and isinstance(config.get("run"), Mapping):
            config = {**config, "run": {key: value for key, value in config["run"].items() if key != "epochs"}}
        found[run] = {**description, "config": config}
    return found


# One run


def spent_by(rows: Sequence[Row], description: Mapping[str, Any]) -> Spent:
    """Hours and memory of one run, from its rows; `lacks` says why not."""
    times = _newest_first([row for row in rows if row.metric == "train_seconds" and row.status == "ok"])
    lacks = {}
    sessions = description.get("sessions")
    before = [str(session.get("device")) for session in sessions or [] if isinstance(session, Mapping)]
    devices = dict.fromkeys([*(row.device for row in times), *(before if times else [])])
    processes = sorted({row.world_size for row in times})
    if not times or not times[0].device:
        lacks["hours"] = "its training time was not recorded"
    elif len(devices) > 1:
        lacks["hours"] = f"trained on {' and '.join(devices)}, whose hours do not add up"
    elif len(processes) > 1:
        lacks["hours"] = f"trained in {' and '.join(map(str, processes))} processes: the rows do not say which hours were whose"
    device = "" if "hours" in lacks else times[0].device
    peaks = _newest_first([row for row in rows if row.metric == "train_peak_bytes" and row.status == "ok"])
    peaks = [row for row in peaks if row.device == device or not device]
    if len({row.device for row in peaks}) != 1:
        peaks, lacks["memory"] = [], f"its peak memory was not measured{f' on {device}' if device else ''}"
    hours = {row.images: (row.value or 0.0) * row.world_size / 3600 for row in reversed(times)} if device else {}
    return Spent(device, hours, peaks[0].value if peaks else None, lacks)


def _newest_first(rows: Sequence[Row]) -> list[Row]:
    """Measured again under another protocol, a run has several."""
    return sorted(rows, key=lambda row: row.started_at, reverse=True)


# One line


def _curve(name: str, rows: Sequence[Row], column: Column, spent: Mapping[str, Spent], descriptions: Descriptions) -> Curve:
    own = [row for row in rows if row.metric == column.metric and row.steps == column.steps]
    good = [row for row in own if row.status == "ok"]
    points = tuple(_point(name, of, column, spent) for (_,), of in grouped(good, ["images"]).items())
    lacks: dict[str, str] = {}
    runs = list(dict.fromkeys(row.run for row in sorted(good or rows, key=lambda row: (row.train_seed, row.run))))
    for run in runs:
        lacks = {**spent[run].lacks, **lacks}
    if not good:
        reasons = [row.reason for row in (own or rows) if row.status != "ok" and row.reason]
        lacks["score"] = reasons[0] if reasons else f"{column.full_head.replace(f' {column.arrow}', '')} was not measured"
    peaks = [spent[run].memory for run in runs]
    memory = tuple(peak for peak in peaks if peak is not None)
    about = next((run for run in runs if spent[run].lacks), runs[0])
    command = str(descriptions.get(about, {}).get("command") or "")
    return Curve(name, rows[0].method, column, points, memory if len(memory) == len(peaks) else (), lacks, command)


def _point(name: str, rows: Sequence[Row], column: Column, spent: Mapping[str, Spent]) -> Point:
    [cell] = line_of(name, rows, [column]).cells
    hours = [spent[run].hours.get(rows[0].images) for run in cell.runs]
    known = tuple(value for value in hours if value is not None)
    return Point(rows[0].images, cell, known if len(known) == len(hours) else ())
