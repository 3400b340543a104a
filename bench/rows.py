"""The result rows: one measurement a row, one parquet file a run, so that merging results is copying files.

    write(root.result_file(run), rows, description)
    frame = read(root.results)          # pandas, columns as in SCHEMA

Imports no torch.
"""

import functools
import hashlib
import io
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from bench.errors import BenchError
from bench.store import write_atomic

VERSION = 2  # of the schema; 1 lacked the columns of UNCERTAINTY and is read with nothing in them
METADATA_KEY = b"bench"
REMEDY = "Move it elsewhere; the same `bench run` measures that run again."

SCHEMA = pa.schema(
    [
        ("run", pa.string()),  # name of the run directory
        ("method", pa.string()),
        ("dataset", pa.string()),
        ("net", pa.string()),  # "T/2"
        ("epochs", pa.float64()),
        ("images", pa.int64()),  # images seen in training
        ("steps", pa.int64()),  # network evaluations an image (NFE); null where it does not apply
        ("metric", pa.string()),
        ("value", pa.float64()),  # null unless status is ok
        ("standard_error", pa.float64()),  # of the value, from this one set of samples; null where it is not known
        ("resampling", pa.string()),  # where that error comes from: jackknife | blocks | ""
        ("replicates", pa.list_(pa.float64())),  # the values with a group of images left out, or of each block; else empty
        ("unit", pa.string()),  # "" for a pure number
        ("better", pa.string()),  # min | max | "" (neither)
        ("n", pa.int64()),  # images, or timed rounds, behind the value
        ("train_seed", pa.int64()),
        ("sample_seed", pa.int64()),  # null where nothing was sampled
        ("protocol", pa.string()),  # values under different protocols are never compared
        ("precision", pa.string()),
        ("attention", pa.string()),
        ("device", pa.string()),
        ("world_size", pa.int64()),
        ("commit", pa.string()),
        ("dirty", pa.bool_()),  # the work tree differed from the commit
        ("started_at", pa.string()),  # of the measurement, UTC, ISO 8601
        ("seconds", pa.float64()),  # that the measurement took
        ("status", pa.string()),  # ok | failed | skipped
        ("reason", pa.string()),  # why it is not ok, else ""
    ]
)
UNCERTAINTY = ("standard_error", "resampling", "replicates")
KEY = ["run", "metric", "steps", "sample_seed", "protocol", "images", "device"]  # a newer row with this key replaces the older


@dataclass(frozen=True, kw_only=True)
class Row:
    """One measurement; the columns of SCHEMA, where they are explained."""

    run: str
    method: str
    dataset: str
    net: str
    epochs: float
    images: int
    metric: str
    value: float | None
    protocol: str
    precision: str
    attention: str
    device: str
    started_at: str
    seconds: float
    train_seed: int
    standard_error: float | None = None
    resampling: str = ""
    replicates: tuple[float, ...] = ()
    unit: str = ""
    better: str = ""
    steps: int | None = None
    n: int | None = None
    sample_seed: int | None = None
    world_size: int = 1
    commit: str = ""
    dirty: bool = False
    status: str = "ok"
    reason: str = ""


def write(path: Path, rows: Iterable[Row], description: dict[str, Any], forget: str = "") -> None:
    """Add rows to one run's file, replacing those with the same key, and those of the metric `forget` (a failed stage).

    `description` (JSON) travels in the file's metadata; its "protocols" and "measurements" are added to those there.
    """
    new = pa.Table.from_pylist([asdict(row) for row in rows], schema=SCHEMA).to_pandas()
    if path.is_file():
        old, before = read_file(path)
        both_of = {key: before.get(key, {}) | description.get(key, {}) for key in ("protocols", "measurements")}
        description = description | both_of
        old = old[old["metric"] != forget]
        both = pd.concat([f for f in (old, new) if len(f)], ignore_index=True) if len(old) or len(new) else new
        new = both.drop_duplicates(KEY, keep="last", ignore_index=True)
    table = pa.Table.from_pandas(new, schema=SCHEMA, preserve_index=False)
    metadata = {METADATA_KEY: json.dumps({"schema": VERSION, **description}).encode()}
    buffer = io.BytesIO()
    pq.write_table(table.replace_schema_metadata(metadata), buffer)
    write_atomic(path, buffer.getvalue())


