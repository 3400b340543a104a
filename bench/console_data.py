"""The verbs about data on disk, as a person sees them."""

import dataclasses
import functools
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table as RichTable

from bench.errors import EXIT_FAILED, unknown
from bench.guard import typed
from bench.progress import board
from bench.show import out

if TYPE_CHECKING:
    from bench.latent_checks import Looking, Reconstruction
    from bench.prepare import Ways

PREPARED = ("imagenet",)
FETCHED = ("cifar10",)


def prepare(what: str, source: Path, folder: Path, ways: "Ways") -> None:
    """Make the latents; print where they are."""
    from bench import dist
    from bench.prepare import prepare as make

    if what not in PREPARED:
        raise unknown("data to prepare", what, PREPARED, "Any tree with one folder a class is prepared as imagenet.")
    with board() as progress:
        try:
            ways = dataclasses.replace(ways, device=str(dist.start(ways.device)))
            first = dist.rank() == 0
            say, watch = (progress.say, progress.watch) if first else (lambda _: None, lambda *_: None)
            manifest = make(source, folder, ways, say=say, watch=watch, command=typed())
        finally:
            dist.stop()
        if first:
            out.print(escape(f"{folder}: {manifest.count:,} images, digest {manifest.digest[:12]}..."), soft_wrap=True)


def verify(folder: Path) -> int:
    """Print what is right and wrong; the exit code."""
    from bench import latent_checks

    found = latent_checks.verify(folder)
    return _report(folder, found.checked, found.faults)


def check(folder: Path, looking: "Looking") -> int:
    """Print the reconstruction; the exit code."""
    from bench import latent_checks

    found = latent_checks.check(folder, looking)
    show(found)
    return _report(folder, (), found.faults)


def show(found: "Reconstruction") -> None:
    grid = RichTable(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for head in (f"{found.images} images", "encoded and decoded now", "decoded as stored"):
        grid.add_column(head, overflow="fold")
    grid.add_row("PSNR (dB)", f"{found.psnr:.2f}", f"{found.psnr_stored:.2f}")
    distance = f"Fréchet distance ({found.extractor})"
    grid.add_row(distance, f"{found.distance:.4g}", f"{found.distance_stored:.4g}")
    grid.add_row("difference of the two", "", f"{found.drift:.3%} of the spread")
    grid.add_row("spread of scaled latents", "", f"{found.spread:.3f}")
    out.print(grid)


def _report(folder: Path, checked: tuple[str, ...], faults: tuple[str, ...]) -> int:
    out.print(f"[bold]{escape(str(folder))}[/bold]: {'wrong' if faults else 'right'}", soft_wrap=True)
    for style, lines in (("red", faults), ("", checked)):
        for line in lines:
            out.print(f"  {escape(line)}", style=style, soft_wrap=True)
    return EXIT_FAILED if faults else 0


def fetch(what: str, folder: Path | None) -> None:
    """Download a data set; print where it is."""
    import bench.datasets.cifar10 as cifar10

    if what not in FETCHED:
        raise unknown("data set to fetch", what, FETCHED, "Others come as folders: see bench.toml, [datasets].")
    with board() as progress:
        found = cifar10.fetch(folder or cifar10.default_folder(), watch=functools.partial(progress.watch_bytes, what))
    out.print(escape(str(found)), soft_wrap=True)
