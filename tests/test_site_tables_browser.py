"""The tables in a real browser: sorting, filters, links to a state, copying; with a mouse, with keys, and without scripts."""

from pathlib import Path
from typing import Any

import pytest

from bench.store import Root
from published_page import CLAIMS
from reports.render import render
from reports.site.content import gather
from reports.site.exports import table_name
from result_rows import HOSTILE, described, realistic, row, save
from site_browser import NO_BROWSER, browser_page, until
from test_claimed import CONDITIONS, in_recipe, ours

pytestmark = pytest.mark.skipif(bool(NO_BROWSER), reason=NO_BROWSER)

SCORES = {"c": 3.0, "a": 10.0, "d": None, "b": 2.0, "e": 10.0}  # d has no value at one step


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Three data sets: one real-looking, one whose lines have to be sorted, one that papers report. And that table's name."""
    root = Root(tmp_path_factory.mktemp("root"))
    given = realistic()
    for name, score in SCORES.items():
        more: dict[str, Any] = {"dataset": HOSTILE, "net": "N/4", "run": f"run-{name}"}
        given += [row(name, value=score, **more)] if score is not None else []
        given += [row(name, value=1.0, steps=2, **more), row(name, metric="class_accuracy", value=0.5, **more)]
    claimed = [ours(12.0), ours(11.0, method="flow_matching", run="fm")]
    known = {r.run: described(r.run, r.method, **in_recipe(CLAIMS["soflow-b4-1"])) for r in claimed}
    save(root, [*given, *claimed], {run: description | {"protocols": {"p": CONDITIONS}} for run, description in known.items()})
    [table] = [table for table in gather(root).qualities if table.group["dataset"] == HOSTILE]
    return render(root, tmp_path_factory.mktemp("out") / "site").parent, table_name(table)


@pytest.fixture(scope="module")
def site(made: tuple[Path, str]) -> Path:
    return made[0]


@pytest.fixture(scope="module")
def name(made: tuple[Path, str]) -> str:
    return made[1]


def order(page: Any, name: str) -> str:
    """The lines' names, in a row."""
    cells = page.locator(f'[data-table="{name}"] > .scroll tbody tr:not(.claimed) > th')
    return "".join(text.strip() for text in cells.all_text_contents())


def head(page: Any, name: str, key: str) -> Any:
    return page.locator(f'[data-table="{name}"] > .scroll th[data-key="{key}"]')


def test_a_click_sorts_the_better_end_first_and_missing_last(site: Path, name: str) -> None:
    with browser_page(site / "index.html") as page:
        came = order(page, name)
        assert came == "bcaed"
        column = head(page, name, "frechet_distance-1")
        states = []
        for _ in range(3):
            column.locator("button").click()
            states.append((column.get_attribute("aria-sort"), order(page, name)))
        assert states == [("ascending", "bcaed"), ("descending", "aecbd"), (None, came)]
        more = head(page, name, "class_accuracy-1")
        more.locator("button").click()
        assert more.get_attribute("aria-sort") == "descending"  # more is better
        assert order(page, name) == came  # all are equal: nothing moves
        assert page.locator("th[aria-sort]").count() == 1


def test_keys_sort_too(site: Path, name: str) -> None:
    with browser_page(site / "index.html") as page:
        column = head(page, name, "method").locator("button")
        column.focus()
        page.keyboard.press("Enter")
        assert order(page, name) == "abcde"
        page.keyboard.press("Space")
        assert order(page, name) == "edcba"
        assert page.evaluate("document.activeElement.closest('th').dataset.key") == "method"


def test_a_link_leads_to_the_sorted_table(site: Path, name: str) -> None:
    with browser_page(site / "index.html") as page:
        head(page, name, "frechet_distance-1").locator("button").click()
        head(page, name, "frechet_distance-1").locator("button").click()
        address, shown = page.url, order(page, name)
        assert f"#sort={name}.frechet_distance-1.down" in address
    with browser_page(site / "index.html") as page:
        page.goto(address)
        page.reload()
        assert order(page, name) == shown == "aecbd"
        page.evaluate("location.hash = ''")
        until(page, "document.querySelectorAll('th[aria-sort]').length === 0")
        assert order(page, name) == "bcaed"
        page.evaluate("location.hash = 'sort=nobody.x.up,%E0%A4.&dataset=%'")  # nonsense is nothing
        page.wait_for_timeout(30)
        assert order(page, name) == "bcaed"


def lines_of(figure: Any) -> dict[str, list[str]]:
    """By line of ours, in the order shown: what stands beneath it."""
    texts = figure.locator("> .scroll tbody tr").evaluate_all("(rows) => rows.map((row) => [row.className, row.innerText])")
    found: dict[str, list[str]] = {}
    for kind, text in texts:
        if kind == "claimed":
            found[list(found)[-1]].append(text)
        else:
            found[text.split()[0]] = []
    return found


