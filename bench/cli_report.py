"""The verb `bench report`. Parsing and printing only."""

from pathlib import Path
from typing import Annotated

import typer

from bench.guard import guarded
from bench.options import RootDir

app = typer.Typer()

HERE = Path()


@app.command(epilog="Example: bench report machine-a machine-b --out site --open")
@guarded
def report(
    folders: Annotated[
        list[Path] | None, typer.Argument(help="Result folders, shown together. Default: --root.", metavar="FOLDERS")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the site. Default: site/ in the root.")] = None,
    root: RootDir = HERE,
    force: Annotated[bool, typer.Option("--force", help="Write also into a folder that holds other files.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Stay, and render again when results or logs change.")] = False,
    interval: Annotated[float | None, typer.Option(min=0.1, help="With --watch: seconds between looks. Default: 2.")] = None,
    open_: Annotated[bool, typer.Option("--open", help="Open the first page in your browser.")] = False,
    serve: Annotated[bool, typer.Option("--serve", help="Stay, and serve the site to this machine alone.")] = False,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="With --serve. 0: any that is free. Default: 8000.")
    ] = None,
    pdf: Annotated[
        Path | None,
        typer.Option(
            help="Also print to this file, by a browser that is here: all pages but those of single runs, of two runs, "
            "and of whole tables that the leaderboard shows a part of."
        ),
    ] = None,
) -> None:
    """Write the comparison as a site that needs no network: open its index.html, or put it on any static server."""
    from bench import console_report
    from bench.store import Root

    wanted = console_report.Wanted(
        folders=tuple(folders or [root]), site=out or Root(root).site, force=force, watch=watch, interval=interval,
        open=open_, serve=serve, port=port, pdf=pdf,
    )  # fmt: skip
    console_report.make_report(wanted)
