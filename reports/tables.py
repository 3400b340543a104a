"""Result rows -> tables for reading: one line a method, one column a metric and step count.

    frame, descriptions = bench.rows.read(root.results)
    for table in quality(frame, descriptions) + cost(frame, descriptions):
        print(forms.render(table, "markdown"))

Values are means over training seeds; the spread is the sample standard deviation. Rows of different protocols never
share a table. Runs that failed or were skipped stay in, with their reason.
"""

import statistics
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from bench.rows import Row
from reports.cells import columns_of, line_of, ranked
from reports.lines import Descriptions, current, differences, grouped, named_lines, records
from reports.numbers import number
from reports.table import Failure, Table

QUALITY = {
    "frechet_distance": "Fréchet distance",
    "frechet_distance_infinite": "Fréchet distance at n → ∞",
    "spatial_frechet_distance": "spatial Fréchet distance",
    "kernel_distance": "kernel distance",
    "kernel_distance_subsets": "kernel distance of random subsets",
    "inception_score": "inception score",
    "inception_score_adm": "inception score as ADM",
    "precision": "precision",
    "recall": "recall",
    "class_accuracy": "class accuracy",
}
FLOOR = "frechet_distance_floor"
COST = {
    "train_images_per_second": "training",
    "sample_images_per_second": "sampling",
    "latency_ms": "latency",
    "train_peak_bytes": "peak memory",
    "train_added_bytes": "memory added",
    "train_seconds": "training time",
    "parameters": "parameters",
    "forward_macs": "forward pass",
    "forward_equivalents": "training cost",
}


def quality(frame: pd.DataFrame, descriptions: Descriptions | None = None) -> list[Table]:
    """One table for each data set, network, training length and protocol. `descriptions` tells recipes of a method apart."""
    rows = current(records(frame))
    floors = {key: _mean(group) for key, group in grouped(_of(rows, [FLOOR]), ["dataset", "protocol"]).items()}
    tables = []
    for keys, group in _groups(rows, QUALITY, ["dataset", "net", "epochs", "protocol"]):
        floor = floors.get((keys["dataset"], keys["protocol"]))
        table = _table("quality", keys, group, QUALITY, descriptions or {}, ["precision"])
        remark = f"Real against real: {number(floor)}. " if floor is not None else ""
        tables.append(replace(table, note=remark + table.note, floor=floor))
    return tables


def cost(frame: pd.DataFrame, descriptions: Descriptions | None = None) -> list[Table]:
    """One table for each data set, network, training length, device and protocol."""
    rows = current(records(frame))
    identity = ["precision", "attention", "world_size"]
    tables = []
    for keys, group in _groups(rows, COST, ["dataset", "net", "epochs", "device", "protocol"]):
        if _of(group, COST):
            table = _table("cost", keys, group, COST, descriptions or {}, identity)
            tables.append(replace(table, note=_memory(keys["protocol"], descriptions or {}) + table.note))
    return tables


def _memory(protocol: str, descriptions: Descriptions) -> str:
    """Which memory the peak is of, as the protocol's conditions say."""
    known = {d.get("protocols", {}).get(protocol, {}).get("memory", "") for d in descriptions.values()}
    texts = {
        "resident": "Memory: resident, of the whole process; added: what training put on top of it. ",
        "device": "Memory: on the device, as torch allocated it. ",
    }
    return "".join(text for kind, text in texts.items() if kind in known)


# Which rows share a table


def _groups(rows: Sequence[Row], metrics: Collection[str], fields: list[str]) -> list[tuple[dict[str, Any], list[Row]]]:
    """The rows of each table. A run that failed before it was measured joins the tables that it was meant for."""
    wanted = _of(rows, metrics)
    measured = {row.run for row in wanted}
    strays = grouped([row for row in rows if row.status != "ok" and row.run not in measured], fields[:3])
    groups = grouped(wanted, fields)
    homes = {key[:3] for key in groups}
    for key, group in groups.items():
        group += strays.get(key[:3], [])
    homeless = [row for key, group in strays.items() if key not in homes for row in group]
    found = groups | grouped(homeless, fields)
    return [(dict(zip(fields, key, strict=True)), group) for key, group in sorted(found.items(), key=lambda item: item[0])]


def _of(rows: Sequence[Row], metrics: Collection[str]) -> list[Row]:
    return [row for row in rows if row.metric in metrics]


def _mean(rows: Sequence[Row]) -> float | None:
    values = [row.value for row in rows if row.value is not None]
    return statistics.fmean(values) if values else None


# One table


def _table(
    kind: str,
    keys: dict[str, Any],
    rows: Sequence[Row],
    heads: Mapping[str, str],
    descriptions: Descriptions,
    identity: Sequence[str],
) -> Table:
    columns = columns_of(rows, heads)
    by_line = named_lines(rows, descriptions, identity)
    lines = [line_of(name, group, columns) for name, group in by_line.items()]
    failures = dict.fromkeys(
        Failure(row.run, name, row.train_seed, row.status, row.reason)
        for name, group in by_line.items()
        for row in sorted(group, key=lambda row: row.train_seed)
        if row.status != "ok"
    )
    seeds = max((cell.seeds for line in lines for cell in line.cells), default=0)
    means = "Mean ± sample standard deviation over training seeds." if seeds > 1 else ""
    note = " ".join(filter(None, [f"Protocol {keys['protocol']}.", means, *differences(by_line, descriptions)]))
    epochs = f"{keys['epochs']:g} epoch{'' if keys['epochs'] == 1 else 's'}"
    title = ", ".join(filter(None, [keys["dataset"], keys["net"], epochs, keys.get("device", "")]))
    return Table(kind, title, note, keys, tuple(columns), ranked(lines, columns), tuple(failures))
