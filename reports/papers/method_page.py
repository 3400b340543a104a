"""A page a method: its paper and equations, what was set and what the paper sets, how its runs trained, what they scored.

for view in method_views(content): page(method_page(view.method), "method.html.j2", {"view": view})
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reports.charts.chart import Chart
from reports.charts.figures import loss_charts
from reports.papers.equations import EQUATIONS, SYMBOLS, Equation, Symbol
from reports.papers.method_source import Source, read_source
from reports.papers.paper import PAPERS, Paper
from reports.papers.recipes import Recipes, recipe_sheets, title_of
from reports.papers.stability import SPIKE, Log, Steadiness, steadiness
from reports.published import Claim, load
from reports.site.content import Content
from reports.site.links import slug
from reports.table import Cell, Column, Line, Table

MANY = 12  # groups of training curves on all pages together; more are drawn on the page of all curves alone
Curves = Mapping[str, Mapping[str, tuple[str, Log]]]  # what a group shares, in words -> run -> (line, its log)


@dataclass(frozen=True)
class Scores:
    """What one line scored under one protocol: metrics down, steps across."""

    name: str  # an id, unique in the page
    line: Line
    table: Table

    @property
    def steps(self) -> list[int]:
        return sorted({column.steps for column in self.table.columns if column.steps is not None})

    @property
    def rows(self) -> list[tuple[str, list[tuple[Column, Cell] | None]]]:
        """(metric with unit and arrow, a cell a number of steps); None where the table has no such column."""
        found: dict[str, dict[int, tuple[Column, Cell]]] = {}
        for column, cell in zip(self.table.columns, self.line.cells, strict=True):
            if column.steps is not None:
                found.setdefault(column.metric_text, {})[column.steps] = (column, cell)
        return [(text, [of_steps.get(steps) for steps in self.steps]) for text, of_steps in found.items()]


@dataclass(frozen=True)
class MethodView:
    method: str
    paper: Paper | None  # None for a method that this suite knows no paper of
    source: Source
    equations: tuple[Equation, ...]
    symbols: tuple[Symbol, ...]
    recipes: tuple[Recipes, ...]
    charts: tuple[Chart, ...]
    curves_at: str  # where the training curves are, if they are too many to be drawn twice; else ""
    stability: tuple[tuple[str, Steadiness], ...]  # (line, of a run); the line is "" for a run in no table
    scores: tuple[Scores, ...]
    spike: str = SPIKE

    @property
    def name(self) -> str:
        return self.paper.name if self.paper else self.method

    @property
    def logged(self) -> bool:
        return any(found.lines for _, found in self.stability)

    @property
    def verdict(self) -> str:
        """Whether anything went wrong, in a sentence."""
        runs = [found for _, found in self.stability]
        counts = (
            (sum(bool(found.reasons) for found in runs), "not ok"),
            (sum(bool(found.not_finite) for found in runs), "not finite somewhere"),
            (sum(bool(found.spikes) for found in runs), "with a spike of the gradient norm"),
        )
        of = f"Of {len(runs)} runs" if len(runs) != 1 else "Of 1 run"
        said = [f"{count} {'is' if count == 1 else 'are'} {what}" for count, what in counts if count]
        if said:
            return f"{of}, {', '.join(said)}."
        return "No run failed, every logged value is finite, no gradient norm spiked." if self.logged else "No run failed."


def method_views(content: Content) -> list[MethodView]:
    """Of every method that has rows, by name."""
    claims = load().claims
    curves = {method: _curves(method, content) for method in content.methods}
    drawn = sum(map(len, curves.values())) <= MANY
    return [_view(method, content, claims, curves[method], drawn=drawn) for method in content.methods]


def _view(method: str, content: Content, claims: Sequence[Claim], curves: Curves, *, drawn: bool) -> MethodView:
    source = read_source(method)
    tables = [*content.qualities, *content.costs]
    charts = [chart for title, logs in curves.items() for chart in loss_charts(title, logs, content.looks)] if drawn else []
    return MethodView(
        method=method,
        paper=PAPERS.get(method),
        source=source,
        equations=EQUATIONS.get(method, ()),
        symbols=SYMBOLS.get(method, ()),
        recipes=tuple(recipe_sheets(method, tables, content.descriptions, claims, source)),
        charts=tuple(charts),
        curves_at="" if drawn or not curves else _others_off(method, content),
        stability=tuple(_stability(method, tables, content)),
        scores=tuple(_scores(method, content.qualities)),
    )


def _others_off(method: str, content: Content) -> str:
    """The page of all training curves, with this method's lines on alone."""
    lines = {(line.name, line.method) for table in content.qualities for line in table.lines}
    return "training.html#off=" + ",".join(sorted(slug(name) for name, of in lines if of != method))


def _scores(method: str, tables: Sequence[Table]) -> list[Scores]:
    found = [(table, line) for table in tables for line in table.lines if line.method == method]
    return [
        Scores(f"scores-{i}-{slug(line.name)}", line, table)
        for i, (table, line) in enumerate(found, start=1)
        if any(column.steps is not None for column in table.columns)
    ]


def _curves(method: str, content: Content) -> Curves:
    """Its training logs, one group a data set, network and length of training; no empty group."""
    known = method if method.isidentifier() else repr(method)  # no two groups of the site may read alike
    groups: dict[str, dict[str, tuple[str, Log]]] = {}
    for table in (*content.qualities, *content.costs):
        own = [line for line in table.lines if line.method == method]
        for line in sorted(own, key=lambda line: line.name):
            logs = {run: content.logs[run] for _, run in line.runs if content.logs.get(run)}
            of_title = groups.setdefault(f"{known} on {title_of(table.group)}", {})
            of_title |= {run: (line.name, log) for run, log in logs.items() if run not in of_title}
    return {title: logs for title, logs in groups.items() if logs}


def _stability(method: str, tables: Sequence[Table], content: Content) -> list[tuple[str, Steadiness]]:
    lines: dict[str, str] = {}
    for table in tables:
        for line in (line for line in table.lines if line.method == method):
            lines |= {run: line.name for _, run in line.runs if run not in lines}
    found = []
    for run in sorted({row.run for row in content.rows if row.method == method}):
        entry, description = content.entries.get(run), content.descriptions.get(run, {})
        reasons = entry.reasons if entry else ()
        found.append((lines.get(run, ""), steadiness(run, content.logs.get(run, ()), description, reasons)))
    return found
