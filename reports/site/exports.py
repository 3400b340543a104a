"""The tables of the site as files that others take: data/NAME.csv, .md, .tex, and a script that a page copies them from.

add_table(folder, table)                        # data/quality-digits-T-2-240-epochs-1a2b3c4d.csv, ...
add_grid(folder, grid_name("speed", title), grid)
add_rows(folder, run, [(row_id(row), row)], device_of)    # data/rows-RUN.csv
"""

import csv
import hashlib
import io
import json
import re
from collections.abc import Callable, Sequence

from bench.rows import Row
from reports import forms, sheets
from reports.budget import Answer
from reports.certificate import Certificate, certificate_grid
from reports.curves import Panel
from reports.differences import differences_grid
from reports.grids import Grid
from reports.sheets import Sheet
from reports.site.folder import SiteFolder
from reports.site.links import slug
from reports.table import Table

FORMS = {"csv": "csv", "md": "markdown", "tex": "latex"}  # by file name's end
NAMES = {"csv": "CSV", "md": "Markdown", "tex": "LaTeX"}
LONGEST = 60  # characters of a readable name
ROWS = (
    *("id", "metric", "steps", "value", "unit", "standard error", "n", "images seen", "sampling seed", "protocol"),
    *("precision", "device", "processes", "commit", "measured", "seconds", "status", "reason"),
)


def name_of(kind: str, *words: str) -> str:
    """Of a table's files, and of the table in a link: readable, safe in both, and different for different words."""
    digest = hashlib.sha256(json.dumps([kind, *words]).encode()).hexdigest()[:8]
    readable = re.sub(r"[^A-Za-z0-9]+", "-", " ".join([kind, *words[:1]]))[:LONGEST].strip("-")
    return f"{readable}-{digest}"


def table_name(table: Table) -> str:
    return name_of(table.kind, table.title, *(f"{key}={value}" for key, value in sorted(table.group.items())))


def add_table(folder: SiteFolder, table: Table) -> None:
    _add(folder, table_name(table), lambda form: forms.render(table, form))


def add_folds(folder: SiteFolder, table: Table, parity: Certificate) -> None:
    """What is folded beneath a table and is not in its own files: the certificate, and the differences where there are any."""
    add_grid(folder, certificate_name(table), certificate_grid(table, parity))
    if table.judged:
        add_grid(folder, differences_name(table), differences_grid(table))


def certificate_name(table: Table) -> str:
    return name_of("certificate", table_name(table))


def differences_name(table: Table) -> str:
    return name_of("differences", table_name(table))


def add_sheet(folder: SiteFolder, sheet: Sheet) -> None:
    """A table of published numbers."""
    _add(folder, sheet_name(sheet), lambda form: sheets.render([sheet], form))


def sheet_name(sheet: Sheet) -> str:
    return name_of("published", sheet.title)


def add_budget(folder: SiteFolder, panel: Panel, answers: Sequence[Answer]) -> None:
    """What is best within a few budgets; nothing where no hours are known."""
    if not answers:
        return
    lines = tuple(
        (answer.budget_text, choice.line, *choice.texts, choice.reason) for answer in answers for choice in answer.choices
    )
    heads = ("within", "method", *answers[0].heads, "why not")
    notes = tuple(f"Within {answer.budget_text}: {answer.verdict}" for answer in answers)
    title = f"Best within a budget: {panel.title}"
    add_grid(folder, budget_name(panel), Grid(title, heads, lines, (f"Protocol {panel.protocol}.", *notes)))


def budget_name(panel: Panel) -> str:
    return name_of("budget", panel.title, panel.dataset, panel.net, panel.device, panel.protocol)


def add_grid(folder: SiteFolder, name: str, grid: Grid) -> None:
    _add(folder, name, grid.render)


def add_rows(folder: SiteFolder, run: str, measured: Sequence[tuple[str, Row]], device_of: Callable[[Row], str]) -> str:
    """What a run's page shows of its rows (id, row), as CSV; no value is an empty field. Returns the file's place.

    There may be hundreds of runs: it is one file a run, and no script to copy it.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(ROWS)
    for name, row in measured:
        commit = row.commit + ("+" if row.dirty else "")
        scored = (row.metric, row.steps, row.value, row.unit, row.standard_error, row.n, row.images, row.sample_seed)
        where = (row.protocol, row.precision, device_of(row), row.world_size, commit, row.started_at, row.seconds)
        writer.writerow((name, *scored, *where, row.status, row.reason))
    return folder.add(f"data/rows-{slug(run)}.csv", buffer.getvalue())


def _add(folder: SiteFolder, name: str, render: Callable[[str], str]) -> None:
    """Three files, and all three in a script: a page without a server may load that, and nothing else."""
    texts = {end: render(form) for end, form in FORMS.items()}
    for end, text in texts.items():
        folder.add(f"data/{name}.{end}", text)
    folder.add(f"data/{name}.js", f"benchTake({json.dumps(name)}, {json.dumps(texts)});\n")
