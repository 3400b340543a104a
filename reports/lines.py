"""Result rows -> the lines of a table: which rows belong together, and what a line is called.

A line is one method under one recipe (the resolved settings without the seed), so that a mean over seeds never mixes
two settings. Where a group holds several recipes of a method, the names say what differs: "soflow (guidance=2.0)".
"""

import dataclasses
import math
import operator
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from bench.rows import Row

Descriptions = Mapping[str, Mapping[str, Any]]  # by run: what bench.provenance.describe wrote
Measured = pd.DataFrame | Sequence[Row]  # as bench.rows.read gives them, or as `records` does

WHOLE = ("steps", "n", "sample_seed")  # null makes pandas turn these columns into floats
TEXTS = ("unit", "better", "reason", "commit", "resampling")  # of which null is ""
NOT_RECIPE = ("run.seed", "run.seeds", "run.methods")
ORIGIN = "origin"  # of imported weights
NAMED = 12  # lines; a sentence that names more is not read
PARITY = ("images", "precision", "attention", "world_size", "device", "commit")


def records(frame: Measured) -> list[Row]:
    """The frame's rows, null as None. An "ok" row without a finite value becomes a failed one that says so."""
    if not isinstance(frame, pd.DataFrame):
        return list(frame)
    clean = frame[[field.name for field in dataclasses.fields(Row)]].astype(object)
    found = []
    for given in clean.where(clean.notna(), None).to_dict("records"):
        fields: dict[str, Any] = {str(key): value for key, value in given.items()}
        found.append(record(fields | {key: int(fields[key]) for key in WHOLE if fields[key] is not None}))
    return found


def record(fields: Mapping[str, Any]) -> Row:
    """A row of its columns, null as None. An "ok" row without a finite value becomes a failed one that says so."""
    given = dict(fields)
    given |= {key: "" for key in TEXTS if fields[key] is None}
    parts = () if fields["replicates"] is None else fields["replicates"]
    given["replicates"] = tuple(math.nan if part is None else float(part) for part in parts)
    value = fields["value"]
    if value is None or not math.isfinite(value):
        given["value"] = None
        if fields["status"] == "ok":
            given |= {"status": "failed", "reason": f"the value is {value}, not a finite number"}
    return Row(**given)


def current(rows: Sequence[Row]) -> list[Row]:
    """Rows that later ones of the same run have not overtaken: the most images seen; no failure that a resume got past."""
    furthest: dict[str, int] = {}
    newest: dict[tuple[Any, ...], int] = {}
    for row in rows:
        key = (row.run, row.epochs, row.metric, row.steps)
        newest[key] = max(row.images, newest.get(key, 0))
        if row.status == "ok":
            furthest[row.run] = max(row.images, furthest.get(row.run, 0))
    return [
        row
        for row in rows
        if row.images == newest[(row.run, row.epochs, row.metric, row.steps)]
        and (row.status == "ok" or row.images >= furthest.get(row.run, 0))
    ]


def grouped(rows: Iterable[Row], fields: Sequence[str]) -> dict[tuple[Any, ...], list[Row]]:
    """Rows by the values of `fields`, in sorted order."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    values = operator.attrgetter(*fields)
    for row in rows:
        groups.setdefault(values(row) if len(fields) > 1 else (values(row),), []).append(row)
    return dict(sorted(groups.items(), key=lambda item: item[0]))


def by_sampling_seed(rows: Iterable[Row]) -> dict[int, float]:
    """The mean of each sampling seed's values; without what was not sampled or has no value."""
    good = (row for row in rows if row.sample_seed is not None and row.value is not None)
    return {seed: statistics.fmean(row.value or 0.0 for row in of) for (seed,), of in grouped(good, ["sample_seed"]).items()}


