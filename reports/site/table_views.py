"""A table as a page shows it: with what papers report beneath its lines, its certificate, and how to get what is missing.

found = views(content.qualities, content)
for view in leaderboard(found): ...       # short where all of them together are too much for one page
"""

import itertools
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from reports.certificate import Certificate, certificate
from reports.claimed import Pairing
from reports.lines import Descriptions
from reports.site.beside import Claimed, beside, nearest
from reports.site.content import Content
from reports.site.exports import name_of, table_name
from reports.site.links import run_page
from reports.table import Cell, Column, Line, Table

ALL = 1500  # cells of tables with their folds on one page; beyond, each table has a page of its own
SHORT = 3000  # cells of the short tables then, all together
FEWEST = 2  # columns of a short table


@dataclass(frozen=True)
class Head:
    """Neighbouring columns of one metric."""

    text: str
    columns: tuple[tuple[int, Column], ...]  # (place in the table, column), fewest steps first

    @property
    def stepless(self) -> bool:
        return self.columns[0][1].steps is None


@dataclass(frozen=True)
class View:
    table: Table  # what is shown of it
    name: str  # of its files in data/, and in links
    certificate: Certificate
    claimed: Mapping[str, tuple[Claimed, ...]]  # by line, a cell for each column shown; those nearest to ours
    unshown: Mapping[str, int]  # by line: how many further recipes were published
    lacks: tuple[tuple[str, str], ...]  # (what was not measured, the command that measures it, or "")
    columns: int  # of the whole table
    whole: str = ""  # the page that has all of it, where this has not

    @property
    def heads(self) -> list[Head]:
        groups = itertools.groupby(enumerate(self.table.columns), key=lambda item: item[1].metric_text)
        return [Head(text, tuple(group)) for text, group in groups]

    @property
    def two_rows(self) -> bool:
        """The head has a second row, of steps."""
        return any(not head.stepless for head in self.heads)


def views(tables: Sequence[Table], content: Content) -> list[View]:
    pairings = [pairing for sheet in content.published for pairing in sheet.pairings if pairing.ours is not None]
    return [_view(table, pairings, content.descriptions) for table in tables]


def _view(table: Table, pairings: Sequence[Pairing], descriptions: Descriptions) -> View:
    met = beside(table, pairings)
    shown = {line: nearest(claimed) for line, claimed in met.items()}
    return View(
        table=table,
        name=table_name(table),
        certificate=certificate(table, descriptions),
        claimed=shown,
        unshown={line: len(claimed) - len(shown[line]) for line, claimed in met.items()},
        lacks=tuple(lacks(table, descriptions)),
        columns=len(table.columns),
    )


# What is missing


def lacks(table: Table, descriptions: Descriptions) -> list[tuple[str, str]]:
    """What a line that has values has no value for, and the command for it; for runs that failed, that which tries again."""
    found = []
    for line in table.lines:
        columns = [column for column, cell in zip(table.columns, line.cells, strict=True) if cell.status == "missing"]
        measured = [cell for cell in line.cells if cell.values]
        if not (columns and measured):
            continue
        texts = [column.full_head.replace(f" {column.arrow}", "") if column.arrow else column.full_head for column in columns]
        known = {column.steps for column in table.columns if column.steps is not None}
        wanted = sorted(known) if {column.steps for column in columns} - {None} else []
        command = _command(measured[0].runs[0], table.group["protocol"], descriptions)
        found.append((f"{line.name}: {'; '.join(texts)}", _with_steps(command, wanted)))
    again = ((failure, descriptions.get(failure.run, {}).get("command")) for failure in table.failures)
    return found + [(f"{failure.line}, seed {failure.train_seed}", str(command or "")) for failure, command in again]


def _command(run: str, protocol: str, descriptions: Descriptions) -> str:
    """That measured the run under this protocol, else that made the run."""
    description = descriptions.get(run, {})
    measurements = description.get("measurements")
    measured = measurements.get(protocol) if isinstance(measurements, Mapping) else None
    found = measured.get("command") if isinstance(measured, Mapping) else None
    return str(found or description.get("command") or "")


def _with_steps(command: str, steps: Sequence[int]) -> str:
    """The same with these numbers of steps, the last word on a setting; what is there already is not measured again."""
    if not command:
        return ""
    return f"{command} --set {shlex.quote(f'eval.steps={list(steps)}')}" if steps else f"{command} --again"


# Short tables


def leaderboard(found: Sequence[View]) -> list[View]:
    """As they are where that is little; else the first columns of each, and the place of the page with the whole table."""
    if sum(len(view.table.lines) * len(view.table.columns) for view in found) <= ALL:
        return list(found)
    columns = max(FEWEST, SHORT // max(1, sum(len(view.table.lines) for view in found)))
    return [replace(_first(view, columns), whole=f"tables/{view.name}.html") for view in found]


def _first(view: View, count: int) -> View:
    """The columns that say most, in their order: few steps before many, and earlier metrics before later ones."""
    columns = view.table.columns
    metrics = list(dict.fromkeys(column.metric for column in columns))
    rank = {i: k for metric in metrics for k, i in enumerate(view.table.column_indices(metric))}
    kept = sorted(sorted(range(len(columns)), key=lambda i: (rank[i] + metrics.index(columns[i].metric), i))[:count])

    def line_of(line: Line) -> Line:
        return replace(line, cells=tuple(line.cells[i] for i in kept))

    table = replace(
        view.table,
        columns=tuple(columns[i] for i in kept),
        lines=tuple(map(line_of, view.table.lines)),
        comparisons=tuple(view.table.comparisons[i] for i in kept) if view.table.comparisons else (),
    )
    claimed = {
        line: tuple(replace(row, cells=cells) for row in rows if any(cells := tuple(row.cells[i] for i in kept)))
        for line, rows in view.claimed.items()
    }
    return replace(view, table=table, claimed=claimed)


# Links


def row_place(cell: Cell) -> str:
    """Where a number leads: its first row, on the page of that row's run. Without a value: the run that failed."""
    return f"{run_page(cell.rows[0].run)}#row-{cell.ids[0]}" if cell.rows else run_page(cell.runs[0])


def claim_anchor(pairing: Pairing) -> str:
    """The line of the tables of published numbers where a claim stands beside ours."""
    return name_of("claim", pairing.claim.id, pairing.line, *pairing.runs, repr(pairing.ours))
