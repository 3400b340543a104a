"""The file of `bench speed` gives back what was written and names nobody; ratios are of its rounds, in pairs."""

import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bench.errors import BenchError
from bench.speed import results
from reports import speed as reports_speed
from speed_requests import frame_of


def measurement(method: str, variant: str, rounds: list[float], **more: Any) -> results.Measurement:
    _, middle, _ = results.quartiles(rounds)
    return results.Measurement(
        work="train", method=method, variant=variant, column="best", net="B/4", precision="fp32", batch=8, metric="step_ms",
        value=1e3 * middle, unit="ms", better="min", rounds=tuple(rounds), started_at="", **more,
    )  # fmt: skip


# The file


def test_the_file_gives_back_what_was_written(tmp_path: Path) -> None:
    rows = [measurement("soflow", "optimised", [1.0, 2.0, 3.0], status="ok", noisy=True)]
    results.write(tmp_path / "speed.parquet", rows, {"machine": {"device": "x"}})
    frame, description = results.read(tmp_path / "speed.parquet")
    assert list(frame["rounds"].iloc[0]) == [1.0, 2.0, 3.0]
    assert bool(frame["noisy"].iloc[0])
    assert description["machine"] == {"device": "x"}


@pytest.mark.parametrize("content", [b"no parquet", b""])
def test_a_foreign_file_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "speed.parquet").write_bytes(content)
    with pytest.raises(BenchError, match="Cannot read"):
        results.read(tmp_path / "speed.parquet")
    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "speed.parquet")
    with pytest.raises(BenchError, match="not of `bench speed`"):
        results.read(tmp_path / "speed.parquet")


def test_the_file_does_not_say_whose_machine_it_was() -> None:
    from bench.console_speed import as_typed

    assert as_typed(["speed", "--out=/home/somebody/x", "--root", "/home/somebody/y", "--net", "B/4"]) == (
        "bench speed --out=x --root y --net B/4"
    )


# Ratios


def test_a_ratio_is_of_rounds_and_not_of_medians() -> None:
    """A machine that slows down tenfold half way: medians of each would say 1.1, the rounds say 2."""
    slow = [1.0, 1.1, 10.0, 11.0, 12.0]
    rows = [measurement("flow_matching", "optimised", slow), measurement("soflow", "optimised", [2 * s for s in slow])]
    rows += [measurement("soflow", "published", [3 * s for s in slow])]
    found = reports_speed.ratios(frame_of(rows)).set_index(["method", "variant"])
    assert found.loc[("soflow", "optimised"), "cost"] == pytest.approx(2)
    assert found.loc[("soflow", "optimised"), "cost_high"] == pytest.approx(2)
    assert found.loc[("soflow", "optimised"), "gain"] == pytest.approx(1.5)
    assert math.isnan(found.loc[("soflow", "published"), "gain"])
    assert found.loc[("flow_matching", "optimised"), "cost"] == 1
