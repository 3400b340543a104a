"""Charts in a real browser, from disk, under the pages' content security policy."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from bench.store import Root
from reports.render import render
from result_rows import HOSTILE, described, realistic, row, save
from site_browser import NO_BROWSER, browser_page, until

pytestmark = pytest.mark.skipif(bool(NO_BROWSER), reason=NO_BROWSER)
LIVE = "document.querySelectorAll('figure.chart.live .main-svg').length"
CHART = "#steps figure.chart:first-child"  # Fréchet distance against steps
BOX = "document.querySelector('.chart-box')"
MEANFLOW = (
    "[...document.querySelectorAll('.chart-box')].map(b => b.data.some(t => t.name === 'meanflow' && t.visible === true))"
)
RATE = "train_images_per_second"
SPECS = "[...document.querySelectorAll('.chart-spec')].map(script => JSON.parse(script.textContent))"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("charts")
    root = Root(folder / "root")
    zero = row(HOSTILE, value=0.0, metric="kernel_distance", run="one-run")
    given = [*realistic(), row(HOSTILE, value=20.0, run="one-run"), zero]
    save(root, given, {"one-run": described("one-run", HOSTILE)})
    run = root.run("digits-soflow-T-2-s0-abc")
    run.path.mkdir(parents=True)
    run.write_status("finished", images=4)
    run.train_log.write_text("".join(json.dumps({"images": i, "epoch": i / 2, "mse": 1 / i}) + "\n" for i in (1, 2, 3)))
    return render(root, folder / "site").parent


def live(page: Any) -> None:
    """Wait for the first chart to be interactive."""
    until(page, f"{LIVE} > 0")


def shown(page: Any) -> list[str]:
    """The lines that the first chart draws, as Plotly has them."""
    return [str(name) for name in page.evaluate(f"{BOX}.data.filter(t => t.visible !== 'legendonly').map(t => t.name)")]


def points(page: Any) -> Any:
    """Of the first chart, best line first."""
    return page.locator(f"{CHART} .points path.point")


def test_a_chart_becomes_interactive_and_says_its_values(site: Path) -> None:
    with browser_page(site / "quality.html") as page:
        live(page)
        assert not page.locator(f"{CHART} > svg").first.is_visible()
        keys = page.locator(f"{CHART} .legendtext").all_text_contents()
        assert keys == [HOSTILE, "flow_matching", "meanflow", "soflow", "real against real"]
        assert HOSTILE in page.locator(".switches").text_content()
        assert page.locator(f"{CHART} .modebar-btn").count() == 2, "zoom and reset; no logo, nothing that sends"
        points(page).first.hover(force=True)
        page.wait_for_selector(".hovertext")
        said = page.locator(".hovertext").first.text_content()
        [cell] = page.evaluate(f"{BOX}.data.filter(t => t.name === 'soflow').map(t => t.text[0])")
        assert said == f"soflowsteps (network evaluations per image): 1Fréchet distance ↓: {cell}"


def test_without_scripts_the_drawing_and_the_data_are_there(site: Path) -> None:
    with browser_page(site / "quality.html", scripts=False) as page:
        assert page.locator(f"{CHART} > svg").first.is_visible()
        page.locator(f"{CHART} summary").first.click()
        assert page.locator(f"{CHART} details td a").first.is_visible()
        assert page.locator(".switches").count() == 0


@pytest.mark.parametrize("library", ["'no chart library';", "window.Plotly = {react() { throw new Error('of its own'); }};"])
def test_without_plotly_the_drawing_stays(site: Path, tmp_path: Path, library: str) -> None:
    broken = shutil.copytree(site, tmp_path / "site")
    (broken / "assets/plotly.min.js").write_text(library)
    with browser_page(broken / "quality.html") as page:
        page.wait_for_timeout(500)
        assert page.locator(f"{CHART} > svg").first.is_visible()
        assert page.locator(".chart-box").count() == 0


def test_a_line_is_switched_off_in_all_charts_and_in_the_address(site: Path) -> None:
    with browser_page(site / "quality.html") as page:
        live(page)
        assert "meanflow" in shown(page)
        page.get_by_role("checkbox", name="meanflow").uncheck()
        assert "meanflow" not in shown(page)
        assert page.evaluate("location.hash") == "#off=meanflow"
        page.evaluate("document.querySelectorAll('figure.chart')[1].scrollIntoView()")
        until(page, f"{LIVE} > 1")
        others = page.evaluate(MEANFLOW)
        assert others
        assert not any(others)
        page.get_by_role("checkbox", name="meanflow").check()
        assert "meanflow" in shown(page)
        assert "off" not in page.evaluate("location.hash")
        page.get_by_role("button", name="none").click()
        assert shown(page) == ["real against real"]
        page.locator(f"{CHART} .legendtoggle").nth(3).click()  # the key is a switch too
        until(page, "!location.hash.includes(',soflow')")
        page.wait_for_timeout(500)  # Plotly waits for a second click before it does what it does by itself
        assert shown(page) == ["soflow", "real against real"]
        page.get_by_role("button", name="all").click()
        assert len(shown(page)) == 5


def test_a_bar_has_its_value_behind_its_error_bar_and_goes_with_it(tmp_path: Path) -> None:
    rates = {"soflow": (100.0, 140.0), "meanflow": (60.0, 61.0)}
    save(Root(tmp_path), [row(m, s, RATE, v, unit="images/s") for m, of in rates.items() for s, v in enumerate(of)])
    texts = "[...document.querySelectorAll('.chart-box .annotation-text')]"
    with browser_page(render(Root(tmp_path), tmp_path / "site").parent / "cost.html") as page:
        live(page)
        assert page.evaluate(f"{texts}.map(t => t.textContent)") == ["120 ± 28", "60.50 ± 0.71"]
        errors = page.evaluate("[...document.querySelectorAll('.chart-box .xerror')].map(e => e.getBoundingClientRect().right)")
        values = page.evaluate(f"{texts}.map(t => t.getBoundingClientRect().left)")
        assert [0 < value - error < 15 for value, error in zip(values, errors, strict=True)] == [True, True]
        page.get_by_role("checkbox", name="soflow").uncheck()
        until(page, f"{texts}.length === 1")


def test_a_link_has_the_switches(site: Path) -> None:
    with browser_page(f"{(site / 'quality.html').resolve().as_uri()}#off=meanflow,soflow") as page:
        live(page)
        assert not {"meanflow", "soflow"} & set(shown(page))
        assert not page.get_by_role("checkbox", name="soflow", exact=True).is_checked()
        page.evaluate("location.hash = '#off=soflow'")
        until(page, "document.querySelector('.switches input[value=meanflow]').checked")
        assert "meanflow" in shown(page)


def test_the_scale_of_y_is_switched(site: Path) -> None:
    kind = f"{BOX}._fullLayout.yaxis.type"
    with browser_page(site / "quality.html") as page:
        live(page)
        button = page.locator(f"{CHART} .chart-scale").first
        assert [page.evaluate(kind), button.get_attribute("aria-pressed")] == ["log", "true"]
        button.press("Enter")
        assert [page.evaluate(kind), button.get_attribute("aria-pressed")] == ["linear", "false"]
        offered = page.evaluate(f"{SPECS}.map(spec => spec.log.may)")
        assert offered[0]
        assert not all(offered), "a kernel distance is zero"


def test_the_scales_are_in_the_address(site: Path) -> None:
    kind = f"{BOX}._fullLayout.yaxis.type"
    pressed = f"document.querySelector('{CHART} .chart-scale').getAttribute('aria-pressed')"
    with browser_page(site / "quality.html") as page:
        live(page)
        name = page.locator(CHART).get_attribute("id")
        button = page.locator(f"{CHART} .chart-scale").first
        button.click()
        assert page.evaluate("location.hash") == f"#log={name}"
        page.get_by_role("checkbox", name="meanflow").uncheck()
        address = page.url
        page.evaluate("location.hash = '#off=meanflow'")  # as the reader goes back
        until(page, f"{kind} === 'log' && {pressed} === 'true'")
        page.evaluate(f"location.hash = '#log={name}'")
        until(page, f"{kind} === 'linear' && {pressed} === 'false'")
        button.click()
        assert page.evaluate(kind) == "log"
        assert "log" not in page.evaluate("location.hash")
    with browser_page(address) as page:
        live(page)
        assert [page.evaluate(kind), page.evaluate(pressed)] == ["linear", "false"]
        assert "meanflow" not in shown(page)
        zero = page.evaluate(f"document.querySelectorAll('figure.chart')[{SPECS}.findIndex(spec => !spec.log.may)].id")
    with browser_page(f"{(site / 'quality.html').resolve().as_uri()}#log={zero},no-such-chart") as page:
        live(page)
        page.evaluate(f"document.getElementById('{zero}').scrollIntoView()")
        until(page, f"document.querySelector('#{zero}.live .main-svg')")
        assert page.evaluate(f"document.querySelector('#{zero} .chart-box')._fullLayout.yaxis.type") == "linear"


def test_a_point_opens_its_run_or_names_its_runs(site: Path) -> None:
    with browser_page(site / "quality.html") as page:
        live(page)
        click = f"([i, k]) => {BOX}.emit('plotly_click', {{points: [{{curveNumber: i, pointNumber: k}}]}})"
        names = page.evaluate(f"{BOX}.data.map(t => t.name)")
        page.evaluate(click, [names.index("soflow"), 1])
        runs = page.locator(".chart-runs a")
        assert runs.all_text_contents() == ["digits-soflow-T-2-s0-abc", "digits-soflow-T-2-s1-abc"]
        assert page.evaluate("document.activeElement.className") == "chart-runs"
        one = next(i for i, name in enumerate(names) if "script" in name)
        page.evaluate(click, [one, 0])
        page.wait_for_url("**/runs/one-run.html")


def test_a_click_with_the_mouse_is_a_click_on_a_point(site: Path) -> None:
    with browser_page(site / "quality.html") as page:
        live(page)
        points(page).first.scroll_into_view_if_needed()
        box = points(page).first.bounding_box()
        page.mouse.move(box["x"] + box["width"] / 2 + 3, box["y"] + box["height"] / 2)
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        page.wait_for_selector(".hovertext")
        page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        until(page, "location.pathname.includes('/runs/') || document.querySelector('.chart-runs a')")


def test_it_follows_the_page_into_the_dark_and_onto_paper(site: Path) -> None:
    ink = f"{BOX}._fullLayout.font.color"
    with browser_page(site / "quality.html") as page:
        live(page)
        assert page.evaluate(ink) == "#1c1e21"
        page.emulate_media(color_scheme="dark")
        until(page, f"{ink} === '#e8e6e1'")
        page.emulate_media(media="print")
        assert page.locator(f"{CHART} > svg").first.is_visible()
        assert not page.locator(".chart-box").first.is_visible()


def test_it_fits_a_phone_and_grows_with_the_window(site: Path) -> None:
    with browser_page(site / "quality.html", width=360) as page:
        live(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        narrow = page.locator(".chart-box .main-svg").first.bounding_box()["width"]
        page.set_viewport_size({"width": 800, "height": 900})
        until(page, f"document.querySelector('.chart-box .main-svg').getBoundingClientRect().width > {narrow}")


@pytest.mark.parametrize("place", ["cost.html", "training.html"])
def test_other_pages_have_live_charts(site: Path, place: str) -> None:
    with browser_page(site / place) as page:
        page.locator("figure.chart").first.scroll_into_view_if_needed()
        live(page)


@pytest.mark.parametrize("dark", [False, True])
def test_axe_finds_nothing_serious(site: Path, dark: bool) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    with browser_page(site / "quality.html", dark=dark) as page:
        live(page)
        page.locator(f"{CHART} summary").first.click()
        found = axe.run(page, options={"preload": False}).response["violations"]
        assert not [(v["id"], v["nodes"][0]["html"][:200]) for v in found if v["impact"] in ("serious", "critical")]
