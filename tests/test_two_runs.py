"""Any two runs side by side: what stands beside what, and where a difference means nothing."""

import json
from pathlib import Path
from typing import Any

import pytest

from bench import rows
from bench.store import Root
from reports.site import pages
from reports.site.content import gather
from reports.site.folder import SiteFolder
from reports.site.two_runs import _values
from result_rows import row, save
from site_browser import NO_BROWSER, browser_page

in_a_browser = pytest.mark.skipif(bool(NO_BROWSER), reason=NO_BROWSER)
LATENCY = {"metric": "latency_ms", "unit": "ms"}


def compare_page(given: list[rows.Row], folder: Path) -> Path:
    """The page alone, with its scripts."""
    root, site = Root(folder / "root"), SiteFolder(folder / "site")
    save(root, given)
    content = gather(root)
    pages.assets(content, site)
    pages.compare(content, site)
    site.publish()
    return folder / "site" / "compare.html"


def values_of(path: Path) -> dict[str, list[dict[str, Any]]]:
    data = json.loads(path.read_text(encoding="utf-8").partition('id="runs">')[2].partition("</script>")[0])
    return {record["run"]: record["values"] for record in data}


def lines(path: Path, width: int = 1440) -> list[list[str]]:
    """The table of values of the first two runs, a line a list of its cells' texts; the protocol left out."""
    with browser_page(path, width=width) as page:
        found = page.locator(".values tbody tr").all()
        texts = [[cell.inner_text().replace("\n", " ") for cell in line.locator("th, td").all()] for line in found]
    return [[name, *cells] for name, _, *cells in texts]


# What the page is given


def test_two_devices_are_not_two_sampling_seeds(tmp_path: Path) -> None:
    given = [row(run="a", value=v, device=device, **LATENCY) for device, v in (("cpu", 30.0), ("gpu", 1.0))]
    given += [row(run="a", value=v, device=device, sample_seed=0) for device, v in (("cpu", 2.0), ("gpu", 2.5))]
    found = values_of(compare_page(given, tmp_path))["a"]
    assert [(v["device"], v["value"], v["seeds"], v["sd"]) for v in found] == [
        ("cpu", 2.0, 1, None), ("gpu", 2.5, 1, None), ("cpu", 30.0, 0, None), ("gpu", 1.0, 0, None),
    ]  # fmt: skip
    assert [v["cost"] for v in found] == [False, False, True, True]


def test_a_sampling_seed_counts_once() -> None:
    """Rows of one seed are averaged first: they are no second seed, and no spread over seeds."""
    given = [row(value=v, sample_seed=k) for k, v in ((0, 1.0), (0, 2.0), (1, 3.0))]
    [found] = _values(given)
    assert (found["value"], found["seeds"], found["sd"]) == (2.25, 2, pytest.approx(1.5 / 2**0.5))
    assert [(v["seeds"], v["sd"]) for v in _values(given[:2])] == [(1, None)]
    [found] = _values([*given[1:], row(value=4.0, sample_seed=None)])
    assert (found["value"], found["seeds"]) == (3.0, 2), "a value without a seed counts too"


def test_steps_are_in_the_order_of_numbers(tmp_path: Path) -> None:
    given = [row(run="a", steps=steps) for steps in (16, 2, 1, 4)]
    assert [v["steps"] for v in values_of(compare_page(given, tmp_path))["a"]] == [1, 2, 4, 16]


# What it shows


@in_a_browser
def test_steps_stand_as_numbers_whichever_run_has_them(tmp_path: Path) -> None:
    given = [row(run="a", steps=steps) for steps in (1, 16)] + [row(run="b", steps=steps) for steps in (1, 2, 4)]
    found = [line[0].rpartition(", ")[2] for line in lines(compare_page(given, tmp_path))]
    assert found == ["1 step", "2 steps", "4 steps", "16 steps"]


