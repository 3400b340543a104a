"""What `bench speed` measured, as tables for the terminal, for docs/ and for the page.

    frame, description = bench.speed.results.read(path)
    for panel in panels(frame): print(panel.title, panel.heads, panel.lines)
    print(markdown(frame, description))

A ratio is the median over rounds of the ratio within a round, where both were timed in the same turns; else that of medians.
"""

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from bench.speed.results import quartiles
from reports.forms import escape_markdown

REFERENCE = ("flow_matching", "optimised")  # whose step is the unit of cost
VARIANTS = (("bare", False), ("published", False), ("optimised", False), ("optimised", True))  # and whether compiled
PLACE = ["net", "precision", "batch", "column"]
CELL = ["method", "variant", "compiled"]
Spread = tuple[float, float, float]  # lower quartile, median, upper quartile
NOTHING: Spread = (math.nan, math.nan, math.nan)
COLUMNS = ("same", "best")
NOTES = (
    "same: one attention backend (written out) and one precision in every pass; best: the fastest that each loss permits.",
    "× FM: times a step of Flow Matching, optimised, in the same column, compiled where the cell is. gain: times as fast as "
    "the published structure, which took turns with it unless it is compiled.",
    "GB: weights, average, optimiser, and the most that a step adds. MFU: of the operations that the loss needs, against the "
    "matrix product measured in the same run.",
    "bare: forward, backward and AdamW of Flow Matching, and nothing else.",
)


@dataclass(frozen=True)
class Panel:
    """One table of texts. Lines of one `group` (the first text) belong together."""

    title: str
    heads: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()
    wide: tuple[str, ...] = ()  # heads of columns that a narrow terminal leaves out
    net: str = ""  # "" where it is of several


def panels(frame: pd.DataFrame) -> list[Panel]:
    """Training, largest batch, sampling, decoding, and what was not measured."""
    found = [*_training(frame), *_largest(frame), *_sampling(frame), *_decoding(frame), *_failures(frame)]
    return [panel for panel in found if panel.lines]


# Ratios


def ratio(a: Sequence[float], b: Sequence[float], in_turns: bool) -> Spread:
    """Lower quartile, median, upper quartile of a / b, round by round where they took turns; else of medians, thrice."""
    if in_turns and len(a) == len(b):
        return quartiles([x / y for x, y in zip(a, b, strict=True)])
    whole = statistics.median(a) / statistics.median(b)
    return whole, whole, whole


def ratios(frame: pd.DataFrame) -> pd.DataFrame:
    """One line a training cell that was measured: its place, `cost` against Flow Matching and `gain` over the published.

    Each with `_low` and `_high`, the quartiles over rounds; NaN where there is nothing to compare with. The unit of cost is
    Flow Matching's step of the same column, compiled where the cell is, so that both took turns.
    """
    steps = frame[(frame["metric"] == "step_ms") & (frame["status"] == "ok")]
    lines = []
    for place, group in steps.groupby(PLACE, sort=False):
        rounds = {(r["method"], r["variant"], bool(r["compiled"])): list(r["rounds"]) for r in group.to_dict("records")}
        for (method, variant, compiled), own in rounds.items():
            unit = rounds.get((*REFERENCE, compiled))
            other = rounds.get((method, "published", False)) if variant == "optimised" else None
            cost = ratio(own, unit, True) if unit else NOTHING
            gain = ratio(other, own, not compiled) if other else NOTHING
            line = dict(zip(PLACE, place, strict=True)) | {"method": method, "variant": variant, "compiled": compiled}
            line |= dict(zip(("cost_low", "cost", "cost_high"), cost, strict=True))
            lines.append(line | dict(zip(("gain_low", "gain", "gain_high"), gain, strict=True)))
    return pd.DataFrame(lines, columns=[*PLACE, *CELL, *(f"{n}{q}" for n in ("cost", "gain") for q in ("_low", "", "_high"))])


# Panels


def _training(frame: pd.DataFrame) -> Iterator[Panel]:
    train = frame[(frame["work"] == "train") & (frame["metric"] != "max_batch") & frame["value"].notna()]
    compared = {tuple(line[key] for key in (*PLACE, *CELL)): line for line in ratios(train).to_dict("records")}
    for place, group in train.groupby(PLACE[:3], sort=False):
        lines = []
        for variant, compiled in VARIANTS:
            for method in dict.fromkeys(group["method"]):
                cell = (method, variant, compiled)
                own = group[(group[CELL] == pd.Series(cell, index=CELL)).all(axis=1)]
                of_cell = {column: compared.get((*place, column, *cell), {}) for column in COLUMNS}
                if len(own):
                    lines.append((f"{variant}, compiled" if compiled else variant, method, *_training_texts(own, of_cell)))
        net, precision, batch = place
        heads = ("variant", "method", "same ms", "× FM", "gain", "best ms", "× FM", "gain", "images/s", "GB", "MFU", "J/image")
        yield Panel(f"Training step: {net}, {precision}, batch {batch:.0f}", heads, tuple(lines), NOTES, ("J/image",), str(net))


