"""One result folder, read once, whatever is in it: what can be used of each run, and what had to be left out, with the reason.

    found, left_out = read_folder(Root(Path("a")), "a")

Never raises for what lies in the folder. Links that lead out of results/ or runs/ are not followed; those two themselves are.
"""

import dataclasses
import math
import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pyarrow import Table

from bench import rows as result_rows
from bench.errors import BenchError
from bench.rows import REMEDY, Row
from bench.store import Root, RunDirectory, read_json
from reports.lines import grouped, record
from reports.site.described import sound

NEEDED = (  # without one of these a row says nothing
    "run", "method", "dataset", "net", "epochs", "images", "metric", "protocol", "precision", "attention", "device",
    "started_at", "seconds", "train_seed", "world_size", "status",
)  # fmt: skip
LOGGED = ("images", "epoch", "loss", "mse", "grad_norm")  # numbers where they are, NaN too
LARGEST = 1e150  # of a value: the squares of larger ones are no numbers
PAUSE = 0.1  # seconds before a file that could not be read is read once more: somebody may be copying it
FOLLOW = "Links that lead out of the folder are not followed; put a copy there."


@dataclass(frozen=True)
class LeftOut:
    folder: str  # its name on the page
    what: str  # "results/run.parquet", "3 rows of results/run.parquet"
    reason: str
    remedy: str

    @property
    def text(self) -> str:
        return f"{self.folder}: {self.what} {self.reason}. {self.remedy}"


@dataclass(frozen=True)
class Source:
    """What one folder knows of one run."""

    folder: str
    file: str  # "run.parquet"; "" where there are no results, only a run directory
    run: str
    rows: tuple[Row, ...]
    description: Mapping[str, Any]  # of the file, else of the run directory
    directory: RunDirectory | None = None
    log: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)  # lines of its training log


def read_folder(root: Root, name: str) -> tuple[list[Source], list[LeftOut]]:
    """The runs of a folder, by name and file. `name`: what the page calls it."""
    left_out: list[LeftOut] = []
    sources: list[Source] = []
    for path in _listed(root.results, name, left_out):
        if path.suffix == ".parquet":
            sources += _sources_of(path, root, name, left_out)
    directories = _directories(root, name, left_out)
    for i, source in enumerate(sources):
        if source.run in directories:
            directory, description, log = directories.pop(source.run)
            sources[i] = dataclasses.replace(
                source, directory=directory, log=log, description=source.description or description
            )
    for run, (directory, description, log) in directories.items():
        sources.append(Source(name, "", run, (), description, directory, log))
    return sorted(sources, key=lambda source: (source.run, source.file)), left_out


def _listed(folder: Path, name: str, left_out: list[LeftOut]) -> list[Path]:
    try:
        return [folder / entry for entry in sorted(os.listdir(folder)) if not entry.startswith(".")]
    except FileNotFoundError:
        return []
    except OSError as error:
        left_out.append(LeftOut(name, f"{folder.name}/", f"can not be read ({error.strerror})", "Make it a readable folder."))
        return []


def inside(path: Path, place: Path) -> bool:
    """Whether what `path` leads to lies in `place`, links followed."""
    try:
        return path.resolve().is_relative_to(place.resolve())
    except (OSError, RuntimeError):  # a circle of links
        return False


# Result files


def _sources_of(path: Path, root: Root, name: str, left_out: list[LeftOut]) -> Iterator[Source]:
    """The runs of one result file: one, as this suite writes them."""
    what = f"results/{path.name}"
    try:
        table, description = _read_twice(path, root.results, what)
    except BenchError as error:
        left_out.append(LeftOut(name, what, error.given.removeprefix(what).strip(), error.remedy))
        return
    description = _described(description, name, what, left_out)
    rows = list(_usable(table, name, what, left_out))
    by_run = {run: of_run for (run,), of_run in grouped(rows, ["run"]).items()}
    own = description.get("run")  # whose description it is
    if not (isinstance(own, str) and (own in by_run or not by_run)):
        own = next(iter(by_run)) if len(by_run) == 1 else path.stem
    for run in dict.fromkeys([own, *by_run]):
        yield Source(name, path.name, run, tuple(by_run.get(run, ())), description if run == own else {})


def _read_twice(path: Path, place: Path, what: str) -> tuple[Table, dict[str, Any]]:
    """Whole, from memory; once more where it could not be read or changed meanwhile. Raises BenchError."""
    try:
        return _read(path, place, what)
    except BenchError:
        time.sleep(PAUSE)
        return _read(path, place, what)


def _read(path: Path, place: Path, what: str) -> tuple[Table, dict[str, Any]]:
    if not inside(path, place):
        raise BenchError(f"{what} leads out of the folder", "files of the folder", FOLLOW)
    try:
        if not path.is_file() and path.exists():
            raise BenchError(f"{what} is no file", "result files of `bench`", REMEDY)
        before = path.stat()
        data = path.read_bytes()
        after = path.stat()
    except FileNotFoundError as error:
        given = f"{what} vanished while the folder was read"
        raise BenchError(given, "files that stay", "Make the report again when the folder is at rest.") from error
    except OSError as error:
        raise BenchError(f"{what} can not be read ({error.strerror})", "readable files", REMEDY) from error
    if (before.st_mtime_ns, before.st_size) != (after.st_mtime_ns, after.st_size):
        given = f"{what} changed while it was read"
        raise BenchError(given, "files that stay", "Make the report again when the folder is at rest.")
    return result_rows.read_bytes(data, what)


