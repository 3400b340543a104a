"""What papers report beneath what was measured: for each line of a table, the claims that meet it, one recipe a row.

    for claimed in beside(table, pairings)["soflow"]: print(claimed.title, [p and p.claim.printed for p in claimed.cells])
    nearest(beside(table, pairings)["soflow"])      # the few whose recipe is most like ours

Which claim meets which value is for reports.claimed to say; a difference stands only where that module makes one.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from reports.claimed import Pairing
from reports.table import Table

SHOWN = 2  # recipes beneath a line; an ablation has dozens
SILENT = "not known of the claim: "  # so reports.claimed begins what a source does not say


@dataclass(frozen=True)
class Claimed:
    """One published recipe of a line's method."""

    title: str  # "meanflow B/4, omega 3, kappa 0, 80 epochs"
    source: str
    certainty: str
    cells: tuple[Pairing | None, ...]  # one a column of the table

    @property
    def distance(self) -> tuple[bool, int]:
        """How unlike ours: not comparable at all, then in how many conditions it differs or does not say what it had."""
        met = [pairing for pairing in self.cells if pairing]
        phrases = {phrase for pairing in met for phrase in pairing.differs}
        differing = sum(" here, " in phrase for phrase in phrases)
        silent = sum(phrase.count(", ") + 1 for phrase in phrases if phrase.startswith(SILENT))
        return all(pairing.reason for pairing in met), differing + silent


def beside(table: Table, pairings: Iterable[Pairing]) -> Mapping[str, tuple[Claimed, ...]]:
    """By line name, in the order of published.toml; lines that nothing was published of are left out."""
    places = {
        (line.name, cell.runs, cell.mean, column.metric, column.steps): i
        for line in table.lines
        for i, (column, cell) in enumerate(zip(table.columns, line.cells, strict=True))
        if cell.values
    }
    found: dict[str, dict[tuple[str, ...], dict[int, Pairing]]] = {}
    for pairing in pairings:
        claim = pairing.claim
        i = places.get((pairing.line, pairing.runs, pairing.ours, claim.metric, claim.steps))
        if i is None:
            continue
        recipes = found.setdefault(pairing.line, {})
        key: tuple[str, ...] = (claim.title, claim.source, claim.certainty)
        while i in recipes.get(key, {}):  # told twice by one source: two rows
            key = (*key, "")
        recipes.setdefault(key, {})[i] = pairing
    return {
        line: tuple(
            Claimed(key[0], key[1], key[2], tuple(cells.get(i) for i in range(len(table.columns))))
            for key, cells in recipes.items()
        )
        for line, recipes in found.items()
    }


def nearest(claimed: Sequence[Claimed]) -> tuple[Claimed, ...]:
    """Those beneath a line: the most like ours first, of equals in the order given."""
    return tuple(sorted(claimed, key=lambda item: item.distance)[:SHOWN])