def _training_texts(own: pd.DataFrame, compared: dict[str, dict[Any, Any]]) -> list[str]:
    """One cell's rows in both columns, and how they compare."""

    def value(metric: str, column: str) -> float:
        rows = own[(own["metric"] == metric) & (own["column"] == column)]["value"]
        return float(rows.iloc[0]) if len(rows) else math.nan

    texts = []
    for column in COLUMNS:
        noisy = own[(own["metric"] == "step_ms") & (own["column"] == column)]["noisy"].any()
        texts += [_number(value("step_ms", column)) + ("*" if noisy else "")]
        texts += [_number(compared[column].get(name, math.nan), 2) for name in ("cost", "gain")]
    rate, memory = value("images_per_second", "best"), value("peak_bytes", "best") / 1e9
    return [
        *texts,
        _number(rate),
        _number(memory),
        _number(value("mfu", "best"), 2),
        _number(value("joules_per_image", "best")),
    ]


def _largest(frame: pd.DataFrame) -> Iterator[Panel]:
    rows = frame[(frame["metric"] == "max_batch") & frame["value"].notna()].to_dict("records")
    lines = tuple((r["variant"], r["method"], r["net"], r["precision"], f"{r['value']:.0f}") for r in rows)
    notes = tuple(dict.fromkeys(str(r["reason"]).partition("; tried")[0] for r in rows))
    yield Panel("Largest batch of a training step", ("variant", "method", "net", "precision", "images"), lines, notes)


def _sampling(frame: pd.DataFrame) -> Iterator[Panel]:
    rows = frame[frame["work"].isin(["sample", "generate"]) & frame["value"].notna()]
    for (net, precision), group in rows.groupby(["net", "precision"], sort=False):
        batches = sorted(set(group["batch"].astype(int)))
        heads = ["steps", "method", "latency ms", *(f"images/s at {b}" for b in batches), "to uint8", "GB"]
        lines = []
        for (steps, method), own in group[group["column"] == "best"].groupby(["steps", "method"]):
            network, whole = own[own["work"] == "sample"], own[own["work"] == "generate"]
            rates = [_number(_value(network, "images_per_second", b)) for b in batches]
            last = batches[-1]
            memory = _value(network, "peak_bytes", last) / 1e9
            texts = [f"{steps:.0f}", str(method), _number(_value(network, "latency_ms", 1)), *rates]
            lines.append((*texts, _number(_value(whole, "images_per_second", last)), _number(memory)))
        note = f"Column best. to uint8: images/s at {batches[-1]}, decoding included. GB: beyond the weights."
        yield Panel(f"Sampling: {net}, {precision}", tuple(heads), tuple(lines), (note,), net=str(net))


def _value(rows: pd.DataFrame, metric: str, batch: int) -> float:
    found = rows[(rows["metric"] == metric) & (rows["batch"] == batch)]["value"]
    return float(found.iloc[0]) if len(found) else math.nan


def _decoding(frame: pd.DataFrame) -> Iterator[Panel]:
    rows = frame[(frame["work"] == "decode") & (frame["metric"] == "images_per_second")].to_dict("records")
    lines = tuple(("", f"{r['batch']:.0f}", _number(r["value"])) for r in rows)
    yield Panel("Decoding, fp32", ("", "batch", "images/s"), lines)


def _failures(frame: pd.DataFrame) -> Iterator[Panel]:
    rows = frame[frame["status"] != "ok"]
    keys = ["work", "method", "variant", "net", "precision", "column", "status", "reason"]
    lines = tuple(tuple(map(str, place)) for place in rows[keys].drop_duplicates().to_numpy().tolist())
    yield Panel("Not measured", tuple(keys), lines)


def _number(value: float, digits: int = 0) -> str:
    """Three significant figures, or so many decimals; an en dash where there is none."""
    if value is None or math.isnan(value):
        return "–"
    if digits:
        return f"{value:.{digits}f}"
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


# A page of docs/


def markdown(frame: pd.DataFrame, description: dict[str, Any]) -> str:
    """All panels, and where they come from: the machine as it was found, versions, commit, command."""
    machine, versions = description["machine"], description["versions"]
    lines = [f"# What the methods cost on {machine.get('device', 'this device')}", ""]
    lines += [f"Measured {description['started_at']} at commit {description['commit'][:8]}"
              + (" (work tree changed)" if description["dirty"] else "") + f" by `{description['command']}`."]  # fmt: skip
    known = ", ".join(f"{key} {value}" for key, value in machine.items() if value not in (None, "") and key != "device")
    lines += ["", f"As found: {known}. " + ", ".join(f"{k} {v}" for k, v in versions.items()) + "."]
    peaks = frame[frame["metric"] == "matmul_flops_per_second"].to_dict("records")
    seen = {str(r["precision"]): float(r["value"]) for r in peaks}
    if seen:
        lines += [
            "",
            "Matrix product of random numbers: " + ", ".join(f"{v / 1e12:.3g} TFLOP/s in {k}" for k, v in seen.items()) + ".",
        ]
    noisy = int(frame["noisy"].sum())
    lines += [
        "",
        f"{noisy} of {len(frame)} rows are marked noisy (*): the middle half of their rounds spreads over more than 10 %.",
    ]
    for panel in panels(frame):
        lines += ["", f"## {panel.title}", "", *table(panel)]
        lines += ["", *panel.notes] if panel.notes else []
    return "\n".join(lines) + "\n"


def table(panel: Panel, heads: Sequence[str] = ()) -> list[str]:
    """A panel's lines in markdown; `heads`: these columns alone, of two with one name the last."""
    last = {head: i for i, head in enumerate(panel.heads)}
    kept = [last[head] for head in heads] if heads else range(len(panel.heads))
    lines = [panel.heads, *panel.lines]
    texts = ["| " + " | ".join(escape_markdown(line[i]) for i in kept) + " |" for line in lines]
    return [texts[0], "|" + "---|" * len(kept), *texts[1:]]