@in_a_browser
def test_costs_of_two_devices_are_not_subtracted(tmp_path: Path) -> None:
    given = [
        row(run=run, value=v, device=d, **LATENCY) for run, d, v in (("a", "cpu", 30.0), ("a", "gpu", 1.0), ("b", "gpu", 3.0))
    ]
    found = lines(compare_page(given, tmp_path))
    assert found == [["latency (ms) ↓ cpu", "30", "–", "–"], ["latency (ms) ↓ gpu", "1", "3", "-2"]]


@in_a_browser
@pytest.mark.parametrize(
    ("other", "cost", "score"),
    [({}, "-2", "-2"), ({"net": "B/4"}, "–", "-2"), ({"dataset": "cifar10"}, "–", "–")],
)
def test_a_difference_is_of_one_quantity(other: dict[str, str], cost: str, score: str, tmp_path: Path) -> None:
    given = [row(run="a", value=1.0), row(run="a", value=1.0, **LATENCY)]
    given += [row(run="b", value=3.0, **other), row(run="b", value=3.0, **LATENCY, **other)]
    assert [line[1:] for line in lines(compare_page(given, tmp_path))] == [["1", "3", score], ["1", "3", cost]]


@in_a_browser
def test_scores_of_two_devices_in_one_run_are_two_lines_and_else_one(tmp_path: Path) -> None:
    one = [row(run="a", value=1.0, device="cpu"), row(run="b", value=3.0, device="gpu")]
    [line] = lines(compare_page(one, tmp_path / "one"))
    assert line == ["Fréchet distance ↓, 1 step", "1", "3", "-2"]
    found = lines(compare_page([*one, row(run="a", value=2.0, device="gpu")], tmp_path / "two"))
    assert found == [["Fréchet distance ↓, 1 step cpu", "1", "–", "–"], ["Fréchet distance ↓, 1 step gpu", "2", "3", "-1"]]


@in_a_browser
def test_a_name_and_a_value_are_on_a_phone_together(tmp_path: Path) -> None:
    """With the protocol between them; and the name stays when the table is moved."""
    runs = ("digits-soflow-T-2-s0-0123456789", "digits-meanflow-T-2-s0-0123456789")
    given = [
        row(run=run, value=1.25 + k, sample_seed=k, protocol="digits-n2000-inception-3f9ac1") for run in runs for k in (0, 1)
    ]
    given += [row(run=run, value=1.25, device="NVIDIA H100 80GB HBM3", **LATENCY) for run in runs]
    with browser_page(compare_page(given, tmp_path), width=360) as page:
        shown = page.locator(".scroll").filter(has=page.locator(".values"))
        limits = shown.bounding_box()
        for line in page.locator(".values tbody tr").all():
            name, value = line.locator("th").bounding_box(), line.locator("td.value").first.bounding_box()
            assert name["x"] >= limits["x"]
            assert value["x"] + value["width"] <= limits["x"] + limits["width"]
        before = page.locator(".values tbody th").first.bounding_box()["x"]
        shown.evaluate("scroll => { scroll.scrollLeft = scroll.scrollWidth; }")
        assert shown.evaluate("scroll => scroll.scrollLeft") > 0
        assert page.locator(".values tbody th").first.bounding_box()["x"] == pytest.approx(before, abs=1.5)


@in_a_browser
def test_one_sentence_is_read_out_and_every_head_has_words(tmp_path: Path) -> None:
    from axe_playwright_python.sync_playwright import Axe

    given = [row(run="a", commit="1" * 40), row("meanflow", run="b", commit="2" * 40)]
    with browser_page(compare_page(given, tmp_path)) as page:
        assert [part.inner_text() for part in page.locator("[aria-live]").all()] == ["Comparing a and b"]
        page.click("#swap")
        assert [part.inner_text() for part in page.locator("[aria-live]").all()] == ["Comparing b and a"]
        page.locator("details").evaluate_all("all => all.forEach((each) => { each.open = true; })")
        assert page.locator("table").count() == 4
        assert all(head.inner_text().strip() for head in page.locator("th").all())
        assert [v["id"] for v in Axe().run(page, options={"preload": False}).response["violations"]] == []
