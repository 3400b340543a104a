"""A site that was rendered, as tests read it: every page's cells, ids, links and tags."""

import html
import posixpath
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from bench import rows
from bench.store import Root
from reports.render import render
from result_rows import save


class Page(HTMLParser):
    """Tables as text with the machine-readable value and link of each cell, plus all ids, links and tags."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text
        self.cells: list[dict[str, Any]] = []
        self.ids: list[str] = []
        self.links: list[str] = []  # also of pictures, styles and scripts
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.tables: list[str] = []  # classes of the tables that are open
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append(tag)
        self.attributes += attrs
        self.ids += [str(given["id"])] if given.get("id") else []
        if tag == "table":
            self.tables.append(given.get("class") or "")
        if tag == "td":
            table = self.tables[-1] if self.tables else ""
            self.cells.append({"text": "", "value": None, "link": None, "class": given.get("class"), "table": table})
        self.links += [str(given[name]) for name in ("href", "src") if given.get(name)]
        if tag == "a" and given.get("href") and self.cells and self.cells[-1]["link"] is None:
            self.cells[-1]["link"] = given["href"]
        if tag == "data" and self.cells:
            self.cells[-1]["value"] = float(str(given["value"]))

    def handle_endtag(self, tag: str) -> None:
        if tag == "table":
            self.tables.pop()

    def handle_data(self, data: str) -> None:
        if self.cells:
            self.cells[-1]["text"] += data

    def cells_of(self, kind: str) -> list[dict[str, Any]]:
        """With a value, in the tables of a class."""
        return [cell for cell in self.cells if cell["value"] is not None and kind in cell["table"].split()]


def table_rows(text: str) -> list[list[str]]:
    """The cells' texts, heads too, of every row of every table of a page."""
    rows = re.findall(r"<tr[^>]*>(.*?)</tr>", text, re.DOTALL)
    cells = (re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL) for row in rows)
    return [[html.unescape(re.sub(r"<[^>]*>", "", cell)).strip() for cell in row] for row in cells]


def pages_of(site: Path) -> dict[str, Page]:
    """By place in the site."""
    return {file.relative_to(site).as_posix(): Page(file.read_text(encoding="utf-8")) for file in sorted(site.rglob("*.html"))}


def rendered(root: Root, given: list[rows.Row], out: Path) -> dict[str, Page]:
    """The pages of the site of these rows."""
    save(root, given)
    return pages_of(render(root, out).parent)


def leading_nowhere(site: Path) -> list[tuple[str, str]]:
    """(page, link) of all links without a target: no such file in the site, or no such id in it."""
    pages = pages_of(site)
    found = []
    for place, page in pages.items():
        for link in page.links:
            target, _, fragment = link.partition("#")
            if target.startswith(("data:", "https://arxiv.org/abs/")):
                continue
            file = posixpath.normpath(posixpath.join(posixpath.dirname(place), target)) if target else place
            known = file in pages and (not fragment or "=" in fragment or fragment in pages[file].ids)
            if not (known or (not fragment and not file.startswith("..") and (site / file).is_file())):
                found.append((place, link))
    return found
