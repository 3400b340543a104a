"""What the reading verbs print: result tables and lists."""

from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

from bench.errors import BenchError, unknown
from bench.store import Root, RunDirectory

if TYPE_CHECKING:
    from reports.table import Table

out = Console(highlight=False)


FORMS = ("rich", "markdown", "csv", "latex", "json")


def show_tables(root: Path, kind: str, form: str, runs: list[str] | None = None, quiet: bool = False) -> None:
    """Print the tables of these runs; `quiet` says nothing where there are no results, else that is an error."""
    from bench.rows import read
    from reports import forms, tables

    if kind not in ("quality", "cost"):
        raise unknown("table", kind, ("quality", "cost"), "For example: bench table cost")
    if form not in FORMS:
        raise unknown("format", form, FORMS, "For example: bench table --format markdown")
    frame, descriptions = read(Root(root).results)
    if runs is not None:
        frame = frame[frame["run"].isin(runs)]
    if frame.empty and quiet:
        return
    if frame.empty:
        raise BenchError(f"No results in {Root(root).results}", "result files of `bench`", "Make some first: `bench run`.")
    found = (tables.quality if kind == "quality" else tables.cost)(frame, descriptions)
    for table in found:
        if form == "rich":
            print_table(table)
        else:
            print(forms.render(table, form))


def print_table(table: "Table") -> None:
    """One block a metric, a column a number of steps; metrics without steps share blocks as the width allows."""
    seeds = sorted({line.seeds_text for line in table.lines})
    shared = f", {seeds[0]} training seeds" if len(seeds) == 1 and seeds != ["1"] else ""
    out.print(f"\n[bold]{escape(table.title + shared)}[/bold]", soft_wrap=True)
    for head, columns in blocks(table, out.width):
        grid = RichTable(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        grid.add_column(escape(head), overflow="fold")  # a long name wraps; a number is never cut
        for i in columns:
            text = escape(table.columns[i].steps_text or table.columns[i].metric_text)
            grid.add_column(text, justify="right", no_wrap=True)
        for line in table.lines:
            name = f"{line.name}, {line.seeds_text} seeds" if len(seeds) > 1 else line.name
            texts = [f"[bold green]{escape(c.text)}[/bold green]" if c.best else escape(c.text) for c in line.cells]
            grid.add_row(f"  {escape(name)}", *(texts[i] for i in columns))
        out.print(grid)
    for failure in table.failures:
        out.print(escape(failure.text), style="red")
    if table.note:
        out.print(escape(table.note), style="dim")


def blocks(table: "Table", width: int) -> list[tuple[str, list[int]]]:
    """(head, columns) of each block of the table that fits the width."""
    found: list[tuple[str, list[int]]] = []
    names = max(len(line.name) for line in table.lines) + (16 if len({line.seeds_text for line in table.lines}) > 1 else 4)
    names = min(names, 34)  # longer ones wrap
    for i, column in enumerate(table.columns):
        head = column.metric_text if column.steps is not None else ""
        used = sum(cell_width(table, k) for k in found[-1][1]) if found else 0
        if found and found[-1][0] == head and max(names, len(head) + 2) + used + cell_width(table, i) <= width:
            found[-1][1].append(i)
        else:
            found.append((head, [i]))
    return found


def cell_width(table: "Table", i: int) -> int:
    column = table.columns[i]
    return 2 + max(len(column.steps_text or column.metric_text), *(len(line.cells[i].text) for line in table.lines))


def show_list(root: Path, what: str) -> None:
    import methods
    from bench import datasets, extractors
    from bench.dit import PATCHES, SIZES

    kinds = ("methods", "datasets", "nets", "extractors", "runs")
    if what not in (*kinds, "all"):
        raise unknown("list", what, (*kinds, "all"), "For example: bench list runs")
    for kind in kinds if what == "all" else (what,):
        if what == "all":
            out.print(f"[bold]{kind}[/bold]")
        if kind == "methods":
            lines = methods.names()
        elif kind == "datasets":
            lines = datasets.names()
        elif kind == "extractors":
            lines = extractors.names()
        elif kind == "nets":
            sizes = [f"{k}/p: {s.depth} blocks of width {s.width}, {s.heads} heads" for k, s in SIZES.items()]
            lines = [*sizes, f"patch p: {', '.join(map(str, PATCHES))}"]
        else:
            lines = [describe_run(run) for run in Root(root).run_directories()] or ["(none yet)"]
        for line in lines:
            out.print(f"  {escape(line)}" if what == "all" else escape(line), soft_wrap=True)


def describe_run(run: RunDirectory) -> str:
    try:
        status = run.read_status()
    except BenchError as error:
        return f"{run.name}  unreadable: {error.given}"
    share = f"{status['images'] / status['total']:.0%}" if status.get("total") else ""
    state = "stopped" if status["state"] == "running" and not run.in_use() else status["state"]  # it was killed
    return f"{run.name}  {state} {share} {status.get('reason', '')}".rstrip()
