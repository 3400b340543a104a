"""The pages of the site, one function a page: what it shows, and where it lies.

for add in PAGES: add(content, folder)
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bench.rows import Row, row_id
from reports.budget import budgets
from reports.charts.chart import Chart, publish
from reports.charts.figures import curve_charts, loss_charts, quality_against_time, quality_charts, throughput_chart
from reports.charts.looks import Looks
from reports.numbers import number
from reports.papers.citing import citation_of
from reports.papers.equations import mathml
from reports.papers.method_grids import method_grids
from reports.papers.method_page import method_views
from reports.site import exports
from reports.site.content import Content, facts_of
from reports.site.folder import SiteFolder
from reports.site.headline import cost_sentences, quality_sentences
from reports.site.links import method_page, run_page
from reports.site.run_list import NAME as RUN_LIST
from reports.site.run_list import NUMBERS, run_list
from reports.site.samples import galleries
from reports.site.table_views import leaderboard, views
from reports.site.templating import ASSETS, page
from reports.site.two_runs import comparable
from reports.table import Table

BESIDE = 8  # runs that a run's page offers to compare with


def assets(_: Content, folder: SiteFolder) -> None:
    for file in sorted(ASSETS.iterdir()):
        folder.add(f"assets/{file.name}", file)


def index(content: Content, folder: SiteFolder) -> None:
    """The leaderboard: who is best, measured and published side by side."""
    headlines = [(table, quality_sentences(table)) for table in content.qualities]
    speed = [(table, found) for table in content.costs if (found := cost_sentences(table))]
    whole = views(content.qualities, content)
    shown = leaderboard(whole)
    more: dict[str, Any] = {
        "unscored": content.unscored,
        "views": shown,
        "headlines": headlines,
        "speed_headlines": speed,
        "published": content.published,
    }
    add(content, folder, "index.html", "index.html.j2", more)
    for view, short in zip(whole, shown, strict=True):
        exports.add_table(folder, view.table)
        exports.add_folds(folder, view.table, view.certificate)
        if short.whole:
            add(content, folder, short.whole, "table.html.j2", {"view": view})
    for sheet in content.published:
        exports.add_sheet(folder, sheet)


def quality(content: Content, folder: SiteFolder) -> None:
    """Scores against steps, images seen and hours."""
    charts = [chart for table in content.qualities for chart in quality_charts(table, content.looks)]
    curves = [
        (pane, curve_charts(pane, content.looks), budgets(pane) if pane.columns[0].metric == "frechet_distance" else ())
        for pane in content.panes
    ]
    publish([*charts, *(chart for _, drawn, _ in curves for chart in drawn)], folder)
    add(content, folder, "quality.html", "quality.html.j2", {"quality_charts": charts, "budgets": curves})
    for pane, _, answers in curves:
        exports.add_budget(folder, pane, answers)


def cost(content: Content, folder: SiteFolder) -> None:
    """Throughput, latency, memory as the runs had them, and what `bench speed` measured."""
    charts = _cost_charts(content.qualities, content.costs, content.looks)
    shown = views(content.costs, content)
    more = {"views": shown, "cost_charts": charts, "speed": content.speed}
    publish(charts, folder)
    add(content, folder, "cost.html", "cost.html.j2", more)
    for view in shown:
        exports.add_table(folder, view.table)
        exports.add_folds(folder, view.table, view.certificate)
    for name, grid in {name: grid for sheet in content.speed for name, _, grid in sheet.grids}.items():
        exports.add_grid(folder, name, grid)


def samples(content: Content, folder: SiteFolder) -> None:
    """Grids side by side; their files as `bench` wrote them."""
    found = galleries(content.qualities, content.directories, content.commands)
    for place, data in sorted({p.place: p.png.data for gallery in found for p in gallery.pictures}.items()):
        folder.add(place, data)
    add(content, folder, "samples.html", "samples.html.j2", {"galleries": found})


def training(content: Content, folder: SiteFolder) -> None:
    """Raw mean square error and gradient norm of every run that has a log, also of those without a score."""
    charts = _losses(content.qualities, content.logs, content.looks)
    charts += [chart for group in content.unscored for chart in loss_charts(group.title, group.logs, content.looks)]
    logless = [entry for entry in content.runs if entry.run not in content.logs]
    more = {"loss_charts": charts, "logless": logless, "unscored": content.unscored, "entries": content.entries}
    publish(charts, folder)
    add(content, folder, "training.html", "training.html.j2", more)


def provenance(content: Content, folder: SiteFolder) -> None:
    """All runs, and a page of each."""
    listed = run_list(content)
    exports.add_grid(folder, RUN_LIST, listed)
    more: dict[str, Any] = {"runs": content.runs, "listed": listed, "file": RUN_LIST, "numbers": NUMBERS}
    add(content, folder, "provenance.html", "provenance.html.j2", more)
    alike: dict[tuple[Any, ...], list[str]] = {}
    for run, rows in content.stored_of.items():
        alike.setdefault(_comparison(rows), []).append(run)
    for entry in content.runs:
        own = content.stored_of.get(entry.run, [])
        others = [run for run in alike.get(_comparison(own), []) if run != entry.run]
        more = {"entry": entry, "others": others[:BESIDE]}
        measured = [(row_id(row), row) for row in sorted(own, key=_place)]
        rows_file = exports.add_rows(folder, entry.run, measured, lambda row: content.machine(row).text) if own else ""
        more |= {"measured": measured, "rows_file": rows_file}
        more |= {"machine": content.machine, "machines": list(dict.fromkeys(map(content.machine, own)))}
        add(content, folder, run_page(entry.run), "run.html.j2", more)


def _comparison(rows: Sequence[Row]) -> tuple[Any, ...]:
    """What a run has in common with those that it is compared with."""
    return (rows[0].dataset, rows[0].net, rows[0].epochs) if rows else ()


def _place(row: Row) -> tuple[str, str, int, int, int]:
    return row.protocol, row.metric, row.steps or 0, row.images, row.sample_seed or 0


def methods(content: Content, folder: SiteFolder) -> None:
    """A page of each method that has rows."""
    found = method_views(content)
    publish([chart for view in found for chart in view.charts], folder)
    for view in found:
        grids = method_grids(view)
        more = {"view": view, "grids": grids, "mathml": mathml, "number": number}
        add(content, folder, method_page(view.method), "method.html.j2", more)
        for name, grid in grids.all:
            exports.add_grid(folder, name, grid)


def cite(content: Content, folder: SiteFolder) -> None:
    """Paragraphs for a paper, and the BibTeX of what they cite."""
    citation = citation_of(content)
    bibliography = folder.add("data/references.bib", citation.bibtex) if citation.bibtex else ""
    add(content, folder, "cite.html", "cite.html.j2", {"citation": citation, "bibliography": bibliography})


def compare(content: Content, folder: SiteFolder) -> None:
    """Any two runs side by side."""
    add(content, folder, "compare.html", "compare.html.j2", {"runs": content.runs, "comparable": comparable(content)})


def add(content: Content, folder: SiteFolder, place: str, template: str, more: Mapping[str, Any]) -> None:
    """Render one page with what all pages have."""
    colours = {name: look.colour for name, look in content.looks.items()}
    shared = facts_of(content) | {"colours": colours, "protocols": content.protocols}
    folder.add(place, page(place, template, shared | dict(more)))


def _losses(tables: Sequence[Table], known: Mapping[str, list[dict[str, Any]]], looks: Looks) -> list[Chart]:
    """Charts of the training logs that are here; tables that differ by their protocol only share one."""
    logs: dict[str, dict[str, tuple[str, list[dict[str, Any]]]]] = {}
    for table in tables:
        of_title = logs.setdefault(table.title, {})
        for line in sorted(table.lines, key=lambda line: line.name):
            of_title |= {run: (line.name, known[run]) for _, run in line.runs if run in known}
    return [chart for title, of_title in logs.items() for chart in loss_charts(title, of_title, looks)]


def _cost_charts(qualities: Sequence[Table], costs: Sequence[Table], looks: Looks) -> list[Chart]:
    charts = [throughput_chart(table, looks) for table in costs]
    charts += [
        quality_against_time(table, other, looks)
        for table in qualities
        for other in costs
        if all(table.group[name] == other.group[name] for name in ("dataset", "net", "epochs"))
    ]
    return [chart for chart in charts if chart is not None]


PAGES: tuple[Callable[[Content, SiteFolder], None], ...] = (
    assets,
    index,
    quality,
    cost,
    samples,
    training,
    methods,
    provenance,
    compare,
    cite,
)
