"""Submitting and its outcome, as a person sees them."""

import collections
import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table as RichTable

from bench import cluster, cluster_submit
from bench.config import Suite
from bench.progress import err
from bench.show import out
from bench.store import Root

if TYPE_CHECKING:
    from bench.config import RunConfig

STYLES = {"running": "bold", "done": "green", "failed": "red", "lost": "red"}


def submit(suite: Suite, root: Path, launcher: str, *, dry_run: bool, again: bool) -> None:
    """Submit the grid, a line a run. What can be refused at the door is refused before anything is submitted."""
    from bench import console, try_compile

    try_compile.refuse(suite)
    configs = suite.runs()
    cluster_submit.check(suite.cluster, launcher)
    dataset = console.check(configs, suite, None)
    check_shares(configs, suite, dataset)
    if dry_run:
        for config in configs:
            out.print(f"would submit {config.name}", soft_wrap=True)
        return
    count = 0
    for outcome in cluster.submit(suite, Root(root), launcher, again=again):
        if outcome.state == "submitted":
            count += 1
            out.print(f"{escape(outcome.run)}: submitted as job {outcome.job}", soft_wrap=True)
        else:
            why = f" ({escape(outcome.reason)})" if outcome.reason else ""
            out.print(f"{escape(outcome.run)}: {outcome.state} already, job {outcome.job}{why}", soft_wrap=True)
    err.print(f"{count} of {len(configs)} submitted; `bench status` shows what becomes of them", soft_wrap=True)


def check_shares(configs: "list[RunConfig]", suite: Suite, dataset: Any) -> None:
    """Raises BenchError for a batch that the job's processes can not share, before it waits in a queue to find out."""
    from bench.shares import share_of
    from bench.step import load_method

    size = suite.cluster.nodes * suite.cluster.processes
    for config in configs:
        velocity_rows = load_method(config, dataset.num_classes).velocity_rows
        share_of(config.train.batch, velocity_rows, 0, size, suite.loop.settled_micro_batch)


def show_status(root: Path, *, as_json: bool) -> None:
    """A line a submission, and below them why and where to read more."""
    lines = cluster.survey(Root(root))
    if as_json:
        print(json.dumps([dataclasses.asdict(line) for line in lines], indent=1))
        return
    if not lines:
        out.print("Nothing was submitted here: bench run --launcher slurm", soft_wrap=True)
        return
    grid = RichTable(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    grid.add_column("run", overflow="fold")
    for head in ("state", "job", "trained"):
        grid.add_column(head, no_wrap=True, justify="right" if head == "trained" else "left")
    for line in lines:
        share = f"{line.images / line.total:.0%}" if line.total else ""
        grid.add_row(escape(line.run), line.state, escape(line.job), share, style=STYLES.get(line.state, ""))
    out.print(grid)
    counts = collections.Counter(line.state for line in lines)
    out.print(", ".join(f"{count} {state}" for state, count in counts.items()))
    for line in lines:
        if line.reason:
            out.print(f"{escape(line.run)}: {escape(line.reason)}", style="dim", soft_wrap=True)
        if line.state in ("failed", "lost", "stopped"):
            out.print(f"  {escape(line.log)}", style="dim", soft_wrap=True)
