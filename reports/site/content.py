"""All that the site shows, read once: rows, their tables and charts' looks, and the runs behind them.

content = gather(Root(Path("a")), Root(Path("b")))
content.qualities[0].lines[0].cells[0].runs
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.errors import BenchError
from bench.rows import Row
from bench.store import Root, RunDirectory
from reports.charts.looks import Looks, looks_of
from reports.curves import Panel, panels_of_all
from reports.lines import Descriptions, current, grouped
from reports.sheets import Sheet, sheets
from reports.site.folders import Folder, Machine, distinct, folders_of, machine_of, names_of
from reports.site.merge import Conflict, merge
from reports.site.reading import LeftOut, read_folder
from reports.site.runs import Entry, entries, protocols
from reports.site.speed_sheets import SpeedSheet, speed_sheets
from reports.site.unscored import Group, unscored
from reports.table import Table
from reports.tables import cost, quality


@dataclass(frozen=True)
class Content:
    rows: tuple[Row, ...]  # all that were read
    descriptions: Descriptions  # by run: what bench.provenance.describe wrote
    directories: Mapping[str, RunDirectory]  # by run, where its folder is here
    logs: Mapping[str, list[dict[str, Any]]]  # by run: the lines of its training log, where there is a readable one
    unscored: tuple[Group, ...]  # runs that have a log and no score
    qualities: tuple[Table, ...]
    costs: tuple[Table, ...]
    panes: tuple[Panel, ...]  # cost curves
    published: tuple[Sheet, ...]
    speed: tuple[SpeedSheet, ...]  # what `bench speed` measured
    runs: tuple[Entry, ...]
    looks: Looks  # by line
    protocols: Mapping[str, list[tuple[str, str]]]  # conditions by id
    folders: tuple[Folder, ...]  # that were read
    origins: Mapping[str, tuple[str, ...]]  # by run: the names of the folders that have it
    conflicts: tuple[Conflict, ...]  # runs of one name that are not the same
    left_out: tuple[LeftOut, ...]  # what could not be read, and why

    @functools.cached_property
    def methods(self) -> list[str]:
        return sorted({row.method for row in self.rows})

    @functools.cached_property
    def entries(self) -> dict[str, Entry]:
        return {entry.run: entry for entry in self.runs}

    @functools.cached_property
    def commands(self) -> dict[str, str]:
        return {entry.run: entry.command for entry in self.runs}

    def machine(self, row: Row) -> Machine:
        """Where a row was measured: device, processor, platform, versions, folder."""
        return machine_of(row, self.descriptions.get(row.run, {}), self.origins.get(row.run, ()))

    @functools.cached_property
    def rows_of(self) -> dict[str, list[Row]]:
        """By run, only what later rows have not overtaken."""
        return {run: found for (run,), found in grouped(current(self.rows), ["run"]).items()}

    @functools.cached_property
    def stored_of(self) -> dict[str, list[Row]]:
        """By run, all of its rows: those of earlier snapshots too, which cost curves lead to."""
        return {run: found for (run,), found in grouped(self.rows, ["run"]).items()}

    @functools.cached_property
    def commits(self) -> list[str]:
        """The commits behind the results, shortened; "+" after one whose work tree had changes."""
        found = {(str(d.get("commit") or "unknown")[:10], bool(d.get("dirty"))) for d in self.descriptions.values()}
        return [f"{commit}+" if dirty else commit for commit, dirty in sorted(found)]


def gather(*roots: Root) -> Content:
    """What the folders hold together. What can not be read is left out and named; raises BenchError when nothing is left."""
    places = distinct(roots)
    read = [(name, read_folder(root, name)) for name, root in zip(names_of(places), places, strict=True)]
    left_out = [item for _, (_, items) in read for item in items]
    merged = merge([source for _, (sources, _) in read for source in sources])
    if not merged.rows and not merged.logs:
        raise nothing_to_show(places, left_out)
    rows, descriptions = merged.rows, merged.descriptions
    qualities, costs, panes = quality(rows, descriptions), cost(rows, descriptions), panels_of_all(rows, descriptions)
    named = [(line.name, line.method) for table in (*qualities, *costs) for line in table.lines]
    rows_of = {run: found for (run,), found in grouped(rows, ["run"]).items()}
    waiting = unscored(merged.logs, qualities, rows_of, merged.recorded)
    named += [(found.line, found.method) for group in waiting for found in group.runs]
    folders = folders_of(places, merged)
    return Content(
        rows=rows,
        descriptions=descriptions,
        directories=merged.directories,
        logs=merged.logs,
        unscored=waiting,
        qualities=tuple(qualities),
        costs=tuple(costs),
        panes=tuple(panes),
        published=tuple(sheets([*qualities, *costs], descriptions)),
        speed=tuple(speed_sheets(root.speed for root in places)),
        runs=tuple(entries(current(rows), merged.recorded, merged.directories)),
        looks=looks_of([*named, *((curve.line, curve.method) for pane in panes for curve in pane.curves)]),
        protocols=protocols(descriptions),
        folders=folders,
        origins=merged.origins,
        conflicts=merged.conflicts,
        left_out=(*left_out, *(folder.emptiness for folder in folders if folder.emptiness)),
    )


def nothing_to_show(roots: list[Root], left_out: list[LeftOut]) -> BenchError:
    """No folder has a row or a training log that can be read."""
    given = f"No results in {' and '.join(str(root.results) for root in roots)}"
    if left_out:
        given += f" that can be read ({'; '.join(f'{item.what} {item.reason}' for item in left_out)})"
    remedy = "Make some first: `bench run`; or name another place: `bench report FOLDER`."
    return BenchError(given, "at least one result file of `bench`", remedy)


def facts_of(content: Content) -> dict[str, Any]:
    """What every page's head and foot say."""
    told = {"folders": content.folders, "conflicts": content.conflicts, "left_out": content.left_out}
    return {"methods": content.methods, "commits": content.commits, "run_count": len(content.runs)} | told
