"""What `bench budget` prints: one table a data set, network, protocol and device, what does not fit, and how sure it is."""

from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table as RichTable

from bench.show import out
from bench.store import Root

if TYPE_CHECKING:
    from reports.budget import Answer, Choice


def show_budget(root: Path, *, hours: float | None, memory: float | None, metric: str, steps: int | None) -> None:
    """Raises BenchError for mistakes, and where no row has what is needed."""
    from bench.rows import read
    from reports.budget import best

    frame, descriptions = read(Root(root).results)
    for answer in best(frame, descriptions, hours=hours, memory=memory, metric=metric, steps=steps):
        print_answer(answer, steps)


def print_answer(answer: "Answer", steps: int | None) -> None:
    out.print(f"\n[bold]{escape(answer.title)}[/bold]", soft_wrap=True)
    if answer.fitting:
        grid = RichTable(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        grid.add_column("", overflow="fold")
        for head in answer.heads:
            grid.add_column(escape(head), justify="right", no_wrap=head != answer.heads[0])
        for choice in answer.fitting:
            style = "bold green" if choice.best else "green" if choice.level else ""
            score, *others = map(escape, choice.texts)
            grid.add_row(f"  {escape(choice.line)}", f"[{style}]{score}[/{style}]" if style else score, *others)
        out.print(grid)
    for choice in answer.choices:
        if not choice.point:
            out.print(f"  {escape(choice.line)}: {escape(choice.reason)}", soft_wrap=True)
    out.print(escape(f"{answer.verdict} {remarks(answer, steps)}"), style="dim")
    for command in commands(answer.choices):
        out.print(escape(f"for what is missing: {command}"), style="dim", soft_wrap=True)


def remarks(answer: "Answer", steps: int | None) -> str:
    """What the columns mean."""
    found = [f"Protocol {answer.panel.protocol}.", "Each at its last snapshot within the budget, all its training seeds."]
    if steps is None and len(answer.panel.columns) > 1:
        found.append("Steps: those best for each.")
    found.append(f"{answer.panel.unit}: training time × processes. GB: peak memory of training in one process, 1e9 bytes.")
    return " ".join(found)


def commands(choices: "tuple[Choice, ...]") -> list[str]:
    """Each once."""
    return list(dict.fromkeys(choice.command for choice in choices if choice.command))
