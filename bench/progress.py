"""Progress on a person's terminal: a bar a stage with rate and time left; elsewhere, plain lines."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

err = Console(stderr=True, highlight=False)


class Board:
    """A bar for the stage at work, on a terminal; at its end, there and elsewhere, a line."""

    def __init__(self, progress: Progress | None) -> None:
        self.progress = progress
        self.task: TaskID | None = None
        self.stage, self.first, self.started = "", 0, 0.0

    def watch(self, stage: str, done: int, total: int) -> None:
        """`done` of `total` images; the stage's first call starts its clock."""
        if stage != self.stage:
            self.close()
            self.stage, self.first, self.started = stage, done, time.monotonic()
            if self.progress:
                self.task = self.progress.add_task(stage, total=total, rate="")
        spent = time.monotonic() - self.started
        rate = f"{(done - self.first) / spent:,.0f} images/s" if spent > 0.5 else ""
        if self.progress and self.task is not None:
            self.progress.update(self.task, completed=done, rate=rate)
        if done >= total:
            err.print(f"  {stage}: {total:,} images in {duration(spent)}{f', {rate}' if rate else ''}", soft_wrap=True)
            self.close()

    def watch_bytes(self, stage: str, done: int, total: int) -> None:
        """The same for a download."""
        if self.progress and self.task is None:
            self.task = self.progress.add_task(stage, total=total, rate="")
        if self.progress and self.task is not None:
            self.progress.update(self.task, completed=done, total=total, rate=f"{done / 1e6:,.0f} of {total / 1e6:,.0f} MB")

    def close(self) -> None:
        if self.progress and self.task is not None:
            self.progress.remove_task(self.task)
        self.task, self.stage = None, ""

    def say(self, line: str) -> None:
        err.print(f"  {escape(line)}", soft_wrap=True)


@contextmanager
def board() -> Iterator[Board]:
    if not err.is_terminal:
        yield Board(None)
        return
    columns = (
        TextColumn("  {task.description}"),
        BarColumn(bar_width=20),
        TextColumn("{task.percentage:>3.0f}% {task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err, transient=True) as progress:
        yield Board(progress)


def duration(seconds: float) -> str:
    """ "42 s", "5 min 10 s", "3 h 20 min"."""
    s = round(seconds)
    if s < 60:
        return f"{s} s"
    if s < 3600:
        return f"{s // 60} min {s % 60} s"
    return f"{s // 3600} h {s % 3600 // 60} min"
