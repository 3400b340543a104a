"""One declaration, three renderings with the same numbers: drawing, table, data for the page's script."""

import csv
import functools
import hashlib
import html
import io
import json
import math
import random
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from reports import tables
from reports.charts.chart import PLOTLY, Chart, publish
from reports.charts.figures import loss_charts, quality_against_time, quality_charts, throughput_chart
from reports.charts.looks import Look, looks_of
from reports.charts.plots import Axis, Mark, Plot, Series, short, thinned
from reports.charts.svg import standalone
from reports.site.folder import SiteFolder
from reports.site.links import run_page
from reports.site.templating import environment
from result_rows import HOSTILE, frame, realistic
from site_pages import Page

LOOKS = looks_of([(name, name) for name in ("soflow", "meanflow", "flow_matching", HOSTILE)])
LOG = [{"epoch": float(i), "mse": 1.0 / i, "grad_norm": 2.0 / i} for i in range(1, 6)]


@functools.cache
def charts() -> list[Chart]:
    """Of all kinds."""
    given = frame(*realistic())
    [quality], [cost] = tables.quality(given), tables.cost(given)
    found = [throughput_chart(cost, LOOKS), quality_against_time(quality, cost, LOOKS)]
    logs = {"run-a": ("soflow", LOG), "run-b": ("meanflow", LOG[:3])}
    return [*quality_charts(quality, LOOKS), *filter(None, found), *loss_charts("digits, T/2", logs, LOOKS)]


def plot_of(*ys: float, line: str = "soflow", **more: object) -> Plot:
    marks = tuple(Mark(float(i), y, runs=(f"run-{i}",)) for i, y in enumerate(ys, 1))
    fields = {"name": "a-1", "title": "A chart", "caption": "Here.", "x": Axis("epochs"), "y": Axis("mse"), **more}
    return Plot(series=(Series(line, Look("#D55E00", "o", (0, ())), marks),), **fields)  # type: ignore[arg-type]


def html_of(chart: Chart) -> Page:
    """As a page in a folder has it."""
    module = environment("../").get_template("_charts.html.j2").module
    return Page(str(module.charts([chart])))  # type: ignore[attr-defined]


def inside(page: Page, tag: str) -> str:
    """What the first such tag has in it, as it was written."""
    return page.text.partition(tag)[2].partition(f"</{tag[1:].split()[0]}>")[0]


# The same numbers everywhere


def test_a_chart_of_each_kind_is_made() -> None:
    found = [chart.title for chart in charts()]
    assert found[0] == "Fréchet distance against steps"
    assert found[-4:] == ["Training throughput", "Fréchet distance against training time", "Training mse", "Gradient norm"]


def test_the_points_are_the_means_and_spreads_of_the_table() -> None:
    [table] = tables.quality(frame(*realistic()))
    chart = quality_charts(table, LOOKS)[0]
    for series, trace in zip(chart.plot.series, chart.spec["data"], strict=False):
        line = next(line for line in table.lines if line.name == series.line)
        cells = [line.cells[i] for i in table.column_indices("frechet_distance") if line.cells[i].values]
        assert [mark.y for mark in series.marks] == [cell.mean for cell in cells]
        assert [mark.above for mark in series.marks] == [cell.shown_spread for cell in cells]
        assert [mark.runs for mark in series.marks] == [cell.runs for cell in cells]
        assert trace["error_y"]["array"] == [cell.shown_spread for cell in cells]


@pytest.mark.parametrize("chart", charts(), ids=lambda chart: chart.name)
def test_script_csv_and_table_have_every_point(chart: Chart) -> None:
    marks = [mark for series in chart.plot.series for mark in series.marks]
    value = "x" if chart.plot.bars else "y"
    declared = [getattr(mark, value) for mark in marks]
    own = [trace for trace, line in zip(chart.spec["data"], chart.spec["line"], strict=True) if line is not None]
    assert [number for trace in own for number in trace[value]] == declared
    lines = list(csv.reader(io.StringIO(chart.plot.csv())))[1:]
    assert [float(line[1 if chart.plot.bars else 2]) for line in lines] == declared
    assert [line[-1] for line in lines] == [
        " ".join(mark.runs or [series.run]) for series in chart.plot.series for mark in series.marks
    ]
    page = html_of(chart)
    shown = [cell["value"] for cell in page.cells_of("fine")]
    assert shown == declared if chart.plot.bars else shown[1::2] == declared
    links = [cell["link"] for cell in page.cells if cell["value"] is None]
    assert links == [f"../{run_page((mark.runs or [of.run])[0])}" for of in chart.plot.series for mark in of.marks]


