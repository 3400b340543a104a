"""How steadily each run trained: from its training log, what went wrong and when.

    found = steadiness("run-a", log, description, reasons)
    found.final, found.norm.value, found.spikes

A line of the log is a mean over the batches since the line before: what is short is seen in it weakened.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

WINDOW, LEAST, FACTOR = 5, 3, 3.0
SPIKE = (
    f"A spike is a line of the log whose mean gradient norm is more than {FACTOR:g} times the median of the {WINDOW} lines "
    f"before it; the first {LEAST} lines can be none."
)
Log = Sequence[Mapping[str, Any]]  # lines of train.jsonl


@dataclass(frozen=True)
class Reading:
    value: float
    epoch: float | None  # at which it stood; None where that was not logged

    @property
    def when(self) -> str:
        return "" if self.epoch is None else f"epoch {self.epoch:.4g}"


@dataclass(frozen=True)
class Steadiness:
    run: str
    lines: int  # of the log
    final: Reading | None = None  # of the raw mse; None where no finite one was logged
    lowest: Reading | None = None
    highest: Reading | None = None
    norm: Reading | None = None  # the largest gradient norm
    spikes: tuple[Reading, ...] = ()
    not_finite: tuple[Reading, ...] = ()  # lines with a loss, mse or gradient norm that is not
    resumed: int = 0  # times that training went on at another commit, with other versions or on another device
    reasons: tuple[str, ...] = ()  # why something of the run is not ok


def steadiness(run: str, log: Log, description: Mapping[str, Any], reasons: Sequence[str]) -> Steadiness:
    """`reasons`: what reports.site.runs.Entry says of failures."""
    mse, norms = _readings(log, "mse"), _readings(log, "grad_norm")
    sessions = description.get("sessions")
    return Steadiness(
        run=run,
        lines=len(log),
        final=mse[-1] if mse else None,
        lowest=min(mse, key=lambda reading: reading.value, default=None),
        highest=max(mse, key=lambda reading: reading.value, default=None),
        norm=max(norms, key=lambda reading: reading.value, default=None),
        spikes=tuple(spikes(norms)),
        not_finite=tuple(_reading(record, 0.0) for record in log if _broken(record)),
        resumed=max(0, len(sessions) - 1) if isinstance(sessions, list) else 0,
        reasons=tuple(reasons),
    )


def spikes(norms: Sequence[Reading]) -> list[Reading]:
    """As SPIKE says."""
    found = []
    for i in range(LEAST, len(norms)):
        before = statistics.median(reading.value for reading in norms[max(0, i - WINDOW) : i])
        if norms[i].value > FACTOR * before > 0:
            found.append(norms[i])
    return found


def _readings(log: Log, key: str) -> list[Reading]:
    """The finite ones."""
    return [_reading(record, record[key]) for record in log if _number(record.get(key)) and math.isfinite(record[key])]


def _reading(record: Mapping[str, Any], value: float) -> Reading:
    epoch = record.get("epoch")
    return Reading(float(value), float(epoch) if isinstance(epoch, (int, float)) and math.isfinite(epoch) else None)


def _broken(record: Mapping[str, Any]) -> bool:
    values = [record.get(key) for key in ("loss", "mse", "grad_norm")]
    return any(isinstance(value, (int, float)) and not math.isfinite(value) for value in values)


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
