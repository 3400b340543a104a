"""Result rows -> tables for reading: one line a method, one column a metric and step count.

    frame, descriptions = bench.rows.read(root.results)
    for table in quality(frame, descriptions) + cost(frame, descriptions):
        print(forms.render(table, "markdown"))

Values are means over training seeds, of means over sampling seeds; reports.compare says which of them differ. Rows of
different protocols never share a table. Runs that failed or were skipped stay in, with their reason.
"""

import statistics
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from bench.rows import Row
from reports import compare
from reports.cells import columns_of, line_of, ranked
from reports.lines import Descriptions, Measured, current, differences, grouped, named_lines, records
from reports.numbers import number
from reports.table import ASIDE, IMAGES, LEVEL, SAMPLING, TRAINING, Failure, Line, Table

QUALITY = {
    "frechet_distance": "Fréchet distance",
    "frechet_distance_infinite": "Fréchet distance, n → ∞",
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
STANDARD = {  # on Inception's published weights: the field's names, with the number of images where it biases them
    "frechet_distance": "FID{n}",
    "frechet_distance_infinite": "FID, n → ∞",
    "spatial_frechet_distance": "sFID{n}",
    "kernel_distance": "KID",
    "kernel_distance_subsets": "KID of random subsets",
    "inception_score": "IS{n}",
    "inception_score_adm": "IS{n} as ADM",
}
FAMILIES = {
    "inception": "",
    "clean_fid": "clean-",
    "clean_fid_legacy": "legacy ",
}  # extractors with those weights; their resize
COST = {
    "train_images_per_second": "training",
    "sample_images_per_second": "sampling",
    "latency_ms": "latency",
    "decode_images_per_second": "of these, decoding",
    "decode_latency_ms": "latency of decoding",
    "train_peak_bytes": "peak memory",
    "train_added_bytes": "memory added",
    "train_seconds": "training time",
    "parameters": "parameters",
    "forward_macs": "forward pass",
    "forward_equivalents": "training cost",
}


def quality(frame: Measured, descriptions: Descriptions | None = None) -> list[Table]:
    """One table for each data set, network, training length and protocol. `descriptions` tells recipes of a method apart."""
    rows = current(records(frame))
    floors = {key: (_mean(group), group[0].n) for key, group in grouped(_of(rows, [FLOOR]), ["dataset", "protocol"]).items()}
    tables = []
    for keys, group in _groups(rows, QUALITY, ["dataset", "net", "epochs", "protocol"]):
        floor, halves = floors.get((keys["dataset"], keys["protocol"]), (None, None))
        conditions = conditions_of(keys["protocol"], descriptions or {})
        n = max((row.n for row in _of(group, QUALITY) if row.n is not None), default=None)
        table = _table("quality", keys, group, quality_heads(conditions, n), descriptions or {}, ["precision"])
        of = f" (halves of {halves:,} images)" if halves else ""
        remark = f"Real against real: {number(floor)}{of}. " if floor is not None else ""
        tables.append(replace(table, note=remark + table.note, floor=floor))
    return tables


def quality_heads(conditions: Mapping[str, Any], n: int | None) -> dict[str, str]:
    """What the metrics are called under a protocol: "FID-10K" on Inception's published weights alone. `n`: images scored."""
    if not _is_fid(conditions):
        return QUALITY
    n = conditions.get("samples", n)
    family, count = FAMILIES[conditions["extractor"]], f"-{_thousands(n)}" if n else ""
    return QUALITY | {metric: family + head.format(n=count) for metric, head in STANDARD.items()}


def _thousands(n: int) -> str:
    """50,000 as the field writes it: "50K"."""
    return f"{n / 1000:g}K" if n >= 1000 and n % 100 == 0 else str(n)


def _is_fid(conditions: Mapping[str, Any]) -> bool:
    return conditions.get("extractor") in FAMILIES and "extractor_comparable" not in conditions


def _not_fid(conditions: Mapping[str, Any]) -> str:
    """That a Fréchet distance is no FID, and why, as far as the protocol's conditions are known."""
    if not conditions.get("extractor") or _is_fid(conditions):
        return ""
    default = f"not FID: the features are those of {conditions['extractor']}"
    reason = str(conditions.get("extractor_comparable", default)).replace("no: ", "not FID: ", 1)
    return f"{reason[0].upper()}{reason[1:]}."


def cost(frame: Measured, descriptions: Descriptions | None = None) -> list[Table]:
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
    texts = {
        "resident": "Memory: resident, of the whole process; added: what training put on top of it. ",
        "device": "Memory: on the device, as torch allocated it. ",
    }
    return texts.get(conditions_of(protocol, descriptions).get("memory", ""), "")


def conditions_of(protocol: str, descriptions: Descriptions) -> Mapping[str, Any]:
    """What the protocol's id stands for; empty where no run recorded it."""
    for description in descriptions.values():
        recorded = description.get("protocols")
        found = recorded.get(protocol) if isinstance(recorded, Mapping) else None
        if isinstance(found, Mapping):
            return found
    return {}


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
    pairs = tuple(tuple(compare.column([(li.name, li.cells[i].rows) for li in lines])) for i in range(len(columns)))
    epochs = f"{keys['epochs']:g} epoch{'' if keys['epochs'] == 1 else 's'}"
    title = ", ".join(filter(None, [keys["dataset"], keys["net"], epochs, keys.get("device", "")]))
    table = Table(
        kind, title, "", keys, tuple(columns), ranked(lines, columns, pairs), tuple(failures), comparisons=pairs
    )  # fmt: skip
    names = [_not_fid(conditions_of(keys["protocol"], descriptions))] if kind == "quality" else []
    parts = [
        f"Protocol {keys['protocol']}.",
        *filter(None, names),
        *_spreads(table.lines),
        *_marks(table),
        *differences(by_line, descriptions),
    ]
    return replace(table, note=" ".join(parts))


# Notes


def _spreads(lines: Sequence[Line]) -> list[str]:
    """What a mean is over, and which spread stands beside it; over training and sampling seeds are not the same."""
    kinds = {cell.spread_of for line in lines for cell in line.cells if cell.values}
    counts = {line.sampling_text for line in lines if line.sampling_text} - {"1"}
    sampled = f" {counts.pop()}" if len(counts) == 1 else ""
    found = []
    if TRAINING in kinds:
        each = f", each seed's value the mean over{sampled} sampling seeds" if counts or sampled else ""
        found.append(f"Mean ± sample standard deviation over training seeds{each}.")
    if SAMPLING in kinds:
        found.append(
            f"One training seed: mean over{sampled} sampling seeds of the same network; {ASIDE[SAMPLING]}: their standard "
            "deviation, which says nothing of other training seeds."
        )
    if IMAGES in kinds:
        found.append(
            f"One training seed, one set of images; {ASIDE[IMAGES]}: of its value, which says nothing of other training seeds."
        )
    if len({line.sampling_text for line in lines if line.sampling_text}) > 1:
        found.append(f"Sampling seeds: {', '.join(f'{line.name} {line.sampling_text or 0}' for line in lines)}.")
    return found


def _marks(table: Table) -> list[str]:
    """What stands behind the mark of the best of a column, and what ≈ means, where it is."""
    found = [pair for i in range(len(table.columns)) for pair in table.against_best(i)]
    asked = {pair.question for pair in found}
    tests = {
        compare.METHODS: "over training seeds (Welch's t test)",
        compare.NETWORKS: "on the same noises and labels (paired): of these networks, not of the methods",
    }
    how = " or ".join(text for question, text in tests.items() if question in asked)
    sentences = []
    if any(cell.level for line in table.lines for cell in line.cells):
        sentences.append(f"{LEVEL} not distinguishable from the best of its column, 95 %, {how}.")
    elif how:
        sentences.append(f"The best of a column is distinguishable from every other, 95 %, {how}.")
    if "" in asked and table.kind == "quality":
        sentences.append("Where neither seeds nor replicates were recorded, how sure the order is can not be told.")
    return sentences
