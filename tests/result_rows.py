"""Result rows to make tables and pages of, without a run."""

import math
import random
import re
import statistics
from collections.abc import Sequence
from typing import Any

import pandas as pd

from bench import intervals, rows
from bench.store import Root
from reports import tables
from reports.table import Table

PROTOCOL = "digits-n2000-random-3f9ac1"
SPEED = "speed-b256-0b1c2d"
HOSTILE = '<script>alert("x")</script>\'&__$a_b$ é 名'


def row(
    method: str = "soflow", seed: int = 0, metric: str = "frechet_distance", value: float | None = 1.0, **more: Any
) -> rows.Row:
    fields: dict[str, Any] = {
        "run": f"digits-{method}-T-2-s{seed}-abc",
        "dataset": "digits",
        "net": "T/2",
        "epochs": 240.0,
        "images": 431_232,
        "steps": 1 if metric in tables.QUALITY else None,
        "better": "max" if metric in ("class_accuracy", "train_images_per_second") else "min",
        "protocol": PROTOCOL if metric in tables.QUALITY or metric == tables.FLOOR else SPEED,
        "precision": "fp32",
        "attention": "math",
        "device": "a processor",
        "started_at": "2026-11-20T09:00:00Z",
        "seconds": 1.0,
        "commit": "0123456789abcdef",
    }
    return rows.Row(method=method, train_seed=seed, metric=metric, value=value, **(fields | more))


def scored(method: str, seed: int, sample_seed: int, parts: Sequence[float], **more: Any) -> rows.Row:
    """A row whose value is the mean of its `parts`, one a group of images, with the replicates that this leaves."""
    left_out = tuple((sum(parts) - part) / (len(parts) - 1) for part in parts)
    fields: dict[str, Any] = {
        "sample_seed": sample_seed,
        "n": 2000,
        "resampling": intervals.JACKKNIFE,
        "replicates": left_out,
        "standard_error": intervals.standard_error(left_out, intervals.JACKKNIFE),
    }
    return row(method, seed, value=statistics.fmean(parts), **(fields | more))


def made_up(
    levels: dict[str, float],
    *,
    draw: random.Random,
    seeds: int = 1,
    sample_seeds: int = 3,
    training: float = 0.0,
    own: float = 0.0,
    shared: float = 1.0,
    **more: Any,
) -> list[rows.Row]:
    """Methods at these true levels. Spreads: `training` between a method's training seeds, `own` between networks within a
    group of images, `shared` what the same noises do to every network alike."""
    fate = {(k, g): draw.gauss(0, shared) for k in range(sample_seeds) for g in range(10)}
    found = []
    for method, level in levels.items():
        for seed in range(seeds):
            mean = level + draw.gauss(0, training)
            for k in range(sample_seeds):
                parts = [mean + fate[k, g] + draw.gauss(0, own) for g in range(10)]
                found.append(scored(method, seed, k, parts, **more))
    return found


def failed(method: str, seed: int, **more: Any) -> rows.Row:
    fields: dict[str, Any] = {"protocol": "training", "images": 1000, "status": "failed", "reason": "the loss is not finite"}
    return row(method, seed, "training", None, **(fields | more))


def frame(*given: rows.Row) -> pd.DataFrame:
    return pd.DataFrame([vars(r) for r in given], columns=rows.SCHEMA.names)


def cell(table: Table, line: str, metric: str, steps: int | None = 1) -> Any:
    index = next(i for i, c in enumerate(table.columns) if (c.metric, c.steps) == (metric, steps))
    return next(li for li in table.lines if li.name == line).cells[index]


def described(run: str, method: str, **config: Any) -> dict[str, Any]:
    settings = {"run": {"methods": [method], "seed": 0}, "train": {"batch": 128}, "methods": {method: {"p": 1.0}}} | config
    origin = {
        "commit": "0123456789abcdef",
        "dirty": True,
        "versions": {"bench": "0.1.0"},
        "device": "cpu",
        "data_digest": "da7a",
    }
    return origin | {"run": run, "command": f"bench run {method}", "config": settings, "config_digest": "d1g3st"}


def save(root: Root, given: list[rows.Row], descriptions: dict[str, dict[str, Any]] | None = None) -> None:
    for name in dict.fromkeys(r.run for r in given):
        method = next(r.method for r in given if r.run == name)
        stem = re.sub(r"[^\w-]", "_", name)[:60] + ("" if len(name) <= 60 else f"-{len(name)}-{name[-1:]}")
        description = (descriptions or {}).get(name) or described(name, method)
        rows.write(root.result_file(stem), [r for r in given if r.run == name], description)


def realistic() -> list[rows.Row]:
    """Three methods, two training seeds, three sampling seeds; one run failed; many steps for one method only."""
    given = [failed("meanflow", 1), row("soflow", 0, tables.FLOOR, 0.4123)]
    level, draw = {"soflow": 12.3456789, "meanflow": 15.1, "flow_matching": 96.2}, random.Random(0)
    for method, seed in [("soflow", 0), ("soflow", 1), ("meanflow", 0), ("flow_matching", 0), ("flow_matching", 1)]:
        for steps in (1, 2, 64) if method == "flow_matching" else (1, 2):
            value = level[method] * (1 + seed / 30) / math.sqrt(steps)
            for k in range(3):
                parts = [value * (1 + draw.gauss(0, 0.02)) for _ in range(10)]
                given += [scored(method, seed, k, parts, steps=steps)]
                given += [scored(method, seed, k, [p * 2e-4 for p in parts], metric="kernel_distance", steps=steps)]
                given += [row(method, seed, "class_accuracy", 1 - parts[0] / 120, steps=steps, sample_seed=k, n=2000)]
            given += [row(method, seed, "latency_ms", 3.1 * steps + seed / 7, steps=steps, unit="ms")]
        given += [row(method, seed, "train_images_per_second", 1e5 / level[method], unit="images/s")]
        given += [row(method, seed, "train_seconds", 4.0 * level[method] + seed, unit="s")]
        given += [row(method, seed, "train_peak_bytes", 6e8 + seed, unit="bytes")]
        given += [row(method, seed, "parameters", 1_284_752.0, better="")]
    return given
