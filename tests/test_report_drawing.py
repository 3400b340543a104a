"""Charts drawn on several processors are the same as drawn alone; ids of rows are the same however often they are asked for."""

import hashlib
import json

import pytest

from bench.rows import KEY, row_id
from reports import tables
from reports.charts import drawing
from reports.charts.chart import Chart
from reports.charts.figures import quality_charts
from reports.charts.looks import looks_of
from result_rows import HOSTILE, frame, realistic, row


def charts() -> list[Chart]:
    found = tables.quality(frame(*realistic(), row(HOSTILE, value=2.0)))
    return [chart for table in found for chart in quality_charts(table, looks_of([(x.name, x.method) for x in table.lines]))]


def test_together_as_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "MANY", 2)
    monkeypatch.setattr(drawing, "_processors", lambda: 2)
    together = charts()
    drawing.draw_together(together)
    assert all("svg" in vars(chart) for chart in together), "they were drawn"
    assert [chart.svg for chart in together] == [chart.svg for chart in charts()]


def test_few_charts_and_one_processor_start_no_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_pool(_: int) -> None:
        raise AssertionError("processes were started")

    monkeypatch.setattr(drawing, "_pool", no_pool)
    drawing.draw_together(charts())
    monkeypatch.setattr(drawing, "MANY", 1)
    monkeypatch.setattr(drawing, "_processors", lambda: 1)
    drawing.draw_together(charts())


def test_an_id_depends_on_the_key_and_on_its_types() -> None:
    one = row(value=1.0)
    expected = hashlib.sha256(json.dumps([getattr(one, column) for column in KEY]).encode()).hexdigest()[:8]
    assert {row_id(one), row_id(one), row_id(row(value=7.0))} == {expected}
    others = [row(steps=2), row(sample_seed=1), row(sample_seed=0), row(steps=True)]
    assert len({row_id(other) for other in others} | {expected}) == 5
