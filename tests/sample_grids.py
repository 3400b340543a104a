"""Sample grids whose every cell has a colour of its own: red tells the noise, green the run, blue the number of steps."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from bench import rows, sample
from bench.store import Root
from reports.site import pages
from reports.site.content import gather
from reports.site.folder import SiteFolder
from result_rows import row, save

COLUMNS, ROWS = 3, 2
LABELS = (0, 1, 2, 0, 1, 2)
METHODS = ("flow_matching", "meanflow", "soflow")  # in the order of the page


def colour(noise: int, run: int, steps: int) -> tuple[int, int, int]:
    return 40 * noise + 20, 70 * run + 40, 50 * steps


def grid(run: int, steps: int, *, columns: int = COLUMNS, labels: Sequence[int] = LABELS, **about: Any) -> bytes:
    """As `bench` writes them, 8 x 8 pixels a sample, enlarged to 32 x 32."""
    colours = [colour(noise, run, steps) for noise in range(len(labels))]
    images = torch.tensor(colours, dtype=torch.uint8)[:, :, None, None].expand(-1, 3, 8, 8)
    facts = {"seed": 0, "shape": [3, 8, 8], "steps": steps, "labels": list(labels)} | about
    return sample.grid(images, columns, about=facts)


def grid_file(root: Root, method: str, steps: int) -> Path:
    return root.run(row(method).run).samples / f"steps-{steps}.png"


def write_run(root: Root, method: str, grids: dict[int, bytes], *, snapshot: bool = True) -> list[rows.Row]:
    """A finished run with these grids, and its rows: one a number of steps."""
    run = root.run(row(method).run)
    run.path.mkdir(parents=True)
    run.write_status("finished", images=2)
    run.samples.mkdir()
    for steps, data in grids.items():
        grid_file(root, method, steps).write_bytes(data)
    if snapshot:
        run.snapshots.mkdir()
        run.snapshot(2).write_bytes(b"")
    return [row(method, steps=steps, value=float(steps + len(method))) for steps in grids]


def three_runs(root: Root) -> list[rows.Row]:
    """Flow matching in 4 steps too, the others in 1 and 2."""
    counts = {"flow_matching": (1, 2, 4), "meanflow": (1, 2), "soflow": (1, 2)}
    return [
        found
        for i, method in enumerate(METHODS)
        for found in write_run(root, method, {steps: grid(i, steps) for steps in counts[method]})
    ]


def samples_site(root: Root, given: Sequence[rows.Row], out: Path) -> Path:
    """The site's samples page with what it needs, without the other pages: they draw charts, which takes seconds."""
    save(root, list(given))
    folder, content = SiteFolder(out), gather(root)
    pages.assets(content, folder)
    pages.samples(content, folder)
    folder.publish()
    return out / "samples.html"
