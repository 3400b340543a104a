"""`bench report --pdf`: one document of the pages, printed by the browser that is there, and what happens without one."""

import re
from pathlib import Path

import pytest

from bench.store import Root
from command_line import bench, mistake
from reports.render import build
from reports.site import pdf
from result_rows import HOSTILE, PROTOCOL, described, realistic, row, save
from site_browser import BROWSER, NO_BROWSER
from site_pages import Page


@pytest.fixture
def root(tmp_path: Path) -> Root:
    root = Root(tmp_path / "a")
    save(root, [row(value=1.0)])
    return root


def report(root: Root, *words: str) -> list[str]:
    return ["report", str(root.path), "--out", str(root.path.parent / "site"), *words]


def test_without_a_browser_the_pages_are_written_all_the_same(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pdf.shutil, "which", lambda _: None)
    target = root.path.parent / "report.pdf"
    assert "No browser on the PATH" in mistake(bench(*report(root, "--pdf", str(target))))
    assert (root.path.parent / "site" / "index.html").is_file()
    assert not target.exists()


@pytest.mark.parametrize(("script", "words"), [("exit 3", "made no PDF (it did not say why)"), ("exit 0", "ended without")])
def test_a_browser_that_fails_leaves_the_earlier_pdf(
    script: str, words: str, root: Root, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = tmp_path / "chromium"
    browser.write_text(f"#!/bin/sh\n{script}\n")
    browser.chmod(0o755)
    monkeypatch.setattr(pdf.shutil, "which", lambda _: str(browser))
    target = tmp_path / "report.pdf"
    target.write_bytes(b"earlier")
    result = bench(*report(root, "--pdf", str(target)))
    assert result.exit_code == 1
    assert words in result.stderr
    assert target.read_bytes() == b"earlier"
    assert not list(tmp_path.glob(".report.pdf*"))


@pytest.mark.skipif(not BROWSER, reason=NO_BROWSER)
def test_a_pdf_of_the_pages(root: Root, tmp_path: Path) -> None:
    target = tmp_path / "report.pdf"
    result = bench(*report(root, "--pdf", str(target)))
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [str(tmp_path / "site" / "index.html"), str(target)]
    data = target.read_bytes()
    assert data.startswith(b"%PDF")
    assert len(re.findall(rb"/Type\s*/Page\b", data)) >= len(pdf.PAGES)
    assert str(tmp_path).encode() not in data


def test_the_document_has_all_pages_and_links_that_lead_somewhere(tmp_path: Path) -> None:
    root = Root(tmp_path / "a")
    known = {"digits-soflow-T-2-s0-abc": described("x", "soflow") | {"protocols": {PROTOCOL: {"samples": 2000}}}}
    save(root, [*realistic(), row(HOSTILE, run=HOSTILE)], known)
    files = build([root], tmp_path / "site").files
    text = pdf.document(files)
    page = Page(text)
    assert "script" not in page.tags
    assert len(page.ids) == len(set(page.ids))
    assert {f"page-{place.removesuffix('.html')}" for place in pdf.PAGES} <= set(page.ids)
    inside = {
        str(value)[1:] for name, value in page.attributes if name in ("href", "xlink:href") and str(value).startswith("#")
    }
    assert f"page-provenance-protocol-{PROTOCOL}" in inside
    assert inside <= set(page.ids)
    labels = [value for name, value in page.attributes if name == "aria-labelledby"]
    assert {word for label in labels for word in str(label).split()} <= set(page.ids)
    shown = [link for link in page.links if not link.startswith(("#", "https://", "data:"))]
    assert {link for link in shown if not link.endswith(".css")} <= set(files)


def test_a_page_that_lost_its_main_part_is_noticed() -> None:
    with pytest.raises(ValueError, match="no main part"):
        pdf.document({"index.html": b"<html></html>"}, ["index.html"])
