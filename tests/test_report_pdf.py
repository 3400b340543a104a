"""`bench report --pdf`: one document of the pages, printed by the browser that is there, and what happens without one."""

import re
from pathlib import Path

import pytest

from bench.store import Root
from command_line import bench, mistake
from published_page import CLAIMS
from reports.render import build
from reports.site import pdf
from reports.site.links import method_page
from result_rows import HOSTILE, PROTOCOL, described, realistic, row, save
from site_browser import BROWSER, NO_BROWSER
from site_pages import Page
from test_claimed import CONDITIONS, in_recipe, ours


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
    assert len(re.findall(rb"/Type\s*/Page\b", data)) >= len(pdf.PAGES)  # one method: as many as there are entries
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
    places = pdf.among(files)
    own = sorted(place for place in files if place.startswith("methods/"))
    assert own == [place for place in places if place not in pdf.PAGES]
    assert len(own) == 4
    assert [place for place in places if place in pdf.PAGES] == [place for place in pdf.PAGES if place != "methods/"]
    assert [name for name in page.ids if name.endswith(".html")] == [f"page-{place}" for place in places]
    inside = {
        str(value)[1:] for name, value in page.attributes if name in ("href", "xlink:href") and str(value).startswith("#")
    }
    assert f"page-provenance.html-protocol-{PROTOCOL}" in inside  # from pages beside it and from those of methods
    assert f"page-{method_page('soflow')}" in inside
    assert inside <= set(page.ids)
    labels = [value for name, value in page.attributes if name == "aria-labelledby"]
    assert {word for label in labels for word in str(label).split()} <= set(page.ids)
    shown = [link for link in page.links if not link.startswith(("#", "https://", "data:"))]
    assert {link for link in shown if not link.endswith(".css")} <= set(files)


def test_methods_whose_names_begin_alike_have_ids_of_their_own(tmp_path: Path) -> None:
    root = Root(tmp_path / "a")
    save(root, [row("mine", value=1.0), row("mine-paper", value=2.0), row("mine-paper-title", value=2.0)])
    page = Page(pdf.document(build([root], tmp_path / "site").files))
    assert len(page.ids) == len(set(page.ids))


def folds(text: str) -> dict[str, list[bool]]:
    """By what a <details> is called: whether each of them is open."""
    found: dict[str, list[bool]] = {}
    for attributes, called in re.findall(r"<details\b([^>]*)>\s*<summary>(.*?)</summary>", text, re.DOTALL):
        name = re.sub(r"<[^>]*>", " ", called).split()[0]
        found.setdefault("claims" if "claims" in attributes else name, []).append(bool(re.search(r"\sopen\b", attributes)))
    return found


def test_what_the_numbers_rest_on_is_open_in_the_document(tmp_path: Path) -> None:
    root = Root(tmp_path / "a")
    claimed = ours(12.0)
    description = described(claimed.run, "soflow", **in_recipe(CLAIMS["soflow-b4-1"])) | {"protocols": {"p": CONDITIONS}}
    save(root, [*realistic(), claimed, row("alone", value=1.0, metric="class_accuracy")], {claimed.run: description})
    files = build([root], tmp_path / "site").files
    pages, printed = folds("".join(files[place].decode() for place in pdf.among(files))), folds(pdf.document(files))
    for name in ("Parity", "Differences", "Every", "What"):
        assert set(pages[name]) == {False}
        assert set(printed[name]) == {True}, name
    assert printed["claims"] == pages["claims"]
    assert set(printed["claims"]) == {False, True}, "published tables without a figure of ours stay closed"
    for name in ("Data", "BibTeX", "LaTeX"):
        assert set(printed[name]) == {False}, name


def test_a_page_that_lost_its_main_part_is_noticed() -> None:
    with pytest.raises(ValueError, match="no main part"):
        pdf.document({"index.html": b"<html></html>"}, ["index.html"])
