"""The cluster on the command line: `bench run --launcher`, `bench status`. Parsing and printing only."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.errors import BenchError
from bench.guard import guarded
from bench.options import RootDir

if TYPE_CHECKING:
    from bench.config import Suite

app = typer.Typer()

HERE = Path()

Launcher = Annotated[
    str | None, typer.Option(help="slurm, or local: one job a run, in the background. `bench status` shows them.")
]


def submit(
    suite: "Suite", root: Path, launcher: str, *, gpus: int | None, dry_run: bool, again: bool, expect: str | None
) -> None:
    """`bench run --launcher`. Raises BenchError for flags that a job has to have from elsewhere."""
    from bench import console_cluster

    for flag, remedy in (
        (gpus and f"--gpus {gpus}", "Use --set cluster.gpus_per_node=N."),
        (expect and "--expect", "Leave it out."),
    ):
        if flag:
            raise BenchError(f"{flag} with --launcher {launcher}", "one of the two", remedy)
    console_cluster.submit(suite, root, launcher, dry_run=dry_run, again=again)


@app.command(epilog="Example: bench status --json")
@guarded
def status(
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of a table.")] = False, root: RootDir = HERE
) -> None:
    """Show the runs that were submitted with --launcher: queued, running, done, failed, stopped, lost."""
    from bench import console_cluster

    console_cluster.show_status(root, as_json=as_json)
