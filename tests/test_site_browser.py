"""The whole site in a real browser: no error, no request, nothing out of reach of a keyboard or a screen reader."""

from pathlib import Path
from typing import Any

import pytest

from bench.store import Root
from reports.render import render
from result_rows import HOSTILE, failed, realistic, row, save
from site_browser import NO_BROWSER, browser_page

pytestmark = pytest.mark.skipif(bool(NO_BROWSER), reason=NO_BROWSER)
SCREENS = {"phone": (360, False), "desk, dark": (1440, True)}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of made-up rows with a failure, and a method and run with hostile names."""
    root = Root(tmp_path_factory.mktemp("root"))
    odd = [row(HOSTILE, seed, value=2.0 + seed, run=f"{HOSTILE}{seed}") for seed in (0, 1)]
    save(root, [*realistic(), *odd, failed(HOSTILE, 2, run="a" * 300, reason=HOSTILE)])
    return render(root, tmp_path_factory.mktemp("out") / "site").parent


def pages(site: Path) -> list[Path]:
    """All of the site; of the runs and methods two each."""
    found = sorted(site.glob("*.html"))
    return [*found, *sorted(site.glob("runs/*.html"))[:2], *sorted(site.glob("methods/*.html"))[:2]]


@pytest.mark.parametrize("screen", SCREENS)
def test_every_page_is_accessible_and_fits(screen: str, site: Path) -> None:
    from axe_playwright_python.sync_playwright import Axe

    width, dark = SCREENS[screen]
    for path in pages(site):
        with browser_page(path, width=width, dark=dark) as page:
            found = Axe().run(page, options={"preload": False}).response["violations"]
            bad = [(v["id"], v["nodes"][0]["html"][:200]) for v in found if v["impact"] in ("serious", "critical")]
            assert not bad, (path.name, bad)
            assert page.evaluate("document.documentElement.scrollWidth") <= width, (path.name, "scrolls sideways")


def test_without_scripts_all_is_there(site: Path) -> None:
    for path in pages(site):
        with browser_page(path, scripts=False) as page:
            assert page.locator("main h1").count() == 1, path.name


def compared(page: Any) -> str:
    return str(page.locator("#compared").inner_text())


def test_two_runs_are_chosen_kept_in_the_address_and_swapped(site: Path) -> None:
    with browser_page(site / "compare.html") as page:
        page.select_option("#second", "digits-meanflow-T-2-s0-abc")
        page.select_option("#first", "digits-soflow-T-2-s0-abc")
        assert "b=digits-meanflow-T-2-s0-abc" in page.url
        one = compared(page)
        assert "methods.soflow" in one or "method" in one
        page.click("#swap")
        assert "a=digits-meanflow-T-2-s0-abc" in page.url
        assert compared(page) != one
        address = page.url
    with browser_page(site / "compare.html") as page:
        page.goto(address)
        page.reload()
        assert page.input_value("#first") == "digits-meanflow-T-2-s0-abc"
        assert compared(page) != one


def test_a_hostile_name_is_text_in_the_comparison(site: Path) -> None:
    with browser_page(site / "compare.html") as page:
        page.select_option("#first", f"{HOSTILE}0")
        assert HOSTILE in compared(page)
        assert page.locator("#compared script").count() == 0


def test_these_tests_notice_what_is_wrong(tmp_path: Path) -> None:
    """A request that leaves the folder, and a script's error: both fail."""
    outside = tmp_path / "page.html"
    outside.write_text('<html lang="en"><img src="http://127.0.0.1:9/x.png" alt=""><script>throw new Error("no")</script>')
    with pytest.raises(AssertionError) as caught, browser_page(outside):
        pass
    assert "request http://127.0.0.1:9/x.png" in str(caught.value)
    assert "script: no" in str(caught.value)
