"""The cost page: what `bench speed` measured stands there as tables, what can not be read is named, and what is missing."""

import csv
import io
from pathlib import Path
from typing import Any

from bench.speed.results import Measurement
from bench.speed.results import write as write_speed
from bench.store import Root
from result_rows import HOSTILE, row
from test_site_tables import Grids, made


def timed(method: str, column: str, **more: Any) -> list[Measurement]:
    shared: dict[str, Any] = {
        "work": "train", "method": method, "net": "B/4", "variant": "optimised", "column": column, "precision": "bf16",
        "batch": 256, "started_at": "2026-11-20T09:00:00Z", "better": "min",
    }  # fmt: skip
    of_step = {
        "step_ms": (80.0, "ms"),
        "images_per_second": (3200.0, "images/s"),
        "peak_bytes": (7.5e9, "bytes"),
        "mfu": (0.41, ""),
    }
    return [
        Measurement(metric=m, value=v, unit=u, rounds=(0.08, 0.08) if m == "step_ms" else (), **(shared | more))
        for m, (v, u) in of_step.items()
    ]


def test_the_cost_page_has_what_bench_speed_measured(tmp_path: Path) -> None:
    root = Root(tmp_path / "root")
    description = {"machine": {"device": HOSTILE}, "versions": {}, "command": "bench speed", "started_at": "t", "commit": "c"}
    given = [m for method in ("flow_matching", "soflow") for column in ("same", "best") for m in timed(method, column)]
    write_speed(root.speed / "a" / "speed.parquet", given, description)
    write_speed(root.speed / "b" / "speed.parquet", [], {**description, "machine": {}})
    (root.speed / "b" / "speed.parquet").write_bytes(b"PAR1 cut off")
    site = made(root, [row(metric="parameters", value=5.0)])
    text = site["cost.html"]
    section = text.partition('id="speed"')[2]
    for shown in ("same ms", "best ms", "3,200", "7.5", "0.41", "&lt;script&gt;alert", "speed/b/speed.parquet"):
        assert shown in section, shown
    assert str(tmp_path) not in text
    page = Grids(text)
    [name] = [name for name in page.heads if name.startswith("speed-")]
    numeric = [head["data-sort"] for head in page.heads[name]]
    assert numeric[:3] == ["text", "text", "number"]
    lines = list(csv.reader(io.StringIO(site[f"data/{name}.csv"])))
    assert lines[1][:3] == ["optimised", "flow_matching", "80"]


def test_nothing_measured_says_which_command_measures(tmp_path: Path) -> None:
    text = made(Root(tmp_path), [row()])["cost.html"]
    assert "<code>bench speed</code> does that" in text.partition('id="speed"')[2]
    assert "<code>bench run</code> does that" in text
