"""Write docs/example: the small files of a root with real runs, and the site of them.

    python docs/example.py ROOT     # takes the runs of ROOT
    python docs/example.py          # the site again, from the files that are there

Weights and states stay behind: a report does not need them.
"""

import shutil
import sys
from pathlib import Path

from bench.store import Root
from reports.render import render

HERE = Path(__file__).resolve().parent / "example"


def take(given: Root) -> None:
    """The files of a root that its report is made of."""
    shutil.rmtree(HERE, ignore_errors=True)
    for folder in (given.results, given.speed):
        if folder.is_dir():
            shutil.copytree(folder, HERE / folder.name, ignore=shutil.ignore_patterns("*.md"))
    for run in given.run_directories():
        there = HERE / "runs" / run.name
        there.mkdir(parents=True)
        for file in (run.config, run.provenance, run.status, run.train_log):
            shutil.copy(file, there)
        shutil.copytree(run.samples, there / "samples")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        take(Root(Path(sys.argv[1])))
    render(Root(HERE), HERE / "site")
    files = [file for file in HERE.rglob("*") if file.is_file()]
    print(f"{HERE.name}: {len(files)} files, {sum(file.stat().st_size for file in files) / 1e6:.1f} MB")
