"""Tables of runs and methods in a real browser: they sort, are copied, and what is folded is on paper all the same."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.store import Root, append_line
from reports.render import render
from reports.site import table_views
from reports.site.links import method_page, run_page
from result_rows import HOSTILE, realistic, row, save
from site_browser import NO_BROWSER, browser_page
from training_logs import log

pytestmark = pytest.mark.skipif(bool(NO_BROWSER), reason=NO_BROWSER)


def column(page: Any, table: str, place: int) -> list[str]:
    """The texts of a column; a cell that spans several is in the first of them."""
    return [str(text) for text in page.evaluate(
        "([table, place]) => [...document.querySelectorAll(table + ' tbody tr')].map(row => {"
        " let end = 0; return [...row.cells].find(cell => (end += cell.colSpan) > place).textContent.trim(); })", [table, place]
    )]  # fmt: skip


def test_the_rows_of_a_run_sort_also_past_one_that_failed(tmp_path: Path) -> None:
    root, run = Root(tmp_path / "root"), "one-run"
    given = [
        row("a", value=value, steps=steps, run=run, n=n) for value, steps, n in ((10.0, 1, 300), (9.0, 2, 20), (11.0, 4, 4000))
    ]
    broken = replace(row("a", value=1.0, steps=8, run=run, n=100), value=None, status="failed", reason="5 of 9 are not finite")
    save(root, [*given, broken])
    site = render(root, tmp_path / "site").parent
    with browser_page(site / run_page(run)) as page:
        heads = page.locator("table.rows th .sorts")
        heads.nth(3).click()
        failed = "failed: 5 of 9 are not finite"
        assert column(page, "table.rows", 3) == ["9.0", "10.0", "11.0", failed]
        assert page.evaluate("location.hash") == "#sort=rows.value.up"
        heads.nth(3).click()
        assert column(page, "table.rows", 3) == ["11.0", "10.0", "9.0", failed]
        heads.nth(6).click()
        assert column(page, "table.rows", 6) == ["20", "100", "300", "4000"]
        page.evaluate("location.hash = '#sort=rows.steps.down'")
        page.reload()
        assert column(page, "table.rows", 2) == ["8", "4", "2", "1"]


def test_the_tables_of_a_method_sort_and_are_copied(tmp_path: Path) -> None:
    root = Root(tmp_path / "root")
    save(root, [row(HOSTILE, k, value=1.0, run=f"run-{k}") for k in range(4)])
    for k, mse in enumerate(([3.0, 20.0], [9.0, 4.0], [1.0, 100.0])):
        root.run(f"run-{k}").write_status("finished", images=10)
        for record in log([1.0, 1.0], mse):
            append_line(root.run(f"run-{k}").train_log, json.dumps(record))
    site = render(root, tmp_path / "site").parent
    with browser_page(site / method_page(HOSTILE), permissions=["clipboard-read", "clipboard-write"]) as page:
        page.locator('.stability th[data-key="final"] .sorts').click()
        assert [text.split()[0] for text in column(page, ".stability", 0)] == ["run-1", "run-0", "run-2", "run-3"]
        assert page.locator('.steps th[data-key="score"] .sorts').count() == 1
        for place in page.locator("[data-take]").all():
            place.get_by_role("button", name="copy CSV").click()
            place.get_by_text("Copied.").wait_for()
            name = place.get_attribute("data-take")
            assert page.evaluate("navigator.clipboard.readText()") == (site / f"data/{name}.csv").read_text()
        assert page.locator("[data-take]").count() == 3
        page.reload()  # the address has it
        assert [text.split()[0] for text in column(page, ".stability", 0)] == ["run-1", "run-0", "run-2", "run-3"]


def test_folds_are_open_while_a_page_is_printed(tmp_path: Path) -> None:
    root = Root(tmp_path / "root")
    save(root, realistic())
    site = render(root, tmp_path / "site").parent
    opened = "[...document.querySelectorAll('details[open]')].map(fold => fold.className).sort()"
    for place in ("index.html", "cost.html"):
        with browser_page(site / place) as page:
            page.locator("details.parity > summary").first.click()
            before = page.evaluate(opened)
            page.evaluate(f"addEventListener('beforeprint', () => {{ window.printed = {opened}; }})")
            page.pdf()
            printed = page.evaluate("window.printed")
            assert len(printed) == page.locator("details[data-prints]").count() > len(before)
            assert {"fold", "fold parity"} <= set(printed)
            assert page.evaluate(opened) == before, "what the reader opened stays"


def test_whole_tables_open_their_folds_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_views, "ALL", 3)
    monkeypatch.setattr(table_views, "SHORT", 3)
    monkeypatch.setattr(table_views, "FEWEST", 1)
    root = Root(tmp_path / "root")
    save(root, realistic())
    site = render(root, tmp_path / "site").parent
    [whole] = (site / "tables").iterdir()
    with browser_page(whole) as page:
        page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
        assert page.locator("details[data-prints]:not([open])").count() == 0
        assert page.locator("details[data-prints]").count() >= 3
