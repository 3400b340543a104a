"""What the page that compares any two runs is given: each run's settings, circumstances and values, as JSON.

    runs = comparable(content)     # [{"run": ..., "facts": {...}, "settings": {...}, "values": {...}}, ...]

The script puts two of them side by side; values stand beside each other under the same protocol, metric and steps only,
and what a run cost on the same device only.
"""

import statistics
from collections.abc import Sequence
from typing import Any

from bench.rows import Row, row_id
from reports.lines import by_sampling_seed, flatten
from reports.numbers import number, unit_and_divisor
from reports.site.content import Content
from reports.site.links import run_page
from reports.table import ARROWS
from reports.tables import COST, FLOOR, QUALITY

WHAT_RAN = ("method", "dataset", "net", "epochs", "train_seed")
WHERE = ("precision", "attention", "world_size", "device", "commit", "dirty")


def comparable(content: Content) -> list[dict[str, Any]]:
    """One record a run, by name. `values`: one a protocol, metric, number of steps and device, in that order."""
    rows_of = content.rows_of
    return [
        {
            "run": entry.run.encode(errors="replace").decode(),  # as the page has it to choose
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
    found = {name: dict.fromkeys(str(getattr(row, name)) for row in rows) for name in WHAT_RAN + WHERE}
    return {name.replace("_", " "): ", ".join(values) for name, values in found.items() if values}


def _values(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The mean over sampling seeds, its text, how many they are, their standard deviation, and the rows' ids."""
    found = []
    good = [row for row in rows if row.status == "ok" and row.value is not None]
    for (protocol, metric, steps, device), group in _by_place(good).items():
        seeds = list(by_sampling_seed(group).values())
        unsampled = [row.value for row in group if row.sample_seed is None and row.value is not None]
        mean = statistics.fmean(seeds + unsampled)
        words = QUALITY.get(metric) or COST.get(metric) or metric.replace("_", " ")
        # The same unit in every run: prefixes that follow the size would not stand beside each other.
        unit, divisor = unit_and_divisor(group[0].unit, 0.0)
        found.append(
            {
                "protocol": protocol,
                "metric": f"{words}{f' ({unit})' if unit else ''} {ARROWS.get(group[0].better, '')}".strip(),
                "steps": None if steps < 0 else steps,
                "device": device,
                "place": [group[0].dataset, group[0].net],
                "cost": metric not in QUALITY and metric != FLOOR,  # of a device: seconds of two are not one quantity
                "value": mean,
                "divisor": divisor,
                "text": number(mean / divisor),
                "seeds": len(seeds),
                "sd": statistics.stdev(seeds) if len(seeds) > 1 else None,
                "rows": [row_id(row) for row in group],
            }
        )
    return found


def _by_place(rows: Sequence[Row]) -> dict[tuple[str, str, int, str], list[Row]]:
    groups: dict[tuple[str, str, int, str], list[Row]] = {}
    for row in sorted(rows, key=lambda row: (*_place(row), row.sample_seed or 0)):
        groups.setdefault(_place(row), []).append(row)
    return groups


def _place(row: Row) -> tuple[str, str, int, str]:
    return row.protocol, row.metric, -1 if row.steps is None else row.steps, row.device