def test_the_drawing_has_every_point_where_it_belongs() -> None:
    """On a linear axis: the marks of the SVG, in its pixels, are the values times a factor and a constant."""
    plot = plot_of(3.0, 7.0, 4.0, 12.0)
    found = re.findall(r'<use [^>]*x="([\d.]+)" y="([\d.]+)"[^>]*fill: #d55e00', Chart(plot).svg)
    places = [(float(x), float(y)) for x, y in found]
    assert len(places) == 5  # the key's too
    heights = [y for _, y in sorted(places[-4:] if places[0][1] < places[1][1] else places[:4])]
    slope = (heights[3] - heights[0]) / (12 - 3)
    assert slope < 0
    assert heights == pytest.approx([heights[0] + slope * (y - 3) for y in (3.0, 7.0, 4.0, 12.0)], abs=1e-3)


def test_the_points_lead_to_their_runs() -> None:
    chart = charts()[0]
    for trace, series in enumerate(chart.plot.series):
        for point, mark in enumerate(series.marks):
            assert tuple(chart.spec["runs"][i][0] for i in chart.spec["behind"][trace][point]) == mark.runs
    many = loss_charts("g", {f"run-{i}": ("soflow", LOG) for i in (3, 1, 4, 5, 9, 2, 6)}, LOOKS)[0]
    assert many.spec["runs"] == sorted(many.spec["runs"]), "no order of hashes"
    [mse, _] = loss_charts("g", {"run-b": ("soflow", LOG), "run-a": ("soflow", LOG)}, LOOKS)
    pages = [mse.spec["runs"][of[0][0]] for of in mse.spec["behind"]]
    assert pages == [["run-b", "runs/run-b.html"], ["run-a", "runs/run-a.html"]]


# Names that anybody may have chosen


NAMES = (HOSTILE, "currentColor", "#010203", 'id="x" url(#y)', "'DejaVu Sans'", "a\x1bb\nc", "名" * 300)


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_text_in_every_form(name: str) -> None:
    chart = Chart(plot_of(1.0, 2.0, line=name))
    file = ElementTree.fromstring(standalone(chart.svg))  # well formed
    texts = [element.text for element in file.iter("{http://www.w3.org/2000/svg}text")]
    assert short(name) in texts
    trace = chart.spec["data"][0]
    assert not {"<", ">"} & set(trace["name"] + trace["meta"][0]), "Plotly would read tags"
    page = html_of(chart)
    assert page.tags.count("script") == 1
    assert json.loads(inside(page, '<script type="application/json" class="chart-spec">')) == chart.spec
    assert html.unescape(inside(page, '<th scope="row" class="name">')) == name
    assert next(csv.reader(io.StringIO(chart.plot.csv()[chart.plot.csv().index("\n") + 1 :])))[0] == name


def test_entities_and_placeholders_in_a_name_mean_nothing_to_plotly() -> None:
    trace = Chart(plot_of(1.0, line="&lt;b&gt; %{y} <b>")).spec["data"][0]
    assert trace["name"] == "&amp;lt;b&amp;gt; %{y} &lt;b&gt;"
    assert "%{y}" not in trace["hovertemplate"]
    assert trace["meta"][0] == trace["name"]


def test_a_long_name_is_shortened_in_its_middle() -> None:
    assert short("a" * 44) == "a" * 44
    assert short("a" * 200 + "-end") == "a" * 29 + "…" + "a" * 10 + "-end"
    assert short("abcdefghi", 6) == "abcd…i"


# Files


def test_the_library_is_the_one_that_was_published() -> None:
    readme = (PLOTLY / "README.md").read_text()
    digest = hashlib.sha256((PLOTLY / "plotly-basic.min.js").read_bytes()).hexdigest()
    assert f"sha256  {digest}  plotly-basic.min.js" in readme
    [version] = set(re.findall(r"\d+\.\d+\.\d+", readme))
    assert f"v{version}\n" in (PLOTLY / "plotly-basic.min.js").read_text()[:200]


def test_files_of_the_site(tmp_path: Path) -> None:
    folder, made = SiteFolder(tmp_path / "site"), charts()
    publish(made, folder)
    publish(made[:1], folder)  # on a second page
    names = set(folder.files)
    assert {f"charts/{chart.name}.svg" for chart in made} | {f"data/{chart.name}.csv" for chart in made} < names
    assert {"assets/plotly.min.js", "assets/plotly.LICENSE.txt"} < names
    empty = SiteFolder(tmp_path / "other")
    publish([], empty)
    assert not empty.files


def test_two_charts_of_one_name_are_a_mistake_of_ours(tmp_path: Path) -> None:
    folder = SiteFolder(tmp_path / "site")
    publish([Chart(plot_of(1.0))], folder)
    with pytest.raises(ValueError, match="two files of the site"):
        publish([Chart(plot_of(2.0))], folder)


def test_the_same_runs_have_one_name_and_other_runs_another() -> None:
    """A method's page and the training page show some of the same runs, under the same words."""
    both = {"run-a": ("soflow", LOG), "run-b": ("meanflow", LOG)}
    one = {"run-a": ("soflow", LOG)}
    names = [loss_charts("digits, T/2", logs, LOOKS)[0].name for logs in (both, one, one)]
    assert names[0] != names[1] == names[2]


