"""Tables of published numbers, for the page and the terminal: claimed, ours, the difference, what differs, the source.

    frame, descriptions = bench.rows.read(root.results)
    tables = quality(frame, descriptions) + cost(frame, descriptions)
    print(render(sheets(tables, descriptions), "markdown"))

Without results the claims stand alone.
"""

import csv
import dataclasses
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.errors import unknown
from reports.claimed import Pairing, missing_data, pairings
from reports.forms import escape_markdown
from reports.latex.tables import NEEDS, text_table
from reports.lines import Descriptions
from reports.published import CERTAINTIES, Claim, load
from reports.table import Table

HEADS = ("figure", "score", "claimed", "ours", "difference", "what differs, or how to get ours", "source")
NUMBERS = tuple(head in ("claimed", "ours", "difference") for head in HEADS)


@dataclass(frozen=True)
class Sheet:
    title: str
    pairings: tuple[Pairing, ...]

    @property
    def measured(self) -> bool:
        """Something of ours is beside a claim."""
        return any(pairing.ours is not None for pairing in self.pairings)

    @property
    def notes(self) -> list[str]:
        """What the marks mean, and which data sets the commands wait for."""
        marks = dict.fromkeys(pairing.claim.certainty for pairing in self.pairings)
        found = [" ".join(CERTAINTIES[name]) for name in marks if CERTAINTIES[name][0]]
        absent = missing_data(self.pairings)
        return found + [f"The data set {name} is not in this version of the suite." for name in absent]

    @property
    def commands(self) -> list[str]:
        """What would make ours, each once."""
        return list(dict.fromkeys(pairing.command for pairing in self.pairings if pairing.command))

    @property
    def remarks(self) -> list[str]:
        """What differs between each claim and ours, a sentence each."""
        return [f"{c.claim.title}, {c.claim.score}: {c.remark}." for c in self.pairings if c.ours is not None and c.remark]


def sheets(tables: Sequence[Table], descriptions: Descriptions) -> list[Sheet]:
    """One table a part of published.toml; the arguments are those of reports.claimed.pairings."""
    published = load()
    found = pairings(published.claims, tables, descriptions)
    return [
        Sheet(title, tuple(pairing for pairing in found if pairing.claim.part == part))
        for part, title in published.parts.items()
    ]


def texts(pairing: Pairing) -> tuple[str, ...]:
    """A line of the table, as HEADS says."""
    claim = pairing.claim
    differs = pairing.remark or pairing.command
    return (claim.title, claim.score, claim.text, pairing.ours_text, pairing.difference_text, differs, origin(claim))


def origin(claim: Claim) -> str:
    """Where the figure was read, and what is to be known of it."""
    source = f"{claim.source} (arXiv {claim.arxiv})" if claim.arxiv else claim.source
    return f"{source}; {claim.certainty}. {claim.note}".rstrip()


# As text


def render(found: Sequence[Sheet], form: str) -> str:
    """The tables as one text that ends with a line break. Raises BenchError for an unknown form."""
    forms = {"markdown": _markdown, "csv": _csv, "latex": _latex, "json": _json}
    if form not in forms:
        raise unknown("form", form, forms, "Choose one of these.")
    return forms[form](found)


def figure_records(sheet: Sheet) -> list[dict[str, Any]]:
    """One record a line, all that is known of the claim and of ours, values at full precision."""
    records = []
    for pairing in sheet.pairings:
        claim = {field.name: getattr(pairing.claim, field.name) for field in dataclasses.fields(Claim)}
        claim |= {"dataset": pairing.claim.dataset.name, "settings": dict(pairing.claim.settings)}
        ours = {name: getattr(pairing, name) for name in ("line", "ours", "spread", "seeds", "difference", "percent")}
        ours |= {name: getattr(pairing, name) for name in ("differs", "reason", "runs", "command", "recipe")}
        records.append({"table": sheet.title, **claim, **ours})
    return records


def _json(found: Sequence[Sheet]) -> str:
    tables = [{"title": sheet.title, "notes": sheet.notes, "figures": figure_records(sheet)} for sheet in found]
    return json.dumps({"kind": "published", "tables": tables}, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _csv(found: Sequence[Sheet]) -> str:
    records = [record for sheet in found for record in figure_records(sheet)]
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(records[0]) if records else [], lineterminator="\n")
    writer.writeheader()
    for record in records:
        nested = {key: value for key, value in record.items() if isinstance(value, (dict, tuple))}
        writer.writerow(record | {key: json.dumps(value, ensure_ascii=False) for key, value in nested.items()})
    return buffer.getvalue()


def _markdown(found: Sequence[Sheet]) -> str:
    parts = []
    for sheet in found:
        rows = [[escape_markdown(text) for text in texts(pairing)] for pairing in sheet.pairings]
        rule = ["---", "---", "---:", "---:", "---:", "---", "---"]
        body = ["| " + " | ".join(row) + " |" for row in (HEADS, rule, *rows)]
        notes = [f"- {escape_markdown(note)}" for note in sheet.notes]
        parts += [f"**{escape_markdown(sheet.title)}**", "\n".join(body), "\n".join(notes)]
    return "\n\n".join(filter(None, parts)) + "\n"


def _latex(found: Sequence[Sheet]) -> str:
    return NEEDS + "".join(
        text_table(sheet.title, sheet.notes, HEADS, [texts(pairing) for pairing in sheet.pairings], NUMBERS) for sheet in found
    )
