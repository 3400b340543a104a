"""The verb `bench budget`. Parsing and printing only."""

from pathlib import Path
from typing import Annotated

import typer

from bench.guard import guarded
from bench.options import RootDir

app = typer.Typer()

HERE = Path()


@app.command(epilog="Example: bench budget --hours 10 --memory 40")
@guarded
def budget(
    hours: Annotated[float | None, typer.Option(help="Of training, times processes, on the device that trained.")] = None,
    memory: Annotated[float | None, typer.Option(help="GB (1e9 bytes) that training may take at most.")] = None,
    metric: Annotated[str, typer.Option(help="frechet_distance (or fid), kernel_distance, ...")] = "frechet_distance",
    steps: Annotated[int | None, typer.Option(help="Network evaluations an image. Default: the best for each method.")] = None,
    root: RootDir = HERE,
) -> None:
    """Say which method is best within a budget, from the results that are there; `loop.snapshots` gives more to choose from."""
    from bench import console_budget

    console_budget.show_budget(root, hours=hours, memory=memory, metric=metric, steps=steps)
