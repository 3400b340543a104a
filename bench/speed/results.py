"""What `bench speed` measured on one device: one measurement a row, one parquet file, the raw times in it.

    write(path, measurements, description)
    frame, description = read(path)         # pandas, columns as in SCHEMA; the machine, versions, command

Imports no torch: reports read it.
"""

import dataclasses
import io
import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from bench.errors import BenchError
from bench.store import write_atomic

VERSION = 1
METADATA_KEY = b"bench speed"
NOISY = 0.10  # the middle half of the rounds, relative to their median, beyond which a row is marked

SCHEMA = pa.schema(
    [
        ("work", pa.string()),  # train | sample | decode | device
        ("method", pa.string()),  # "" where it does not matter, as below
        ("net", pa.string()),
        ("shape", pa.string()),  # "4x32x32", of one image or latent
        ("classes", pa.int64()),
        ("variant", pa.string()),  # optimised: the suite's own step | published: the public code's structure | bare
        ("column", pa.string()),  # same: one attention and precision for all | best: the fastest that the loss permits
        ("precision", pa.string()),  # fp32 | tf32 | bf16
        ("attention", pa.string()),
        ("compiled", pa.bool_()),
        ("batch", pa.int64()),  # images at a time
        ("steps", pa.int64()),  # network evaluations an image; null in training
        ("metric", pa.string()),
        ("value", pa.float64()),  # the median over rounds, where there are rounds; null unless status is ok
        ("low", pa.float64()),  # lower and upper quartile of the value; null where nothing was repeated
        ("high", pa.float64()),
        ("unit", pa.string()),
        ("better", pa.string()),  # min | max | "" (neither)
        ("rounds", pa.list_(pa.float64())),  # seconds of each; round i of all cells of a group was taken in one turn
        ("noisy", pa.bool_()),  # the quartiles lie further apart than NOISY times the median
        ("status", pa.string()),  # ok | failed | skipped
        ("reason", pa.string()),  # why it is not ok, else ""; with a null value and status ok: why the device has none
        ("started_at", pa.string()),  # UTC
    ]
)


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """The columns of SCHEMA, where they are explained."""

    work: str
    metric: str
    value: float | None
    unit: str
    better: str
    precision: str
    started_at: str
    method: str = ""
    net: str = ""
    shape: str = ""
    classes: int | None = None
    variant: str = ""
    column: str = ""
    attention: str = ""
    compiled: bool = False
    batch: int | None = None
    steps: int | None = None
    low: float | None = None
    high: float | None = None
    rounds: tuple[float, ...] = ()
    noisy: bool = False
    status: str = "ok"
    reason: str = ""


def noisy(rounds: Sequence[float]) -> bool:
    """Whether the rounds scatter too much to believe: the middle half spreads over more than NOISY of the median."""
    low, middle, high = quartiles(rounds)
    return high - low > NOISY * middle


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Lower quartile, median, upper quartile, with linear interpolation; of one value, that value."""
    if len(values) == 1:
        return values[0], values[0], values[0]
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


# The file


def write(path: Path, measurements: Iterable[Measurement], description: dict[str, Any]) -> None:
    """Write all rows anew, or nothing. `description` (JSON): machine, versions, command, settings."""
    rows = [dataclasses.asdict(m) for m in measurements]
    columns = {name: [row[name] for row in rows] for name in SCHEMA.names}
    metadata = {METADATA_KEY: json.dumps({"version": VERSION, **description}, sort_keys=True).encode()}
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns, schema=SCHEMA).replace_schema_metadata(metadata), buffer)
    write_atomic(path, buffer.getvalue())


def read(path: Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The rows, and what the file says of their making. Raises BenchError for a file that is not ours or of another version."""
    remedy = "Measure again: `bench speed`."
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowInvalid) as error:
        reason = str(error).splitlines()[0]
        raise BenchError(f"Cannot read {path} ({reason})", "a file of `bench speed`", remedy) from error
    metadata = (table.schema.metadata or {}).get(METADATA_KEY)
    description = json.loads(metadata) if metadata else {}
    if description.get("version") != VERSION or not table.schema.remove_metadata().equals(SCHEMA):
        kind = f"version {description['version']}" if "version" in description else "not of `bench speed`"
        raise BenchError(f"{path} is {kind}", f"a file of `bench speed`, version {VERSION}", remedy)
    return table.to_pandas(), description


def files(folder: Path) -> list[Path]:
    """The result files below `folder`, one a device, in the order of their names."""
    return sorted(folder.glob("*/speed.parquet"))