def _described(description: Mapping[str, Any], name: str, what: str, left_out: list[LeftOut]) -> dict[str, Any]:
    """What can be used of a description; the rest is named."""
    kept, dropped = sound(description)
    if dropped:
        parts = f"{', '.join(dropped)} in the description of {what}"
        remedy = "The rest is shown; the same `bench run` describes that run again."
        left_out.append(LeftOut(name, parts, "can not be read: of another kind than this suite writes", remedy))
    return kept


def _usable(table: Table, name: str, what: str, left_out: list[LeftOut]) -> Iterator[Row]:
    """The rows that say what they measured. Spreads that are no numbers are left out of theirs."""
    gaps: Counter[str] = Counter()
    lost = odd = 0
    for fields in table.to_pylist():
        lacking = [column for column in NEEDED if fields[column] is None]
        if not lacking and not _calculable(fields["epochs"]):
            lacking = ["epochs"]
        gaps.update(lacking)
        if lacking:
            lost += 1
            continue
        row = _of_size(record(fields))
        if all(map(_calculable, (*row.replicates, row.standard_error or 0.0))):
            yield row
        else:
            odd += 1
            yield dataclasses.replace(row, standard_error=None, replicates=(), resampling="")
    if lost:
        left_out.append(LeftOut(name, f"{lost} of {len(table)} rows of {what}", f"lack a value in {', '.join(gaps)}", REMEDY))
    if odd:
        spreads = f"the spreads of {odd} of {len(table)} rows of {what}"
        left_out.append(LeftOut(name, spreads, "are not finite", "Their values are shown without; measure them `--again`."))


def _calculable(value: float) -> bool:
    return math.isfinite(value) and abs(value) <= LARGEST


def _of_size(row: Row) -> Row:
    """A value that nothing can be calculated with is none, as one that is not finite."""
    if row.value is None or _calculable(row.value):
        return row
    if row.status != "ok":
        return dataclasses.replace(row, value=None)
    return dataclasses.replace(row, value=None, status="failed", reason=f"the value is {row.value:g}, beyond {LARGEST:g}")


# Run directories

Directory = tuple[RunDirectory, Mapping[str, Any], tuple[Mapping[str, Any], ...]]  # with its description and training log


def _directories(root: Root, name: str, left_out: list[LeftOut]) -> dict[str, Directory]:
    found: dict[str, Directory] = {}
    for path in _listed(root.runs, name, left_out):
        directory = RunDirectory(path)
        what = f"runs/{path.name}"
        if not os.path.lexists(directory.status):
            continue
        if not all(inside(part, root.runs) for part in _parts(directory) if part.is_symlink()):
            left_out.append(LeftOut(name, what, "leads out of the folder", FOLLOW))
            continue
        try:
            directory.read_status()
            description = _described(read_json(directory.provenance), name, f"{what}/{directory.provenance.name}", left_out)
        except BenchError as error:
            reason = error.given.replace(str(path), what).removeprefix(what)
            left_out.append(LeftOut(name, what, f"is not shown: {reason.strip(' /')}", _there(error, path, what)))
            continue
        found[path.name] = (directory, description, _log(directory, name, left_out))
    return found


def _parts(directory: RunDirectory) -> list[Path]:
    """All that the report reads of a run directory."""
    samples = directory.samples
    try:
        pictures = [samples / entry for entry in os.listdir(samples)]
    except OSError:
        pictures = []
    return [directory.path, directory.status, directory.provenance, directory.train_log, samples, *pictures]


def _log(directory: RunDirectory, name: str, left_out: list[LeftOut]) -> tuple[Mapping[str, Any], ...]:
    what = f"runs/{directory.name}/{directory.train_log.name}"
    try:
        found = directory.read_train_log()
        if all(isinstance(line["images"], int) and all(_number(line.get(key)) for key in LOGGED) for line in found):
            return tuple(found)
        reason, remedy = "has values that are no numbers", "Mend it, or move it elsewhere."
    except BenchError as error:
        reason = error.given.replace(str(directory.train_log), "").strip()
        remedy = _there(error, directory.path, f"runs/{directory.name}")
    except (OSError, RecursionError) as error:
        reason, remedy = f"can not be read ({getattr(error, 'strerror', error)})", "Make it readable."
    left_out.append(LeftOut(name, what, reason, remedy))
    return ()


def _number(value: Any) -> bool:
    """Nothing, or a number that a chart can take: no whole one of hundreds of digits."""
    try:
        return value is None or (isinstance(value, (int, float)) and isinstance(float(value), float))
    except OverflowError:
        return False


def _there(error: BenchError, path: Path, what: str) -> str:
    """The remedy, without where the folder lies on this machine."""
    return error.remedy.replace(str(path), what)