def test_a_file_has_its_own_ink_and_fonts() -> None:
    chart = charts()[0]
    assert "currentColor" in chart.svg
    alone = standalone(chart.svg)
    assert "currentColor" not in alone
    assert "system-ui" not in alone
    assert "DejaVu Sans" in alone
    box = ElementTree.fromstring(alone).attrib
    assert [f"{length}pt" for length in box["viewBox"].split()[2:]] == [box["width"], box["height"]]
    assert alone == standalone(Chart(chart.plot).svg), "the same bytes every time"


# What is too much, and what can not be shown


def test_a_long_log_is_thinned_and_keeps_its_spikes() -> None:
    draw = random.Random(0)
    values = [draw.uniform(1, 2) for _ in range(50_000)]
    values[12_345], values[40_001] = 90.0, 0.1
    marks = [Mark(float(i), y) for i, y in enumerate(values)]
    kept = thinned(marks, 400)
    assert len(kept) <= 400
    assert {marks[0], marks[12_345], marks[40_001], marks[-1]} <= set(kept)
    assert list(kept) == sorted(kept, key=lambda mark: mark.x)
    assert thinned(marks[:400], 400) == tuple(marks[:400])


def test_many_long_logs_share_what_is_drawn() -> None:
    log = [{"epoch": float(i), "mse": 1.0 + i % 7} for i in range(500)]
    [chart] = loss_charts("g", {f"run-{i}": ("soflow", log) for i in range(200)}, LOOKS)
    drawn = [len(trace["x"]) for trace in chart.spec["data"]]
    assert sum(drawn) <= 20_000
    assert min(drawn) >= 60
    assert chart.plot.csv().count("\n") == 1 + 200 * 500


def test_a_long_table_says_what_it_leaves_out_and_its_file_has_all() -> None:
    chart = Chart(plot_of(*(1.0 + i for i in range(1000))))
    page = html_of(chart)
    assert len(page.cells_of("fine")) == 2 * 251
    assert "Each 4th point of a line and its last; the CSV has all." in page.text
    assert chart.plot.csv().count("\n") == 1001
    assert "the CSV has all" not in html_of(Chart(plot_of(1.0))).text


def test_records_that_can_not_be_drawn_are_counted() -> None:
    log = [*LOG, {"epoch": 6.0, "mse": math.nan, "grad_norm": 0.5}, {"epoch": 7.0, "mse": 0.0}, {"epoch": 8.0, "mse": None}]
    log.append({"epoch": 9.0, "mse": "high"})
    mse, norm = loss_charts("g", {"run-a": ("soflow", log)}, LOOKS)
    assert mse.caption.endswith("Not shown: 4 records without a finite value above zero.")
    assert "Not shown" not in norm.caption
    assert len(mse.plot.series[0].marks) == 5


def test_a_run_that_has_no_value_is_no_series() -> None:
    [mse] = loss_charts("g", {"run-a": ("soflow", [{"epoch": 1.0, "mse": 1.0}]), "run-b": ("meanflow", [])}, LOOKS)
    assert [series.run for series in mse.plot.series] == ["run-a"]


def test_many_lines_are_drawn() -> None:
    """The key names the first of them; the drawing has room, and the last is in the table."""
    names = [f"soflow (tuned in the way number {i:02})" for i in range(60)]
    series = tuple(Series(name, Look("#D55E00", "o", (0, ())), (Mark(1.0, 2.0), Mark(2.0, 1.0))) for name in names)
    chart = Chart(Plot("m-1", "Many", "Here.", Axis("steps", "steps"), Axis("y"), series))
    assert "and 45 more, in the table" in chart.svg
    assert html_of(chart).text.count(names[-1]) >= 2


@pytest.mark.parametrize(("ys", "floor", "may"), [((1.0, 2.0), None, True), ((1.0, 0.0), None, False), ((1.0,), 0.0, False)])
def test_a_logarithm_is_offered_where_all_is_positive(ys: tuple[float, ...], floor: float | None, may: bool) -> None:
    assert Chart(plot_of(*ys, floor=floor)).spec["log"] == {"may": may, "is": False}


def test_equal_values_are_not_pulled_apart() -> None:
    """On an axis from 0.5999999999 to 0.6000000001 rounding would look like a difference."""
    marks = [Mark(x, 1.0) for x in (0.6, 0.6 + 1e-9)]
    look = Look("#D55E00", "o", (0, ()))
    plot = Plot("e-1", "Equal", "Here.", Axis("GB"), Axis("y"), (Series("soflow", look, tuple(marks)),))
    assert plot.x_range == pytest.approx((0.594, 0.606))
    assert Chart(plot).spec["layout"]["xaxis"]["range"] == list(plot.x_range or ())
    assert plot_of(1.0, 2.0).x_range is None
