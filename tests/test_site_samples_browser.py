"""The page of sample grids in a browser: one sample enlarged, one class alone, one noise's path; by keys, by links."""

import functools
import json
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from bench.store import Root
from result_rows import HOSTILE, row
from sample_grids import METHODS, colour, grid, samples_site, three_runs, write_run
from site_browser import NO_BROWSER, browser_page, until

pytestmark = pytest.mark.skipif(bool(NO_BROWSER), reason=NO_BROWSER)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three methods in one gallery; in another, grids of no known layout."""
    folder = tmp_path_factory.mktemp("samples")
    root = Root(folder / "root")
    given = three_runs(root)
    old = BytesIO()
    Image.new("RGB", (60, 40), "navy").save(old, "png")
    write_run(root, "old", dict.fromkeys((1, 2), old.getvalue()))
    given += [row("old", dataset="older", steps=steps) for steps in (1, 2)]
    return samples_site(root, given, folder / "site").parent


@pytest.fixture
def page(site: Path) -> Iterator[Any]:
    with browser_page(site / "samples.html") as found:
        yield found


def seen(sample: Any) -> tuple[int, int, int]:
    """The colour in the middle of what the screen shows there."""
    with Image.open(BytesIO(sample.screenshot())) as image:
        pixel = image.convert("RGB").getpixel((image.width // 2, image.height // 2))
    assert isinstance(pixel, tuple)
    return pixel[0], pixel[1], pixel[2]


def edges(sample: Any) -> set[tuple[int, ...]]:
    """All colours of the sample's middle line, without its outermost pixels, which may be mixed with the neighbours'."""
    with Image.open(BytesIO(sample.screenshot())) as image:
        line = image.convert("RGB").crop((2, image.height // 2, image.width - 2, image.height // 2 + 1))
        return {pixel for _, pixel in line.getcolors() or []}  # type: ignore[misc]


def fragment(page: Any) -> str:
    return str(page.evaluate("location.hash"))


def click_on(page: Any, line: int, step: int, noise: int) -> None:
    link = page.locator(f'.samples .grid[data-line="{line}"][data-step="{step}"]').first
    box = link.bounding_box()
    link.click(position={"x": box["width"] * (noise % 3 + 0.5) / 3, "y": box["height"] * (noise // 3 + 0.5) / 2})


def told(page: Any) -> str:
    return str(page.locator("#zoom-title").text_content()).replace("\u00a0", " ")


def comes_back(page: Any, facts: dict[str, str]) -> None:
    """The focus is at what was looked at last; the browser tells the page that the dialog was closed a moment later."""
    found = "(({className, dataset}) => ({className, ...dataset}))(document.activeElement)"
    wanted = f"(facts => JSON.stringify(Object.entries(facts).sort()))({json.dumps(facts)})"
    until(page, f"JSON.stringify(Object.entries({found}).sort()) === {wanted}")


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


# One class alone


def test_a_class_alone(page: Any) -> None:
    page.select_option("#pick-class", "1")
    assert fragment(page) == "#class=1"
    assert page.locator('[data-dataset="digits"] .grid:visible').count() == 0
    grids = page.locator('[data-dataset="digits"] .cells')
    assert grids.count() == 7
    for cell, noise in zip(grids.nth(1).locator(".sample").all(), (1, 4), strict=True):
        assert seen(cell) == colour(noise, 1, 1)
    assert page.locator("#pick-noise option").all_text_contents() == ["1", "4"]
    grids.nth(1).locator("button").nth(1).click()
    assert told(page) == "meanflow · 1 step · class 1 · noise 4"
    page.keyboard.press("ArrowRight")
    assert told(page).endswith("noise 4"), "the next is of another class"
    page.keyboard.press("ArrowLeft")
    assert told(page).endswith("noise 1")
    page.keyboard.press("Escape")
    comes_back(page, {"className": "cell", "line": "1", "step": "0", "noise": "1"})
    page.select_option("#pick-class", "")
    assert fragment(page) == "#noise=1"
    assert page.locator('[data-dataset="digits"] .grid:visible').count() == 7


def test_choosing_a_class_drops_a_noise_of_another(page: Any) -> None:
    page.select_option("#pick-noise", "5")
    page.select_option("#pick-class", "0")
    assert fragment(page) == "#class=0"
    assert page.locator(".path h3").text_content() == "The path of noise 0, class 0"


# The path of one noise


def test_the_path_of_one_noise_goes_through_all_methods_and_steps(page: Any) -> None:
    page.select_option("#pick-noise", "4")
    assert fragment(page) == "#noise=4"
    rows = page.locator(".paths tbody tr")
    assert rows.count() == 3
    for line in range(3):
        cells = rows.nth(line).locator("td")
        assert METHODS[line] in rows.nth(line).locator("th").text_content()
        for step in range(3):
            if line and step == 2:
                assert cells.nth(step).text_content() == "–"
            else:
                assert seen(cells.nth(step).locator(".sample")) == colour(4, line, 2**step)
    assert page.locator(".paths img").first.get_attribute("alt") == "flow_matching, 1 step, class 1, noise 4"


def test_a_click_on_the_path_enlarges_and_the_focus_comes_back(page: Any) -> None:
    page.locator(".paths button").nth(1).click()
    assert told(page) == "flow_matching · 2 steps · class 0 · noise 0"
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Escape")
    comes_back(page, {"className": "cell", "line": "0", "step": "1", "noise": "1"})
    assert page.locator(".path h3").text_content() == "The path of noise 1, class 1"
    assert page.locator(".path :focus").count() == 1


def test_the_chosen_noise_is_marked_in_every_grid(page: Any) -> None:
    page.select_option("#pick-noise", "5")
    marks = page.locator(".here")
    assert marks.count() == 7
    grid_box, mark = page.locator(".grid").first.bounding_box(), marks.first.bounding_box()
    assert mark["x"] + mark["width"] == pytest.approx(grid_box["x"] + grid_box["width"], abs=1)
    assert mark["y"] + mark["height"] == pytest.approx(grid_box["y"] + grid_box["height"], abs=1)
    assert mark["width"] * 98 / 32 == pytest.approx(grid_box["width"], abs=2)


@pytest.mark.parametrize("width", [360, 1440])
def test_a_sample_shows_nothing_of_its_neighbours(width: int, site: Path) -> None:
    """Also where its size on the screen is no whole number of pixels: between samples a grid is white."""
    with browser_page(site / "samples.html", width=width, dark=True) as page:
        for noise in range(6):
            page.select_option("#pick-noise", str(noise))
            for step in range(3):
                sample = page.locator(".paths tbody tr").first.locator(".sample").nth(step)
                with Image.open(BytesIO(sample.screenshot())) as image:
                    greens = [pixel[1] for _, pixel in image.convert("RGB").getcolors(10_000) or []]  # type: ignore[index]
                assert max(greens) <= colour(noise, 0, 1)[1] + 2


# Links to a state


def open_at(site: Path, state: str) -> Any:
    return browser_page(f"{(site / 'samples.html').resolve().as_uri()}{state}")


@pytest.mark.parametrize(
    ("state", "shown"),
    [
        ("#class=2&noise=5", ("2", "5", "The path of noise 5, class 2")),
        ("#class=2", ("2", "2", "The path of noise 2, class 2")),
        ("#noise=3", ("", "3", "The path of noise 3, class 0")),
        ("#class=2&noise=3", ("2", "2", "The path of noise 2, class 2")),
        ("#class=77&noise=99", ("", "0", "The path of noise 0, class 0")),
        ("#class=x&noise=-1", ("", "0", "The path of noise 0, class 0")),
    ],
)  # fmt: skip
def test_a_link_leads_to_a_state(state: str, shown: tuple[str, str, str], site: Path) -> None:
    with open_at(site, state) as page:
        assert page.input_value("#pick-class") == shown[0]
        assert page.input_value("#pick-noise") == shown[1]
        assert page.locator(".path h3").text_content() == shown[2]


def test_another_fragment_is_followed(page: Any) -> None:
    page.evaluate("location.hash = '#class=2&noise=5'")
    until(page, "document.querySelector('.path h3').textContent.includes('noise 5')")
    assert page.input_value("#pick-class") == "2"


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
