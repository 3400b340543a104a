"""How to cite a comparison: a paragraph a table of scores, as text and as LaTeX, and the BibTeX of all that they cite.

    citation = citation_of(content)
    citation.paragraphs[0].text, citation.bibtex

reports.papers.account writes the sentences.
"""

from dataclasses import dataclass

from reports.papers import account, literature, prose
from reports.papers.prose import Prose
from reports.site.content import Content
from reports.table import Line, Table
from reports.tables import conditions_of


@dataclass(frozen=True)
class Paragraph:
    title: str  # "digits, T/2, 240 epochs"
    protocol: str
    prose: Prose
    notes: tuple[str, ...]  # what a reader of it would ask and the rows do not say

    @property
    def text(self) -> str:
        return prose.plain(self.prose)

    @property
    def latex(self) -> str:
        return prose.latex(self.prose)


@dataclass(frozen=True)
class Citation:
    paragraphs: tuple[Paragraph, ...]

    @property
    def bibtex(self) -> str:
        """Of all that the paragraphs cite, by key; "" where there is none."""
        keys = {key for paragraph in self.paragraphs for key in prose.cited(paragraph.prose)}
        return literature.bibtex(prose.REFERENCES[key] for key in keys) if keys else ""


def citation_of(content: Content) -> Citation:
    """A table without a value has no paragraph."""
    return Citation(tuple(_paragraph(table, content) for table in content.qualities if any(map(_valued, table.lines))))


def _paragraph(table: Table, content: Content) -> Paragraph:
    lines = sorted(filter(_valued, table.lines), key=lambda line: line.name)
    used = account.Used(table, tuple(lines), content.descriptions)
    conditions = conditions_of(table.group["protocol"], content.descriptions)
    found = account.text(used, conditions, content.rows)
    return Paragraph(table.title, table.group["protocol"], found, tuple(account.notes(used, conditions)))


def _valued(line: Line) -> bool:
    return any(cell.values for cell in line.cells)
