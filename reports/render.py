"""results/ and runs/ -> one page that stands alone: index.html, with its style, charts and pictures inside.

    render(Root(Path(".")), Path("site"))    # site/index.html

Reads the result rows, and of each run that is here its training log and sample grids. The same input gives the same bytes.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from bench import rows as result_rows
from bench.errors import BenchError
from bench.store import Root, RunDirectory, write_atomic
from reports.budget import budgets
from reports.cells import facts, spread_texts
from reports.curves import panels
from reports.figures import Chart, curve_charts, loss_charts, quality_against_time, quality_charts, throughput_chart
from reports.headline import cost_sentences, quality_sentences
from reports.lines import Descriptions, current, records
from reports.looks import Looks, looks_of
from reports.runs import anchor, entries, protocols
from reports.samples import galleries
from reports.sheets import sheets
from reports.table import Table
from reports.tables import cost, quality

TEMPLATES = Path(__file__).resolve().parent / "templates"


def render(root: Root, out: Path) -> Path:
    """Write `out`/index.html and return its path. Raises BenchError when there is no result."""
    frame, descriptions = result_rows.read(root.results)
    if frame.empty:
        raise BenchError(
            f"No results in {root.results}",
            "at least one result file of `bench`",
            "Make some first: `bench run`; or name another place with --root DIR.",
        )
    directories = {directory.name: directory for directory in root.run_directories()}
    rows = current(records(frame))
    qualities, costs = quality(frame, descriptions), cost(frame, descriptions)
    runs = entries(rows, descriptions, directories)
    panes = panels(frame, descriptions)
    named = [(line.name, line.method) for table in (*qualities, *costs) for line in table.lines]
    looks = looks_of([*named, *((curve.line, curve.method) for pane in panes for curve in pane.curves)])
    page = out / "index.html"
    context = {
        "qualities": qualities,
        "costs": costs,
        "published": sheets([*qualities, *costs], descriptions),
        "headlines": [(table, quality_sentences(table)) for table in qualities],
        "speed_headlines": [(table, sentences) for table in costs if (sentences := cost_sentences(table))],
        "quality_charts": [chart for table in qualities for chart in quality_charts(table, looks)],
        "loss_charts": _losses(qualities, directories, looks),
        "cost_charts": _cost_charts(qualities, costs, looks),
        "budgets": [(pane, curve_charts(pane, looks), budgets(pane)) for pane in panes],
        "galleries": galleries(qualities, directories, {entry.run: entry.command for entry in runs}),
        "logless": [entry for entry in runs if entry.run not in directories or not directories[entry.run].train_log.is_file()],
        "runs": runs,
        "colours": {name: look.colour for name, look in looks.items()},
        "methods": sorted({row.method for row in rows}),
        "commits": _commits(descriptions),
        "protocols": protocols(descriptions),
    }
    write_atomic(page, environment().get_template("index.html.j2").render(context))
    return page


def environment() -> Environment:
    """Jinja that escapes everything it is not told is ours, and fails on a name that has no value."""
    jinja = Environment(
        loader=FileSystemLoader(TEMPLATES), undefined=StrictUndefined, autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    jinja.globals["style"] = Markup((TEMPLATES / "style.css").read_text(encoding="utf-8"))  # ours: no input goes into it
    jinja.filters["svg"] = lambda chart: Markup(chart.svg)  # ours: matplotlib escapes the names in it
    jinja.globals |= {"facts": facts, "spread_texts": spread_texts}
    jinja.filters["anchor"] = anchor
    jinja.filters["protocol_anchor"] = lambda name: anchor(name, "protocol")
    return jinja


def _losses(tables: Sequence[Table], directories: Mapping[str, RunDirectory], looks: Looks) -> list[Chart]:
    """Charts of the training logs that are here; tables that differ by their protocol only share one."""
    logs: dict[str, dict[str, tuple[str, list[dict[str, Any]]]]] = {}
    for table in tables:
        of_title = logs.setdefault(table.title, {})
        for line in sorted(table.lines, key=lambda line: line.name):
            of_title |= {run: (line.name, directories[run].read_train_log()) for _, run in line.runs if run in directories}
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


def _commits(descriptions: Descriptions) -> list[str]:
    """The commits behind the results, shortened; "+" after one whose work tree had changes."""
    found = {(str(d.get("commit") or "unknown")[:10], bool(d.get("dirty"))) for d in descriptions.values()}
    return [f"{commit}+" if dirty else commit for commit, dirty in sorted(found)]
