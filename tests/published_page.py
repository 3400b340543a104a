"""The published claims, and the page's tables of them as text."""

from html.parser import HTMLParser

from reports import published, sheets
from reports.site.templating import environment

CLAIMS = {claim.id: claim for claim in published.load().claims}


class Cells(HTMLParser):
    """The body rows of the page's tables, each cell as text, and all tags and attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.values: list[float] = []
        self.tags: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag == "data":
            self.values.append(float(str(dict(attrs)["value"])))

    def handle_data(self, data: str) -> None:
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] += data


def page_of(found: list[sheets.Sheet]) -> str:
    template = environment().from_string('{% from "_published.html.j2" import published %}{{ published(found) }}')
    return template.render(found=found)