def named_lines(rows: Sequence[Row], descriptions: Descriptions, identity: Sequence[str]) -> dict[str, list[Row]]:
    """One group's rows by line name. `identity`: columns of the row that are part of the recipe, beside the settings."""
    lines: dict[str, list[Row]] = {}
    for (method,), of_method in grouped(rows, ["method"]).items():
        recipes: dict[str, dict[str, Any]] = {}
        by_recipe: dict[str, list[Row]] = {}
        for (run, *own), group in grouped(of_method, ["run", *identity]).items():
            recipe = dict(zip(identity, own, strict=True)) | settings(descriptions.get(run, {}))
            recipes[repr(sorted(recipe.items()))] = recipe
            by_recipe.setdefault(repr(sorted(recipe.items())), []).extend(group)
        keys = sorted(set().union(*recipes.values()))
        varying = [key for key in keys if key != ORIGIN and len({repr(recipe.get(key)) for recipe in recipes.values()}) > 1]
        for key in sorted(by_recipe):
            parts = [str(recipes[key][ORIGIN])] if ORIGIN in recipes[key] else []  # nobody trained it here: always said
            parts += [f"{_short(name, method)}={recipes[key].get(name, 'unknown')}" for name in varying]
            lines |= _one_run_a_seed(f"{method} ({', '.join(parts)})" if parts else str(method), by_recipe[key])
    return lines


def told_apart(lines: Sequence[tuple[str, str]]) -> list[str]:
    """What (line, run) pairs of several tables are called beside each other: the run in brackets after a name that two have.

    A line's name says what varies inside its own table: "soflow" of two tables may be two recipes.
    """
    counts = Counter(name for name, _ in lines)
    return [f"{name} [{run}]" if counts[name] > 1 else name for name, run in lines]


def settings(description: Mapping[str, Any]) -> dict[str, Any]:
    """A run's resolved settings, flat ("train.batch": 128), without the seed and without where the data lies."""
    config = description.get("config")
    flat = flatten(config) if isinstance(config, Mapping) else {}
    return {key: value for key, value in flat.items() if key not in NOT_RECIPE and not key.endswith(".folder")}


def flatten(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in table.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat


def differences(lines: Mapping[str, Sequence[Row]], descriptions: Descriptions) -> list[str]:
    """What should be equal among the lines of a table and is not, one sentence each; empty when all is fair."""
    found = []
    values: dict[str, dict[str, set[str]]] = {}
    for name, rows in lines.items():
        for run, *parity in grouped([row for row in rows if row.status == "ok"], ["run", *PARITY]):
            trained = {k: value for k, value in settings(descriptions.get(run, {})).items() if k.startswith("train.")}
            for key, value in (dict(zip(PARITY, parity, strict=True)) | trained).items():
                shown = value[:10] if key == "commit" else f"{value:,}" if isinstance(value, int) else str(value)
                values.setdefault(key, {}).setdefault(name, set()).add(shown)
    for key, by_line in values.items():
        if len(set().union(*by_line.values())) > 1:
            found.append(f"Not equal: {key} ({_each(by_line)}).")
    return found


def _each(by_line: Mapping[str, set[str]]) -> str:
    """ "soflow 128; meanflow 256"; of many lines only how many have which: "128: 40 lines; 256: 1 line"."""
    texts = {name: " and ".join(sorted(given)) for name, given in by_line.items()}
    if len(texts) <= NAMED:
        return "; ".join(f"{name} {text}" for name, text in texts.items())
    counts = Counter(texts.values())
    told = [f"{text}: {count} line{'' if count == 1 else 's'}" for text, count in counts.most_common(NAMED)]
    return "; ".join([*told, f"{len(counts) - NAMED} further values"] if len(counts) > NAMED else told)


def _one_run_a_seed(name: str, rows: Sequence[Row]) -> dict[str, list[Row]]:
    """One line, or one line a run where two runs have the same seed: their settings differ in a way that was not recorded."""
    runs_of_seed: dict[int, set[str]] = {}
    for row in rows:
        runs_of_seed.setdefault(row.train_seed, set()).add(row.run)
    if all(len(runs) == 1 for runs in runs_of_seed.values()):
        return {name: list(rows)}
    return {f"{name} [{run}]": of_run for (run,), of_run in grouped(rows, ["run"]).items()}


def _short(key: str, method: object) -> str:
    return key.removeprefix(f"methods.{method}.")
