"""The page of sample grids in a browser: one sample enlarged, by clicks and by keys; any screen, no script, on paper."""

import functools
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from bench.store import Root
from result_rows import HOSTILE, row
from sample_browsing import comes_back, fragment, sample_pages, seen, told
from sample_grids import METHODS, colour, grid, samples_site, write_run
from site_browser import NO_BROWSER, browser_page

pytestmark = pytest.mark.skipif(bool(NO_BROWSER), reason=NO_BROWSER)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sample_pages(tmp_path_factory.mktemp("samples"))


@pytest.fixture
def page(site: Path) -> Iterator[Any]:
    with browser_page(site / "samples.html") as found:
        yield found


def edges(sample: Any) -> set[tuple[int, ...]]:
    """All colours of the sample's middle line, without its outermost pixels, which may be mixed with the neighbours'."""
    with Image.open(BytesIO(sample.screenshot())) as image:
        line = image.convert("RGB").crop((2, image.height // 2, image.width - 2, image.height // 2 + 1))
        return {pixel for _, pixel in line.getcolors() or []}  # type: ignore[misc]


def click_on(page: Any, line: int, step: int, noise: int) -> None:
    link = page.locator(f'.samples .grid[data-line="{line}"][data-step="{step}"]').first
    box = link.bounding_box()
    link.click(position={"x": box["width"] * (noise % 3 + 0.5) / 3, "y": box["height"] * (noise // 3 + 0.5) / 2})


# Without a script


def test_without_a_script_whole_grids_link_to_their_files(site: Path) -> None:
    with browser_page(site / "samples.html", scripts=False) as page:
        assert page.locator(".grid img:visible").count() == 9
        assert page.locator(".pick:visible, .path:visible, dialog:visible").count() == 0
        page.locator(".grid").first.click()
        assert page.url.endswith("-steps-1.png")


# One sample enlarged


def test_a_click_enlarges_the_sample_under_it(page: Any) -> None:
    for line, step, noise in [(0, 0, 0), (1, 1, 4), (0, 2, 5), (2, 0, 2)]:
        click_on(page, line, step, noise)
        steps = f"{2**step} step{'s' * (step > 0)}"
        assert told(page) == f"{METHODS[line]} · {steps} · class {noise % 3} · noise {noise}"
        sample = page.locator("#zoom-picture .sample")
        assert seen(sample) == colour(noise, line, 2**step)
        assert edges(sample) == {colour(noise, line, 2**step)}, "nothing of its neighbours, no smoothing"
        assert sample.bounding_box()["width"] > 300
        assert fragment(page) == f"#noise={noise}"
        page.keyboard.press("Escape")
        assert not page.locator("dialog").is_visible()


def test_next_and_previous_go_through_noises_steps_and_methods(page: Any) -> None:
    click_on(page, 0, 0, 4)
    page.click('[data-turn="noise"][data-by="1"]')
    assert told(page) == "flow_matching · 1 step · class 2 · noise 5"
    page.click('[data-turn="noise"][data-by="1"]', force=True)  # there is no further one
    assert told(page).endswith("noise 5")
    page.click('[data-turn="step"][data-by="1"]')
    page.click('[data-turn="step"][data-by="1"]')
    assert told(page).startswith("flow_matching · 4 steps")
    page.click('[data-turn="line"][data-by="1"]')  # which has no 4 steps
    assert told(page) == "meanflow · 1 step · class 2 · noise 5"
    page.click('[data-turn="step"][data-by="1"]')
    assert page.get_attribute('[data-turn="step"][data-by="1"]', "aria-disabled") == "true"
    assert seen(page.locator("#zoom-picture .sample")) == colour(5, 1, 2)
    page.click("#zoom-close")
    assert fragment(page) == "#noise=5"


def test_keys_alone_are_enough(page: Any) -> None:
    link = page.locator('.samples .grid[data-line="1"][data-step="0"]').first
    page.select_option("#pick-noise", "2")
    link.focus()
    page.keyboard.press("Enter")
    assert told(page) == "meanflow · 1 step · class 2 · noise 2", "the one that is chosen"
    for key in ("ArrowRight", "ArrowRight", "ArrowUp", "ArrowLeft"):
        page.keyboard.press(key)
    assert told(page) == "meanflow · 2 steps · class 0 · noise 3"
    page.keyboard.press("Escape")
    comes_back(page, {"className": "grid", "line": "1", "step": "1"})


def test_a_picture_without_a_layout_is_enlarged_whole(page: Any) -> None:
    page.locator('[data-dataset="older"] .grid').first.click()
    assert told(page) == "old · 1 step"
    assert page.locator("#zoom-picture > img").bounding_box()["width"] > 300
    assert page.get_attribute('[data-turn="noise"][data-by="1"]', "aria-disabled") == "true"
    page.keyboard.press("ArrowUp")
    assert told(page) == "old · 2 steps"
    assert fragment(page) == ""


def test_a_grid_without_a_layout_stays_whole_among_others(tmp_path: Path) -> None:
    root = Root(tmp_path / "root")
    old = BytesIO()
    Image.new("RGB", (98, 65), "navy").save(old, "png")
    given = write_run(root, "meanflow", {1: old.getvalue()}) + write_run(root, "soflow", {1: grid(1, 1)})
    with browser_page(samples_site(root, given, tmp_path / "site")) as page:
        assert page.locator('[data-line="0"] .here').count() == 0
        page.select_option("#pick-class", "1")
        assert page.locator('.grid[data-line="0"]:visible').count() == 1
        assert page.locator('.grid[data-line="1"]:visible').count() == 0
        page.locator('.grid[data-line="0"]').click()
        assert told(page) == "meanflow · 1 step"
        page.click('[data-turn="line"][data-by="1"]')
        assert told(page) == "soflow · 1 step · class 1 · noise 1"
        assert seen(page.locator("#zoom-picture .sample")) == colour(1, 1, 1)


# Everybody


@pytest.mark.parametrize(("width", "dark"), [(360, False), (360, True), (1440, False), (1600, True)])
def test_nothing_is_wider_than_the_screen(width: int, dark: bool, site: Path) -> None:
    with browser_page(site / "samples.html", width=width, height=640, dark=dark) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        click_on(page, 0, 0, 0)
        box = page.locator("dialog").bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
        assert page.evaluate("(d => d.scrollWidth <= d.clientWidth)(document.querySelector('dialog'))")
        assert page.locator("#zoom-picture .sample").bounding_box()["width"] > 200


@functools.cache
def axe() -> Any:
    from axe_playwright_python.sync_playwright import Axe

    return Axe()


@pytest.mark.parametrize("dark", [False, True])
def test_no_barrier_is_found(dark: bool, site: Path) -> None:
    with browser_page(site / "samples.html", dark=dark) as page:
        found = axe().run(page, options={"preload": False}).response["violations"]
        page.select_option("#pick-class", "1")
        found += axe().run(page, options={"preload": False}).response["violations"]
        page.locator(".cells button").first.click()
        found += axe().run(page, options={"preload": False}).response["violations"]
    assert [(one["id"], one["nodes"][0]["html"]) for one in found] == []


def test_print_has_the_grids_and_the_path_but_no_controls(site: Path) -> None:
    with browser_page(site / "samples.html") as page:
        page.emulate_media(media="print")
        assert page.locator(".grid img:visible").count() == 9
        assert page.locator(".paths:visible").count() == 1
        assert page.locator(".pick:visible").count() == 0


def test_names_stay_text(tmp_path: Path) -> None:
    root = Root(tmp_path / "root")
    [found] = write_run(root, "soflow", {1: grid(0, 1)})
    given = [row(HOSTILE, run=found.run, dataset=HOSTILE, steps=1)]
    with browser_page(samples_site(root, given, tmp_path / "site")) as page:
        click_on(page, 0, 0, 1)
        assert told(page) == f"{HOSTILE} · 1 step · class 1 · noise 1"
        assert page.locator("#zoom-picture img").get_attribute("alt") == f"{HOSTILE}, 1 step, class 1, noise 1"
