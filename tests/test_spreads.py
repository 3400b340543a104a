"""Spreads of different origin are never shown as one another: in tables, forms, charts and on the page; and rows have ids."""

import io
import json
import math
import re
import statistics
from html import unescape
from pathlib import Path

import pytest
from rich.console import Console

from bench import rows, show
from bench.rows import read, row_id, write
from bench.store import Root
from reports import forms, tables
from reports.charts.figures import _mark, quality_charts
from reports.charts.looks import looks_of
from reports.lines import records
from reports.numbers import number
from reports.render import render
from result_rows import cell, frame, realistic, row, save

# Tables


def test_the_three_spreads_are_kept_apart_in_closed_form() -> None:
    """Two training seeds of two sampling seeds each; errors of one set of images 0.1 and 0.3."""
    values = {(0, 0): 1.0, (0, 1): 3.0, (1, 0): 10.0, (1, 1): 14.0}
    given = [row(seed=s, value=v, sample_seed=k, standard_error=0.1 + 0.2 * k) for (s, k), v in values.items()]
    [table] = tables.quality(frame(*given))
    found = cell(table, "soflow", "frechet_distance")
    assert found.mean == 7.0
    assert found.spread == pytest.approx(10 / math.sqrt(2))  # of the means 2 and 12
    assert found.sampling_spread == pytest.approx(math.sqrt((1 + 1 + 4 + 4) / 2))  # pooled: squares within over 2 freedoms
    assert found.standard_error == pytest.approx(0.2)
    assert (found.seeds, found.sample_seeds, found.text, found.aside) == (2, 2, "7.0 ± 7.1", "")
    [record] = json.loads(forms.render(table, "json"))["cells"]
    spreads = (record["spread"], record["sampling_spread"], record["standard_error"])
    assert spreads == (found.spread, found.sampling_spread, found.standard_error)
    assert (record["seeds"], record["sampling_seeds"]) == (2, 2)


def test_a_spread_over_sampling_seeds_is_never_written_as_one_over_training_seeds() -> None:
    [table] = tables.quality(frame(*(row(value=v, sample_seed=k) for k, v in enumerate((1.0, 2.0, 6.0)))))
    found = cell(table, "soflow", "frechet_distance")
    assert (found.spread, found.sampling_spread) == (None, pytest.approx(math.sqrt(7)))
    assert (found.text, found.full_text) == ("3.0", "3.0 (sampling sd 2.6)")
    assert "3.0 (sampling sd 2.6)" in forms.render(table, "markdown")
    assert r"& 3.0 {\footnotesize (2.6)} \\" in forms.render(table, "latex")
    assert "In parentheses: sampling sd." in forms.render(table, "latex")
    for form in ("markdown", "latex"):
        assert "±" not in forms.render(table, form)
        assert r"$\pm$" not in forms.render(table, form)
    assert "sampling sd: their standard deviation, which says nothing of other training seeds" in table.note
    assert (table.lines[0].seeds_text, table.lines[0].sampling_text) == ("1", "3")


def test_one_set_of_images_has_its_standard_error() -> None:
    [table] = tables.quality(frame(row(value=3.0, sample_seed=0, standard_error=0.25)))
    assert cell(table, "soflow", "frechet_distance").full_text == "3.00 (standard error 0.25)"
    [old] = tables.quality(frame(row(value=3.0, sample_seed=0)))
    assert cell(old, "soflow", "frechet_distance").full_text == "3"


def test_unequal_sampling_seeds_are_said() -> None:
    given = [row(value=v, sample_seed=k) for k, v in enumerate((1.0, 2.0))]
    [table] = tables.quality(frame(*given, row("meanflow", value=2.0, sample_seed=0)))
    assert "Sampling seeds: soflow 2, meanflow 1." in table.note


def test_rows_of_a_cell_have_the_ids_that_their_file_gives() -> None:
    given = [row(seed=s, value=1.0, sample_seed=k) for s in (0, 1) for k in (0, 1)]
    [table] = tables.quality(frame(*reversed(given)))
    ids = [row_id(r) for r in given]
    assert list(cell(table, "soflow", "frechet_distance").ids) == ids
    assert json.loads(forms.render(table, "json"))["cells"][0]["rows"] == ids
    assert forms.render(table, "csv").splitlines()[1].endswith(" ".join(ids))


def test_ids_survive_the_file(tmp_path: Path) -> None:
    given = [row(value=1.0, sample_seed=2, replicates=(1.0, 2.0)), row(metric="latency_ms", value=1.0, sample_seed=None)]
    write(tmp_path / "one.parquet", given, {})
    found = records(read(tmp_path)[0])
    assert [row_id(r) for r in found] == [row_id(r) for r in given]
    assert found == given


# Forms


def test_forms_mark_what_is_not_distinguishable() -> None:
    values = {"soflow": (1.0, 2.0), "meanflow": (1.5, 2.5)}
    [table] = tables.quality(frame(*(row(m, s, value=v) for m, of in values.items() for s, v in enumerate(of))))
    assert "| **1.50 ± 0.71** |" in forms.render(table, "markdown")
    assert "| ≈ 2.00 ± 0.71 |" in forms.render(table, "markdown")
    assert r"$\approx$ 2.00 $\pm$ 0.71" in forms.render(table, "latex")
    document = json.loads(forms.render(table, "json"))
    assert [c["not_distinguishable_from_best"] for c in document["cells"]] == [False, True]
    [found] = document["comparisons"]
    assert (found["question"], found["verdict"], found["seeds"]) == ("methods", "not distinguishable", [2, 2])
    assert found["low"] < found["difference"] < found["high"]


# The terminal


