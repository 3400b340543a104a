"""The page of sample grids in a browser: one class alone, one noise's path through methods and steps, links to a state."""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from sample_browsing import comes_back, fragment, sample_pages, seen, told
from sample_grids import METHODS, colour
from site_browser import NO_BROWSER, browser_page, until

pytestmark = pytest.mark.skipif(bool(NO_BROWSER), reason=NO_BROWSER)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sample_pages(tmp_path_factory.mktemp("samples"))


@pytest.fixture
def page(site: Path) -> Iterator[Any]:
    with browser_page(site / "samples.html") as found:
        yield found


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
