"""What a report is made from, as it lies on the disk: two looks at it differ when there is something new to show.

    before = state_of(roots)
    if state_of(roots) != before: render again

Sizes and times of last changes only: nothing is opened, and what vanishes meanwhile is just not there.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.store import Root, RunDirectory

State = dict[str, tuple[int, int]]  # by path: when it was last changed (ns), and its size (bytes)


def state_of(roots: Sequence[Root]) -> State:
    found: State = {}
    for root in roots:
        for path in _files(root):
            try:
                status = path.stat()
            except (OSError, ValueError):
                continue
            found[str(path)] = (status.st_mtime_ns, status.st_size)
    return found


def _files(root: Root) -> Iterator[Path]:
    """Whether they are there or not."""
    yield from _in(root.results, ".parquet")
    for folder in _in(root.speed):
        yield from _in(folder, ".parquet")
    for path in _in(root.runs):
        run = RunDirectory(path)
        yield from (run.status, run.provenance, run.train_log)
        yield from _in(run.samples)


def _in(folder: Path, ending: str = "") -> list[Path]:
    try:
        return [folder / name for name in sorted(os.listdir(folder)) if name.endswith(ending) and not name.startswith(".")]
    except OSError:
        return []