def read_file(path: Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    """One run's rows and description. Raises BenchError for a file that is damaged or not ours."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BenchError(f"Cannot read {path} ({error.strerror})", "result files of `bench`", REMEDY) from error
    table, description = read_bytes(data, str(path))
    return table.to_pandas(), description


def read_bytes(data: bytes, name: str) -> tuple[pa.Table, dict[str, Any]]:
    """The same of a file's bytes, not in pandas; `name` is what the message of the BenchError calls it."""
    try:
        table = pq.read_table(pa.BufferReader(data))
        description = json.loads((table.schema.metadata or {})[METADATA_KEY])
    except (OSError, pa.ArrowException, KeyError, ValueError, RecursionError) as error:
        kind = "not written by this suite" if isinstance(error, KeyError) else "damaged" if data else "empty"
        raise BenchError(f"{name} is {kind}", "result files of `bench`", REMEDY) from error
    schema = description.get("schema") if isinstance(description, dict) else description
    if schema not in (1, VERSION):
        newer = isinstance(schema, int) and schema > VERSION
        remedy = "Use the version of the suite that wrote it, or move it elsewhere." if newer else REMEDY
        raise BenchError(f"{name} has result schema {schema!r}", f"schema {VERSION}, or 1", remedy)
    return fitted(migrated(table) if schema == 1 else table, name), description


def fitted(table: pa.Table, name: str) -> pa.Table:
    """The table in the types of SCHEMA. Raises BenchError where its columns are others."""
    for kind, found in (
        ("lacks the columns", [column for column in SCHEMA.names if column not in table.schema.names]),
        ("has columns that are not the suite's:", [column for column in table.schema.names if column not in SCHEMA.names]),
    ):
        if found:
            raise BenchError(f"{name} {kind} {', '.join(found)}", f"the columns of schema {VERSION}", REMEDY)
    try:
        return table.select(SCHEMA.names).cast(SCHEMA)
    except (pa.ArrowException, KeyError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise BenchError(f"{name} has a column of another type ({reason})", f"the types of schema {VERSION}", REMEDY) from error


def migrated(table: pa.Table) -> pa.Table:
    """A table of schema 1 in the columns of this one."""
    if table.schema.names != [name for name in SCHEMA.names if name not in UNCERTAINTY]:
        return table  # `fitted` refuses it
    nothing: dict[str, Any] = {"standard_error": None, "resampling": "", "replicates": []}
    columns = [
        pa.array([nothing[field.name]] * len(table), field.type) if field.name in nothing else table[field.name]
        for field in SCHEMA
    ]
    return pa.Table.from_arrays(columns, names=SCHEMA.names)


def row_id(row: Row) -> str:
    """A short name of one measurement, the same wherever its row is: for `bench explain` and the report."""
    return _id(*(getattr(row, column) for column in KEY))


@functools.lru_cache(maxsize=100_000, typed=True)
def _id(*key: Any) -> str:
    return hashlib.sha256(json.dumps(key).encode()).hexdigest()[:8]


def read(results: Path) -> tuple[pd.DataFrame, dict[str, dict[str, Any]]]:
    """All rows in a folder, and each run's description. An empty folder gives no rows."""
    files = sorted(results.glob("*.parquet")) if results.is_dir() else []
    read_files = [read_file(path) for path in files]
    frames = [frame for frame, _ in read_files if len(frame)]
    empty = SCHEMA.empty_table().to_pandas()
    merged = pd.concat(frames, ignore_index=True) if frames else empty
    return merged, {path.stem: description for path, (_, description) in zip(files, read_files, strict=True)}
