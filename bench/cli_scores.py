"""The verbs about scores: explain, and those for images, statistics and weights that others made. Parsing and printing only."""

from pathlib import Path
from typing import Annotated

import typer

from bench.guard import guarded
from bench.options import Config, Device, RootDir, Set

app = typer.Typer()

HERE = Path()


@app.command(epilog="Example: bench explain 1a2b3c4d 5e6f7a8b")
@guarded
def explain(
    first: Annotated[str, typer.Argument(metavar="ROW", help="An id of `bench list rows`, or RUN:METRIC:STEPS:SEED.")],
    second: Annotated[str, typer.Argument(metavar="ROW", help="The row to compare it with.")],
    measure: Annotated[bool, typer.Option(help="Score the first row's snapshot under the second's conditions.")] = True,
    device: Device = None, settings: Set = None, config: Config = None, root: RootDir = HERE,
) -> None:  # fmt: skip
    """Say why two values differ: what is not equal, and what of the difference each cheap condition makes."""
    from bench import config as configuration
    from bench import console_scores

    suite = configuration.load(config, {"loop": {"device": device}}, tuple(settings or ()))
    console_scores.show_explanation(root, first, second, suite if measure else None)


@app.command(epilog="Example: bench fetch inception")
@guarded
def fetch(
    names: Annotated[list[str] | None, typer.Argument(metavar="WEIGHTS", help="Which; without any, all are listed.")] = None,
    to: Annotated[Path | None, typer.Option(help="Folder. Default: the suite's, in your cache folder.")] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Never touch the network: only look.")] = False,
) -> None:
    """Download the weights that extractors need, checked by size and sha256; a download that was cut goes on."""
    from bench import console_scores

    console_scores.fetch(names or [], to, offline=offline)
