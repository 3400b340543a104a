"""A table in the form that a reader or another program takes: markdown, csv, latex (booktabs) or json.

markdown and latex hold the rounded texts; csv and json hold one record a cell with the values at full precision.
"""

import csv
import io
import json
import re
from typing import Any

from bench.errors import unknown
from reports.latex.tables import NEEDS, result_table
from reports.table import LEVEL, Cell, Line, Table


def render(table: Table, form: str) -> str:
    """The table as text that ends with a line break. Raises BenchError for an unknown form."""
    forms = {"markdown": _markdown, "csv": _csv, "latex": _latex, "json": _json}
    if form not in forms:
        raise unknown("form", form, forms, "Choose one of these.")
    return forms[form](table)


def cell_records(table: Table) -> list[dict[str, Any]]:
    """One record a cell, values at full precision in the rows' own unit; missing combinations are left out."""
    places = {key: table.group.get(key) for key in ("dataset", "net", "epochs", "device", "protocol")}
    return [
        places
        | {"line": line.name, "method": line.method, "metric": column.metric, "steps": column.steps}
        | {"unit": column.raw_unit, "better": column.better, "mean": cell.mean, "spread": cell.spread, "seeds": cell.seeds}
        | {
            "sampling_spread": cell.sampling_spread,  # over sampling seeds within a training seed
            "sampling_seeds": cell.sample_seeds,
            "standard_error": cell.standard_error,  # of one set of images
            "values": list(cell.values),
            "best": cell.best,
            "not_distinguishable_from_best": cell.level,
            "status": cell.status,
            "reason": cell.reason,
            "runs": list(cell.runs),
            "rows": list(cell.ids),  # as `bench explain` takes them
        }
        for line in table.lines
        for column, cell in zip(table.columns, line.cells, strict=True)
        if cell.status != "missing"
    ]


def comparison_records(table: Table) -> list[dict[str, Any]]:
    """One record a pair of lines and column, as reports.compare judges it: first - second, in the rows' own unit."""
    return [
        {"metric": column.metric, "steps": column.steps, "first": pair.first, "second": pair.second}
        | {"question": pair.question, "seeds": list(pair.seeds), "difference": found.value, "standard_error": found.error}
        | {"low": found.value - found.half_width, "high": found.value + found.half_width, "p_value": found.p_value}
        | {"p_value_holm": pair.p_value, "distinguishable": pair.distinguishable, "verdict": pair.verdict}
        for column, pairs in zip(table.columns, table.comparisons, strict=True)
        for pair in pairs
        if (found := pair.difference)
    ]


def _json(table: Table) -> str:
    failures = [{"run": f.run, "train_seed": f.train_seed, "status": f.status, "reason": f.reason} for f in table.failures]
    document: dict[str, Any] = {
        "kind": table.kind,
        "title": table.title,
        "note": table.note,
        "frechet_distance_floor": table.floor,
    }
    document |= {"cells": cell_records(table), "comparisons": comparison_records(table), "failures": failures}
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _csv(table: Table) -> str:
    cells = cell_records(table)
    buffer = io.StringIO()
    names = list(cells[0]) if cells else []
    writer = csv.DictWriter(buffer, names, lineterminator="\n")
    writer.writeheader()
    for cell in cells:  # the csv module writes floats by repr: nothing is lost
        lists = {"values": " ".join(map(repr, cell["values"])), "runs": " ".join(cell["runs"]), "rows": " ".join(cell["rows"])}
        writer.writerow(cell | lists)
    return buffer.getvalue()


def marked(cell: Cell) -> str:
    """The whole text, with ≈ where it is not distinguishable from the best."""
    return f"{LEVEL} {cell.full_text}" if cell.level else cell.full_text


def seed_heads(table: Table) -> list[str]:
    return ["training seeds", "sampling seeds"] if table.sampled else ["seeds"]


def seeds(table: Table, line: Line) -> list[str]:
    return [line.seeds_text, line.sampling_text] if table.sampled else [line.seeds_text]


def _markdown(table: Table) -> str:
    def text(cell: Cell) -> str:
        return f"**{cell.text}**{cell.full_text.removeprefix(cell.text)}" if cell.best else marked(cell)

    heads = ["method", *(column.full_head for column in table.columns), *seed_heads(table)]
    rows = [[escape_markdown(line.name), *(text(cell) for cell in line.cells), *seeds(table, line)] for line in table.lines]
    rule = ["---", *("---:" for _ in heads[1:])]
    body = ["| " + " | ".join(row) + " |" for row in ([escape_markdown(head) for head in heads], rule, *rows)]
    notes = [f"- {escape_markdown(failure.text)}" for failure in table.failures]
    parts = [f"**{escape_markdown(table.title)}**", "\n".join(body), escape_markdown(table.note), "\n".join(notes)]
    return "\n\n".join(part for part in parts if part) + "\n"


def escape_markdown(text: str) -> str:
    return re.sub(r"([\\`*_|<>\[\]])", r"\\\1", " ".join(text.split()))


def _latex(table: Table) -> str:
    return NEEDS + result_table(table)