def test_a_terminal_of_80_columns_says_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {"soflow": (2.61, 2.66, 2.64), "flow_matching": (2.62, 2.65, 2.66)}
    given = [
        row(m, 0, metric, v / steps, steps=steps, sample_seed=k, n=2000)
        for metric in ("frechet_distance", "spatial_frechet_distance")
        for steps in (1, 2, 4)
        for m, of in values.items()
        for k, v in enumerate(of)
    ]
    [table] = tables.quality(frame(*given))
    page = io.StringIO()
    monkeypatch.setattr(show, "out", Console(width=80, file=page, highlight=False))
    show.print_table(table)
    lines = page.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[1] == "digits, T/2, 240 epochs, 1 training seed, 3 sampling seeds"
    assert lines[2].split() == ["Fréchet", "distance", "↓", "1", "step", "2", "steps", "4", "steps"]
    assert lines[3].split() == ["soflow", "2.637", "1.318", "0.6592"]
    assert lines[4].split() == ["sampling", "sd", "0.025", "0.013", "0.0063"]
    assert lines[5].split() == ["flow_matching", "≈", "2.643", "≈", "1.322", "≈", "0.6608"]
    assert "≈ not distinguishable from the best of its column" in " ".join(page.getvalue().split())


# The page


def page_of(given: list[rows.Row], tmp_path: Path) -> str:
    root = Root(tmp_path / "root")
    save(root, given)
    return render(root, tmp_path / "site").read_text(encoding="utf-8")


def values_of(page: str) -> dict[float, tuple[str, str]]:
    """By value: the class of its cell, and the text that a screen reader says."""
    cells = re.findall(r'<td(?: class="(\w+)")?>((?:(?!</td>).)*?<data value="([^"]+)">.*?)</td>', page, flags=re.DOTALL)
    return {float(value): (kind, unescape(re.sub(r"<[^>]*>", "", inner)).strip()) for kind, inner, value in cells}


def test_every_value_tells_its_spreads_and_its_rows(tmp_path: Path) -> None:
    """Pointed at, and in the folded table for those who can not point."""
    given = realistic()
    page = page_of(given, tmp_path)
    titles = [unescape(title) for title in re.findall(r'<td[^>]*>.*?<a [^>]*title="([^"]*)"', page, flags=re.DOTALL)]
    own = [r for r in given if (r.method, r.metric, r.steps) == ("soflow", "frechet_distance", 1)]
    [title] = [t for t in titles if rows.row_id(own[0]) in t]
    ids = " ".join(rows.row_id(r) for r in own)
    assert re.search(r"sd over 2 training seeds: [\d.]+\nsd over 3 sampling seeds: [\d.]+\nstandard error of one set", title)
    assert f"rows: {ids}" in title
    folded = page.partition("Every value’s spreads and rows</summary>")[2].partition("</details>")[0]
    assert folded.count(ids) == 1
    error = statistics.fmean(r.standard_error or 0.0 for r in own)
    assert f"<td>{number(error)}</td>" in folded


def test_what_is_not_distinguishable_is_marked_and_explained(tmp_path: Path) -> None:
    values = {"soflow": (1.0, 2.0, 3.0), "meanflow": (1.5, 2.5, 3.5), "flow_matching": (90.0, 91.0, 92.0)}
    given = [row(m, s, value=v, sample_seed=0) for m, of in values.items() for s, v in enumerate(of)]
    text = page_of(given, tmp_path)
    cells = values_of(text)
    assert [cells[v][0] for v in (2.0, 2.5, 91.0)] == ["best", "level", ""]
    assert cells[2.5][1].startswith("≈not distinguishable from the best: ")  # the words for a reader who does not see the sign
    assert "≈ stands before what is not distinguishable from it" in text
    assert "≈ not distinguishable from the best of its column, 95 %, over training seeds (Welch&#39;s t test)." in text
    assert "meanflow − soflow = 0.5 (95 % interval" in text.partition('id="leaderboard"')[0]
    folded = text.partition("Differences from the best of each column</summary>")[2].partition("</details>")[0]
    assert ">not distinguishable</td>" in folded
    assert ">distinguishable</td>" in folded


def test_a_spread_over_sampling_seeds_has_its_own_name_and_no_sign(tmp_path: Path) -> None:
    given = [row(value=v, sample_seed=k) for k, v in enumerate((1.0, 2.0, 6.0))]
    text = page_of(given, tmp_path)
    assert values_of(text)[3.0][1] == "3.0 sampling sd 2.6"
    assert "<span>1 × 3</span>" in text


def test_charts_tell_where_their_bars_come_from() -> None:
    def caption(*given: rows.Row) -> str:
        [table] = tables.quality(frame(*given))
        return quality_charts(table, looks_of([("soflow", "soflow"), ("meanflow", "meanflow")]))[0].caption

    sampled = [row(value=v, sample_seed=k) for k, v in enumerate((1.0, 2.0))]
    trained = [row("meanflow", s, value=v) for s, v in enumerate((1.0, 2.0))]
    over_training, over_sampling = "deviation over training seeds", "deviation over sampling seeds of its network"
    assert over_sampling in caption(*sampled)
    assert "one sample standard deviation" not in caption(*sampled)
    assert over_training in caption(*trained)
    assert over_sampling not in caption(*trained)
    both = caption(*sampled, *trained)
    assert over_training in both
    assert over_sampling in both
    assert "Bars" not in caption(row(value=1.0, sample_seed=0))


def test_chart_bars_are_the_spread_that_the_table_shows() -> None:
    given = [row(value=v, sample_seed=k) for k, v in enumerate((10.0, 12.0))]
    [table] = tables.quality(frame(*given))
    cell = table.lines[0].cells[0]
    mark = _mark(1.0, cell, 2.0)
    assert (mark.y, mark.below, mark.above) == (5.5, pytest.approx(2**0.5 / 2), pytest.approx(2**0.5 / 2))
