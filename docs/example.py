"""Write docs/example: the small files of a root with real runs, and the site of them.

    python docs/example.py ROOT     # takes the runs of ROOT
    python docs/example.py          # the site again, from the files that are there

Weights and states stay behind: a report does not need them. Of commands as they were typed, whole paths are shortened to
their last part: the example is public, and the machine is not.
"""

import json
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from bench.console_speed import as_typed
from bench.rows import METADATA_KEY
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
        provenance = there / run.provenance.name
        provenance.write_text(json.dumps(public(json.loads(provenance.read_text())), indent=1) + "\n")
    for file in Root(HERE).results.glob("*.parquet"):
        table = pq.read_table(file)
        described = json.dumps(public(json.loads(table.schema.metadata[METADATA_KEY])))
        pq.write_table(table.replace_schema_metadata({METADATA_KEY: described}), file)


def public(value: Any) -> Any:
    """A description with its commands as others may read them."""
    if isinstance(value, dict):
        typed = {key: as_typed(shlex.split(text)[1:]) for key, text in value.items() if key == "started_by" and text}
        return {key: public(item) for key, item in value.items()} | typed
    return [public(item) for item in value] if isinstance(value, list) else value


if __name__ == "__main__":
    if len(sys.argv) > 1:
        take(Root(Path(sys.argv[1])))
    render(Root(HERE), HERE / "site")
    files = [file for file in HERE.rglob("*") if file.is_file()]
    print(f"{HERE.name}: {len(files)} files, {sum(file.stat().st_size for file in files) / 1e6:.1f} MB")
