"""A table in the form that a reader or another program takes: markdown, csv, latex (booktabs) or json.

markdown and latex hold the rounded texts; csv and json hold one record a cell with the values at full precision.
"""

import csv
import io
import itertools
import json
import re
from typing import Any

from bench.errors import unknown
from reports.table import Cell, Table

LATEX = {
    "\\": r"\textbackslash{}",
    **{char: f"\\{char}" for char in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "↓": r"$\downarrow$",
    "↑": r"$\uparrow$",
    "±": r"$\pm$",
    "–": "--",
    "\n": " ",
}


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
            "values": list(cell.values),
            "best": cell.best,
            "status": cell.status,
            "reason": cell.reason,
            "runs": list(cell.runs),
        }
        for line in table.lines
        for column, cell in zip(table.columns, line.cells, strict=True)
        if cell.status != "missing"
    ]


def _json(table: Table) -> str:
    failures = [{"run": f.run, "train_seed": f.train_seed, "status": f.status, "reason": f.reason} for f in table.failures]
    document: dict[str, Any] = {
        "kind": table.kind,
        "title": table.title,
        "note": table.note,
        "frechet_distance_floor": table.floor,
    }
    document |= {"cells": cell_records(table), "failures": failures}
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _csv(table: Table) -> str:
    cells = cell_records(table)
    buffer = io.StringIO()
    names = list(cells[0]) if cells else []
    writer = csv.DictWriter(buffer, names, lineterminator="\n")
    writer.writeheader()
    for cell in cells:  # the csv module writes floats by repr: nothing is lost
        writer.writerow(cell | {"values": " ".join(map(repr, cell["values"])), "runs": " ".join(cell["runs"])})
    return buffer.getvalue()


def _markdown(table: Table) -> str:
    def text(cell: Cell) -> str:
        return f"**{cell.text}**" if cell.best else cell.text

    heads = ["method", *(column.full_head for column in table.columns), "seeds"]
    rows = [[_escape_markdown(line.name), *(text(cell) for cell in line.cells), line.seeds_text] for line in table.lines]
    rule = ["---", *("---:" for _ in heads[1:])]
    body = ["| " + " | ".join(row) + " |" for row in ([_escape_markdown(head) for head in heads], rule, *rows)]
    notes = [f"- {_escape_markdown(failure.text)}" for failure in table.failures]
    parts = [f"**{_escape_markdown(table.title)}**", "\n".join(body), _escape_markdown(table.note), "\n".join(notes)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _escape_markdown(text: str) -> str:
    return re.sub(r"([\\`*_|<>\[\]])", r"\\\1", " ".join(text.split()))


def _latex(table: Table) -> str:
    groups = table.head_spans
    first = ["", *(rf"\multicolumn{{{span}}}{{c}}{{{_escape_latex(text)}}}" for text, span in groups), ""]
    second = ["method", *(_escape_latex(column.steps_text) for column in table.columns), "seeds"]
    rows = [
        [_escape_latex(line.name), *(_latex_cell(cell) for cell in line.cells), _escape_latex(line.seeds_text)]
        for line in table.lines
    ]
    notes = " ".join([table.title + ".", table.note, *(failure.text + "." for failure in table.failures)])
    lines = [r"\begin{table}", r"\centering", rf"\caption{{{_escape_latex(notes)}}}"]
    lines += [rf"\begin{{tabular}}{{l{'r' * len(table.columns)}r}}", r"\toprule", _latex_row(first)]
    lines += [_rules(groups), _latex_row(second), r"\midrule", *(_latex_row(row) for row in rows), r"\bottomrule"]
    return "\n".join([*lines, r"\end{tabular}", r"\end{table}"]) + "\n"


def _rules(groups: list[tuple[str, int]]) -> str:
    """The short rules under heads that span several columns."""
    ends = list(itertools.accumulate((span for _, span in groups), initial=1))
    return "".join(rf"\cmidrule(lr){{{start + 1}-{end}}}" for start, end in itertools.pairwise(ends))


def _latex_row(cells: list[str]) -> str:
    return " & ".join(cells) + r" \\"


def _latex_cell(cell: Cell) -> str:
    text = _escape_latex(cell.text)
    return rf"\textbf{{{text}}}" if cell.best else text


def _escape_latex(text: str) -> str:
    return "".join(LATEX.get(char, char) for char in text)
