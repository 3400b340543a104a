"""What the page that compares any two runs is given: each run's settings, circumstances and values, as JSON.

    runs = comparable(content)     # [{"run": ..., "facts": {...}, "settings": {...}, "values": {...}}, ...]

The script puts two of them side by side; values stand beside each other under the same protocol, metric and steps only.
"""

import statistics
from collections.abc import Sequence
from typing import Any

from bench.rows import Row, row_id
from reports.lines import flatten, grouped
from reports.numbers import number, unit_and_divisor
from reports.site.content import Content
from reports.site.links import run_page
from reports.table import ARROWS
from reports.tables import COST, QUALITY

OF_ROW = (
    "method",
    "dataset",
    "net",
    "epochs",
    "train_seed",
    "precision",
    "attention",
    "world_size",
    "device",
    "commit",
    "dirty",
)


def comparable(content: Content) -> list[dict[str, Any]]:
    """One record a run, by name. `values`: by protocol, metric and steps joined, the mean over sampling seeds."""
    rows_of = content.rows_of
    return [
        {
            "run": entry.run,
            "state": entry.state,
            "page": run_page(entry.run),
            "settings": _settings(content.descriptions.get(entry.run, {})),
            "facts": _circumstances(rows_of.get(entry.run, [])) | dict(entry.facts),
            "values": _values(rows_of.get(entry.run, [])),
        }
        for entry in content.runs
    ]


def _settings(description: Any) -> dict[str, str]:
    config = description.get("config")
    return {key: str(value) for key, value in flatten(config).items()} if isinstance(config, dict) else {}


def _circumstances(rows: Sequence[Row]) -> dict[str, str]:
    """Of the columns that a run's rows share; several values are joined."""
    found = {name: dict.fromkeys(str(getattr(row, name)) for row in rows) for name in OF_ROW}
    return {name.replace("_", " "): ", ".join(values) for name, values in found.items() if values}


def _values(rows: Sequence[Row]) -> dict[str, dict[str, Any]]:
    """The mean over sampling seeds, its text, how many they are, their standard deviation, and the rows' ids."""
    found = {}
    good = [row for row in rows if row.status == "ok" and row.value is not None]
    for (protocol, metric, steps), group in _by_place(good).items():
        values = [row.value for row in group if row.value is not None]
        mean = statistics.fmean(values)
        words = QUALITY.get(metric) or COST.get(metric) or metric.replace("_", " ")
        # The same unit in every run: prefixes that follow the size would not stand beside each other.
        unit, divisor = unit_and_divisor(group[0].unit, 0.0)
        found["\n".join((protocol, metric, "" if steps < 0 else str(steps)))] = {
            "protocol": protocol,
            "metric": f"{words}{f' ({unit})' if unit else ''} {ARROWS.get(group[0].better, '')}".strip(),
            "steps": None if steps < 0 else steps,
            "value": mean,
            "divisor": divisor,
            "text": number(mean / divisor),
            "seeds": len(values),
            "sd": statistics.stdev(values) if len(values) > 1 else None,
            "rows": [row_id(row) for row in group],
        }
    return found


def _by_place(rows: Sequence[Row]) -> dict[tuple[str, str, int], list[Row]]:
    groups: dict[tuple[str, str, int], list[Row]] = {}
    for (protocol, metric), group in grouped(rows, ["protocol", "metric"]).items():
        for row in sorted(group, key=lambda row: (row.steps or -1, row.sample_seed or 0)):
            groups.setdefault((protocol, metric, -1 if row.steps is None else row.steps), []).append(row)
    return groups
