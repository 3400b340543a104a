"""The gate's baseline: one JSON file with the raw values of every training seed, and where they come from.

    baseline = read(path)          # raises BenchError for a file that is damaged, or of another schema
    baseline.require(conditions)   # raises BenchError for a check under other conditions
    write(path, baseline)          # whole or not at all

Means and spreads stand in the file for people; they are computed anew from the values. Imports no torch.
"""

import json
import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.errors import BenchError
from bench.gate.judgement import Quantity, Sample
from bench.store import write_atomic

SCHEMA = 1
LEAST_SEEDS = 5
MEND = "Write a new one with `bench check --update`, or name another with --baseline."


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """What a check shares with its baseline, or its values do not compare."""

    profile: str  # digest of what the profile says
    protocol: str  # id, of the scores
    images: int  # seen in training
    data: str  # digest of the training images


@dataclass(frozen=True, kw_only=True)
class Speeds:
    """Ratios of a training step to the reference workload; of one processor."""

    processor: str
    ratios: dict[str, Sample]  # by method


@dataclass(frozen=True, kw_only=True)
class Noted:
    """What a committed snapshot gave, and which one that is."""

    digest: str
    values: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Baseline:
    conditions: Conditions
    seeds: tuple[int, ...]
    values: dict[Quantity, Sample]  # a value a seed
    better: dict[Quantity, str]
    anchors: dict[str, Noted]  # by method
    provenance: dict[str, Any]
    speeds: Speeds | None = field(default=None)

    def require(self, conditions: Conditions, path: Path) -> None:
        """Raises BenchError where a check would compare what does not compare; names the first that differs."""
        for name, ours, theirs in (
            ("a profile with digest", conditions.profile, self.conditions.profile),
            ("the protocol", conditions.protocol, self.conditions.protocol),
            ("a training over this many images:", conditions.images, self.conditions.images),
            ("training data with digest", conditions.data, self.conditions.data),
        ):
            if ours != theirs:
                raise BenchError(f"{path.name} was made under {name} {theirs}", f"{ours}, as in this check", MEND)


def read(path: Path) -> Baseline:
    """Raises BenchError for a file that is not there, damaged, of another schema, or of too few seeds."""
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BenchError(f"There is no baseline {path}", "a file of `bench check --update`", MEND) from None
    except (OSError, ValueError) as error:
        raise BenchError(f"{path} can not be read ({error})", "a JSON file of `bench check --update`", MEND) from error
    schema = raw.get("schema") if isinstance(raw, dict) else None
    if schema != SCHEMA:
        raise BenchError(f"{path} has baseline schema {schema!r}", f"schema {SCHEMA}", MEND)
    try:
        baseline = from_json(raw)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BenchError(f"{path} lacks or spoils an entry ({error})", "a file of `bench check --update`", MEND) from error
    if len(baseline.seeds) < LEAST_SEEDS:
        given = f"{path} holds {len(baseline.seeds)} training seeds"
        raise BenchError(given, f"at least {LEAST_SEEDS}: the spread is taken from them", MEND)
    return baseline


def from_json(raw: Mapping[str, Any]) -> Baseline:
    """Raises KeyError, TypeError, ValueError or AttributeError for entries that are missing or not what they should be."""
    seeds = tuple(int(seed) for seed in raw["seeds"])
    values: dict[Quantity, Sample] = {}
    better: dict[Quantity, str] = {}
    for entry in raw["quantities"]:
        quantity = Quantity(str(entry["method"]), str(entry["metric"]), int(entry["steps"]))
        values[quantity] = tuple(finite(v) for v in entry["values"])
        better[quantity] = str(entry["better"])
        if len(values[quantity]) != len(seeds):
            raise ValueError(f"{quantity.method}, {quantity.label}: not one value a seed")
    anchors = {
        str(method): Noted(digest=str(noted["digest"]), values={str(k): finite(v) for k, v in noted["values"].items()})
        for method, noted in raw["same_weights"].items()
    }
    speeds = raw["speed"]
    ratios = {str(method): tuple(map(finite, values)) for method, values in speeds["ratios"].items()} if speeds else {}
    return Baseline(
        conditions=Conditions(**raw["conditions"]),
        seeds=seeds,
        values=values,
        better=better,
        anchors=anchors,
        provenance=dict(raw["provenance"]),
        speeds=Speeds(processor=str(speeds["processor"]), ratios=ratios) if speeds else None,
    )


def finite(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{value} is no finite number")
    return number


def to_json(baseline: Baseline) -> dict[str, Any]:
    quantities = [
        {
            "method": quantity.method,
            "metric": quantity.metric,
            "steps": quantity.steps,
            "better": baseline.better[quantity],
            "mean": round_off(statistics.fmean(values)),
            "spread": round_off(statistics.stdev(values)),
            "values": [round_off(v) for v in values],
        }
        for quantity, values in baseline.values.items()
    ]
    speeds = baseline.speeds
    return {
        "schema": SCHEMA,
        "conditions": vars(baseline.conditions),
        "seeds": list(baseline.seeds),
        "quantities": quantities,
        "same_weights": {method: vars(noted) for method, noted in baseline.anchors.items()},
        "speed": {"processor": speeds.processor, "ratios": speeds.ratios} if speeds else None,
        "provenance": baseline.provenance,
    }


def round_off(value: float) -> float:
    """Nine digits: a float32 exactly, and a file that a person can compare."""
    return float(f"{value:.9g}")


def write(path: Path, baseline: Baseline) -> None:
    """One quantity a line, so that a new baseline reads well as a difference."""
    raw = to_json(baseline)
    parts = []
    for key, value in raw.items():
        if key == "quantities":
            lines = ",\n".join("  " + json.dumps(entry, allow_nan=False) for entry in value)
            parts.append(f' "{key}": [\n{lines}\n ]')
        elif key == "same_weights":
            lines = ",\n".join(f'  "{method}": {json.dumps(noted, allow_nan=False)}' for method, noted in value.items())
            parts.append(f' "{key}": {{\n{lines}\n }}')
        else:
            parts.append(f' "{key}": {json.dumps(value, sort_keys=True, allow_nan=False)}')
    write_atomic(path, "{\n" + ",\n".join(parts) + "\n}\n")
