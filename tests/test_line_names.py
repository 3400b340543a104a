"""A line's name says what varies inside its own table: across tables runs are joined, and told apart, by themselves."""

import re
from pathlib import Path
from typing import Any

import pytest

from bench import rows
from bench.store import Root
from reports import tables
from reports.charts.chart import Chart
from reports.charts.figures import quality_against_time
from reports.charts.looks import looks_of
from reports.papers.method_source import read_source
from reports.papers.recipes import recipe_sheets
from reports.published import load
from reports.site import pages
from reports.site.content import gather
from reports.site.folder import SiteFolder
from result_rows import described, failed, frame, row, save
from sample_grids import grid, samples_site

NAMED = ["soflow (train.batch=128)", "soflow (train.batch=64)"]


def recipes(**batches: int) -> dict[str, dict[str, Any]]:
    """What runs of soflow recorded, by run."""
    return {run: described(run, "soflow", train={"batch": batch}) for run, batch in batches.items()}


def time_charts(given: list[rows.Row], descriptions: dict[str, dict[str, Any]]) -> list[Chart]:
    """Of each table of scores with each of times; a chart without a point is none."""
    data = frame(*given)
    qualities, costs = tables.quality(data, descriptions), tables.cost(data, descriptions)
    looks = looks_of([(line.name, line.method) for table in (*qualities, *costs) for line in table.lines])
    return [chart for q in qualities for c in costs if (chart := quality_against_time(q, c, looks)) is not None]


def points(charts: list[Chart]) -> list[tuple[str, float, float, tuple[str, ...]]]:
    return [(s.line, m.x, m.y, m.runs) for chart in charts for s in chart.plot.series for m in s.marks]


def scored(run: str, value: float, **more: Any) -> rows.Row:
    return row(run=run, value=value, **more)


def timed(run: str, seconds: float, **more: Any) -> rows.Row:
    return row(run=run, metric="train_seconds", value=seconds, unit="s", **more)


# Quality against time


def test_a_score_never_meets_another_run_s_time() -> None:
    """Two recipes, each alone and so "soflow" in its own two tables: scores of another protocol, times of another device."""
    given = [scored("a", 1.0), timed("a", 10.0), scored("b", 2.0, protocol="other"), timed("b", 20.0, device="another")]
    charts = time_charts(given, recipes(a=64, b=128))
    assert sorted(points(charts)) == [("soflow", 10.0, 1.0, ("a",)), ("soflow", 20.0, 2.0, ("b",))]


def test_runs_meet_whatever_their_lines_are_called() -> None:
    """One table of scores names two recipes; on two devices each is "soflow" alone; and the other way round."""
    two_devices = [timed("a", 10.0), timed("b", 20.0, device="another")]
    found = points(time_charts([scored("a", 1.0), scored("b", 2.0), *two_devices], recipes(a=64, b=128)))
    assert sorted(found) == [(NAMED[0], 20.0, 2.0, ("b",)), (NAMED[1], 10.0, 1.0, ("a",))]
    two_protocols = [scored("a", 1.0), scored("b", 2.0, protocol="other")]
    found = points(time_charts([*two_protocols, timed("a", 10.0), timed("b", 20.0)], recipes(a=64, b=128)))
    assert sorted(found) == [("soflow", 10.0, 1.0, ("a",)), ("soflow", 20.0, 2.0, ("b",))]


def test_times_of_more_runs_stand_for_those_that_were_scored_alone() -> None:
    times = [timed("a", 10.0), timed("b", 20.0, seed=1)]
    assert points(time_charts([scored("b", 2.0, seed=1), *times], {})) == [("soflow", 20.0, 2.0, ("b",))]


def test_a_mean_over_runs_without_a_time_has_no_point() -> None:
    assert time_charts([scored("a", 1.0), scored("b", 2.0, seed=1), timed("a", 10.0)], {}) == []


# Samples


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return Root(tmp_path / "root")


def with_grids(root: Root, run: str, *counts: int) -> None:
    folder = root.run(run)
    folder.samples.mkdir(parents=True)
    folder.write_status("finished", images=2)
    for steps in counts:
        (folder.samples / f"steps-{steps}.png").write_bytes(grid(0, steps))


def test_two_runs_of_one_name_both_show_their_samples(root: Root, tmp_path: Path) -> None:
    """Of two protocols, at their own numbers of steps: nothing is missing."""
    with_grids(root, "a", 1, 2)
    with_grids(root, "b", 4)
    given = [scored("a", 1.0, steps=steps) for steps in (1, 2)] + [scored("b", 2.0, steps=4, protocol="other")]
    text = samples_site(root, given, tmp_path / "site").read_text(encoding="utf-8")
    assert re.findall(r"</i>(soflow.*?)</a>", text) == ["soflow [a]", "soflow [b]"]
    assert re.findall(r'alt="(.*?)"', text) == [
        "Samples of soflow [a] in 1 step", "Samples of soflow [a] in 2 steps", "Samples of soflow [b] in 4 steps",
    ]  # fmt: skip
    assert "not here" not in text


def test_a_seed_s_samples_are_not_missed_at_steps_that_another_was_asked_for(root: Root, tmp_path: Path) -> None:
    with_grids(root, "a", 1)
    given = [scored("a", 1.0), scored("b", 2.0, seed=1), scored("b", 2.0, seed=1, steps=64), failed("soflow", 2, run="c")]
    text = samples_site(root, given, tmp_path / "site").read_text(encoding="utf-8")
    assert re.findall(r"</i>(soflow.*?)</a>", text) == ["soflow"]
    assert "not here" not in text


# Recipes


def test_each_recipe_s_differences_from_the_paper_are_said(root: Root, tmp_path: Path) -> None:
    place = {"dataset": "imagenet_latents", "net": "B/2"}
    given = [scored("a", 1.0, **place), scored("b", 2.0, protocol="other", **place)]
    descriptions = recipes(a=64, b=128)
    [sheet] = recipe_sheets(
        "soflow", tables.quality(frame(*given), descriptions), descriptions, load().claims, read_source("soflow")
    )
    assert sheet.names == ("soflow [a]", "soflow [b]")
    batches = [text for texts in sheet.different.values() for text in texts if text.startswith("batch")]
    assert [text.partition(",")[0] for text in batches] == ["batch 64", "batch 128"]
    save(root, given, descriptions)
    folder, content = SiteFolder(tmp_path / "site"), gather(root)
    pages.methods(content, folder)
    folder.publish()
    text = (tmp_path / "site" / "methods" / "soflow.html").read_text(encoding="utf-8")
    assert re.findall(r"<p>(soflow \[.\]): ", text) == ["soflow [a]", "soflow [b]"]
    assert re.findall(r"</i>(soflow \[.\])</a></th>", text) == ["soflow [a]", "soflow [b]"]
