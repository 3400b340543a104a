"""What the reading verbs print: result tables and lists."""

from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

from bench.errors import BenchError, unknown
from bench.store import Root, RunDirectory

if TYPE_CHECKING:
    import pandas as pd

    from bench.rows import Row
    from reports.lines import Descriptions
    from reports.sheets import Sheet
    from reports.table import Cell, Line, Table

out = Console(highlight=False)


KINDS = ("quality", "cost", "published")
FORMS = ("rich", "markdown", "csv", "latex", "json")


def show_tables(root: Path, kind: str, form: str, runs: list[str] | None = None, quiet: bool = False) -> None:
    """Print the tables of these runs; `quiet` says nothing where there are no results, else that is an error."""
    from bench.rows import read
    from reports import forms, tables

    if kind not in KINDS:
        raise unknown("table", kind, KINDS, "For example: bench table cost")
    if form not in FORMS:
        raise unknown("format", form, FORMS, "For example: bench table --format markdown")
    frame, descriptions = read(Root(root).results)
    if runs is not None:
        frame = frame[frame["run"].isin(runs)]
    if kind == "published":
        show_published(frame, descriptions, form)
        return
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
    out.print(f"\n[bold]{escape(table.title + seeds_text(table))}[/bold]", soft_wrap=True)
    for head, columns in blocks(table, out.width):
        grid = RichTable(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        grid.add_column(escape(head), overflow="fold")  # a long name wraps; a number is never cut
        for i in columns:
            text = escape(table.columns[i].steps_text or table.columns[i].metric_text)
            grid.add_column(text, justify="right", no_wrap=True)
        for line in table.lines:
            cells = [line.cells[i] for i in columns]
            grid.add_row(f"  {escape(line_name(table, line))}", *map(cell_markup, cells))
            for name in dict.fromkeys(cell.aside_name for cell in cells if cell.aside):  # a line of its own: it is no ±
                grid.add_row(f"    {name}", *(c.aside if c.aside_name == name else "" for c in cells), style="dim")
        out.print(grid)
    for failure in table.failures:
        out.print(escape(failure.text), style="red")
    if table.note:
        out.print(escape(table.note), style="dim")


def seeds_text(table: "Table") -> str:
    """How many training and sampling seeds, where all lines have as many."""
    found = [text for text in table.shared_seeds if table.sampled or text != "1 training seed"]
    return "".join(f", {text}" for text in found)


def line_name(table: "Table", line: "Line") -> str:
    return f"{line.name}, {line.seeds_text} seeds" if len({other.seeds_text for other in table.lines}) > 1 else line.name


def cell_text(cell: "Cell") -> str:
    return f"≈ {cell.text}" if cell.level else cell.text


def cell_markup(cell: "Cell") -> str:
    """Green: the best of its column and all that is not distinguishable from it; bold: the best."""
    style = "bold green" if cell.best else "green" if cell.level else ""
    return f"[{style}]{escape(cell_text(cell))}[/{style}]" if style else escape(cell_text(cell))


def show_published(frame: "pd.DataFrame", descriptions: "Descriptions", form: str) -> None:
    """What papers report, beside our results; without results it stands alone."""
    from reports import sheets, tables

    measured = [*tables.quality(frame, descriptions), *tables.cost(frame, descriptions)]
    found = sheets.sheets(measured, descriptions)
    if form != "rich":
        print(sheets.render(found, form), end="")
    for sheet in found if form == "rich" else []:
        print_sheet(sheet)


def print_sheet(sheet: "Sheet") -> None:
    """The figures; below them in whole lines what differs, what the marks mean, and the commands that would make ours."""
    from reports.sheets import HEADS, texts

    heads = HEADS[: 5 if sheet.measured else 4]  # without a value of ours there is no difference to show
    grid = RichTable(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for head in heads:
        number = head in ("claimed", "ours", "difference")
        grid.add_column(head, justify="right" if number else "left", no_wrap=number, overflow="fold")
    for pairing in sheet.pairings:
        grid.add_row(*map(escape, texts(pairing)[: len(heads)]))
    out.print(f"\n[bold]{escape(sheet.title)}[/bold]", soft_wrap=True)
    out.print(grid)
    for line in (*sheet.remarks, *sheet.notes, *(f"for ours: {command}" for command in sheet.commands)):
        out.print(escape(line), style="dim", soft_wrap=True)


def blocks(table: "Table", width: int) -> list[tuple[str, list[int]]]:
    """(head, columns) of each block of the table that fits the width."""
    found: list[tuple[str, list[int]]] = []
    asides = [len(cell.aside_name) + 4 for line in table.lines for cell in line.cells]
    names = max(*(len(line_name(table, line)) + 4 for line in table.lines), *asides)
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
    return 2 + max(len(column.steps_text or column.metric_text), *(len(cell_text(line.cells[i])) for line in table.lines))


def show_list(root: Path, what: str) -> None:
    from bench.nets import PATCHES, SIZES
    from bench.options import files_of

    kinds = ("methods", "datasets", "nets", "extractors", "runs")
    if what not in (*kinds, "rows", "all"):
        raise unknown("list", what, (*kinds, "rows", "all"), "For example: bench list runs")
    for kind in kinds if what == "all" else (what,):
        if what == "all":
            out.print(f"[bold]{kind}[/bold]")
        if kind == "methods":
            lines = files_of("methods")
        elif kind == "datasets":
            lines = files_of("bench/datasets")
        elif kind == "extractors":
            lines = files_of("bench/extractors")
        elif kind == "nets":
            sizes = [f"{k}/p: {s.depth} blocks of width {s.width}, {s.heads} heads" for k, s in SIZES.items()]
            lines = [*sizes, f"patch p: {', '.join(map(str, PATCHES))}"]
        elif kind == "rows":  # too many to be among "all"
            lines = describe_rows(root)
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


def describe_rows(root: Path) -> list[str]:
    """Every measurement with its id, for `bench explain`."""
    from bench.rows import read
    from reports.lines import records

    frame, _ = read(Root(root).results)
    found = records(frame)
    last: dict[str, int] = {}
    for row in found:
        last[row.run] = max(row.images, last.get(row.run, 0))
    return [describe_row(row, last[row.run]) for row in found] or ["(none yet)"]


def describe_row(row: "Row", last: int | None = None) -> str:
    """Id, run, metric, steps, sampling seed, images seen unless they are the run's `last`, value or why none, protocol."""
    from bench.rows import row_id

    value = f"{row.value:.6g}{f' {row.unit}' if row.unit else ''}" if row.value is not None else f"{row.status}, {row.reason}"
    at = f" at {row.steps} step{'s' * (row.steps > 1)}" if row.steps else ""
    seed = f", sampling seed {row.sample_seed}" if row.sample_seed is not None else ""
    after = f" after {row.images:,} images" if row.images != last else ""
    return f"{row_id(row)}  {row.run}: {row.metric}{at}{seed}{after}: {value}  [{row.protocol}]"