def test_what_was_published_stays_under_its_line(site: Path) -> None:
    with browser_page(site / "index.html") as page:
        figure = page.locator('figure[data-net="B/4"]')
        before = lines_of(figure)
        assert list(before) == ["flow_matching", "soflow"]
        assert all(before.values())
        for _ in range(2):
            figure.locator('th[data-key="method"] button').click()
        after = lines_of(figure)
        assert list(after) == ["soflow", "flow_matching"]
        assert after == before


def visible(page: Any) -> list[str]:
    found: list[str] = page.locator("figure[data-dataset]").evaluate_all(
        "(figures) => figures.filter((figure) => figure.offsetParent).map((figure) => figure.dataset.dataset)"
    )
    return found


def test_filters_hide_what_is_of_other_data_and_say_how_much(site: Path) -> None:
    with browser_page(site / "index.html") as page:
        everything = visible(page)
        assert set(everything) == {"digits", HOSTILE, "imagenet_latents"}
        status = page.locator(".filters [role=status]")
        assert status.inner_text() == f"{len(everything)} of {len(everything)} tables and charts shown"
        page.get_by_label("Data set").select_option(label=HOSTILE)
        assert set(visible(page)) == {HOSTILE}
        assert status.inner_text() == f"1 of {len(everything)} tables and charts shown"
        assert page.locator("p.headline").evaluate_all("(all) => all.filter((one) => one.offsetParent).length") == 1
        assert page.get_by_label("Network").locator("option", has_text="B/4").is_disabled()
        assert not page.get_by_label("Network").locator("option", has_text="N/4").is_disabled()
        address = page.url
    with browser_page(site / "index.html") as page:
        page.goto(address)
        page.reload()
        assert set(visible(page)) == {HOSTILE}
        page.get_by_role("button", name="Show all").click()
        assert visible(page) == everything
        assert "dataset" not in page.url


def test_filters_offer_only_what_there_is(site: Path) -> None:
    with browser_page(site / "cost.html") as page:
        assert page.get_by_label("Data set").count() == 0  # all of it is of one: nothing to choose
    with browser_page(site / "index.html") as page:
        options = page.get_by_label("Network").locator("option").all_text_contents()
        assert options == ["all", "B/4", "N/4", "T/2"]


@pytest.mark.parametrize(("end", "words"), [("csv", "CSV"), ("md", "Markdown"), ("tex", "LaTeX")])
def test_a_table_is_copied_as_its_file(end: str, words: str, site: Path, name: str) -> None:
    with browser_page(site / "index.html", permissions=["clipboard-read", "clipboard-write"]) as page:
        place = page.locator(f'[data-take="{name}"]')
        place.get_by_role("button", name=f"copy {words}").click()
        place.get_by_text("Copied.").wait_for()
        assert page.evaluate("navigator.clipboard.readText()") == (site / f"data/{name}.{end}").read_text(encoding="utf-8")


def test_what_can_not_be_copied_says_so(site: Path, name: str) -> None:
    with browser_page(site / "index.html") as page:
        refused = "document.execCommand = () => false; navigator.clipboard.writeText = () => Promise.reject(new Error('no'));"
        page.evaluate(f"() => {{ {refused} }}")
        page.locator(f'[data-take="{name}"]').get_by_role("button", name="copy CSV").click()
        page.get_by_text("The browser did not let it be copied").wait_for()
    with browser_page(site / "index.html") as page:  # a script that brings another table
        page.evaluate("(name) => { document.querySelector(`[data-take='${name}']`).dataset.take = 'other'; }", name)
        page.locator('[data-take="other"]').get_by_role("button", name="copy CSV").click()
        page.get_by_text("The browser did not let it be copied").wait_for()


def test_state_keeps_an_anchor_and_other_keys(site: Path) -> None:
    with browser_page(site / "index.html") as page:
        state = "window.benchState"
        page.evaluate("location.hash = '#published'")
        assert page.evaluate(f"{state}.get('published')") is None
        page.evaluate(f"{state}.set('dataset', 'a&b=c,d é'); {state}.set('off', 'x,y')")
        assert page.url.endswith("#published&dataset=a%26b%3Dc,d%20%C3%A9&off=x,y")
        assert page.evaluate(f"[{state}.get('dataset'), {state}.get('off'), {state}.get('x')]") == ["a&b=c,d é", "x,y", None]
        page.evaluate(f"{state}.set('dataset', ''); {state}.set('off', null)")
        assert page.evaluate(f"[{state}.get('dataset'), {state}.get('off')]") == ["", None]
        assert page.url.endswith("#published&dataset=")


def test_without_scripts_every_table_is_there_and_nothing_that_does_nothing(site: Path) -> None:
    with browser_page(site / "index.html", scripts=False) as page:
        assert len(visible(page)) == page.locator("figure[data-dataset]").count() >= 3
        assert page.locator("main button, main select").count() == 0
        assert page.locator(".take a").first.get_attribute("href").startswith("data/")
