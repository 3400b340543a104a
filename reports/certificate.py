"""The certificate of parity of a table: which conditions were equal for all of its lines, and which were not.

    found = certificate(table, descriptions)
    print(found.verdict)        # "Equal for all 3 lines: 34 conditions. Not equal: batch."

A condition is equal only where every run of every line recorded it, with one and the same value. Hyperparameters that a
method alone has are its own: they differ by design, and stand apart.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.rows import Row
from reports.grids import Grid
from reports.lines import ORIGIN, Descriptions, flatten, settings
from reports.table import Line, Table
from reports.tables import conditions_of

EQUAL, UNEQUAL, NOT_RECORDED = "equal", "not equal", "not recorded"
OF_TASK = {"dataset": "data set", "net": "network", "epochs": "epochs", "protocol": "protocol", "device": "device"}
OF_ROWS = {"precision": "precision", "attention": "attention", "world_size": "processes", "device": "device"}
OF_RUNS = {"data_digest": "data digest", "processor": "processor", "platform": "platform"}
COMMIT, DIGEST = 10, 12  # characters shown
SEPARATOR = " and "


@dataclass(frozen=True)
class Condition:
    """One condition, and what it was for each line."""

    name: str
    each: tuple[tuple[str, ...], ...]  # by line: the values of its runs, each once; () where one of them has none

    @property
    def known(self) -> bool:
        return all(self.each)

    @property
    def equal(self) -> bool:
        return self.known and len({value for values in self.each for value in values}) == 1

    @property
    def texts(self) -> tuple[str, ...]:
        return tuple(SEPARATOR.join(map(_short, values)) or NOT_RECORDED for values in self.each)


@dataclass(frozen=True)
class Certificate:
    lines: tuple[str, ...]  # those with a value, in the table's order
    conditions: tuple[Condition, ...]
    own: tuple[tuple[str, str], ...]  # (line, its method's own hyperparameters)
    dirty: bool = False  # some commit is not all of the code

    @property
    def equal(self) -> list[tuple[str, str]]:
        """(name, the one value)."""
        return [(c.name, c.texts[0]) for c in self.conditions if c.equal]

    @property
    def unequal(self) -> list[Condition]:
        return [c for c in self.conditions if c.known and not c.equal]

    @property
    def unknown(self) -> list[Condition]:
        """Not recorded for at least one line."""
        return [c for c in self.conditions if not c.known]

    @property
    def by_line(self) -> list[tuple[str, tuple[str, ...]]]:
        """(line, its value of each unequal condition, then of each that is not recorded everywhere)."""
        shown = [*self.unequal, *self.unknown]
        return [(line, tuple(c.texts[i] for c in shown)) for i, line in enumerate(self.lines)]

    @property
    def verdict(self) -> str:
        """One line."""
        if not self.lines:
            return "No line has a value, so there is nothing to compare."
        if len(self.lines) == 1:
            return "One line has values, so there is nothing to compare it with."
        count = len(self.equal)
        said = [f"Equal for all {len(self.lines)} lines: {count} condition{'' if count == 1 else 's'}."]
        said += [f"Not equal: {_listed(self.unequal)}."] if self.unequal else ["Nothing that was recorded differs."]
        said += [f"Not recorded for every line: {_listed(self.unknown)}."] if self.unknown else []
        return " ".join(said)


def _listed(conditions: Sequence[Condition]) -> str:
    return ", ".join(condition.name for condition in conditions)


def certificate(table: Table, descriptions: Descriptions) -> Certificate:
    """Of the runs behind the table's values; a line without a value has no part in it."""
    pairs = [(line, [row for cell in line.cells for row in cell.rows]) for line in table.lines]
    pairs = [(line, rows) for line, rows in pairs if rows]
    each = [dict(_of_line(table, rows, descriptions)) for _, rows in pairs]
    names = dict.fromkeys(name for conditions in each for name in conditions)
    found = tuple(Condition(name, tuple(conditions.get(name, ()) for conditions in each)) for name in names)
    return Certificate(
        lines=tuple(line.name for line, _ in pairs),
        conditions=found,
        own=tuple((line.name, _own(line, rows, descriptions)) for line, rows in pairs),
        dirty=any(text.endswith("+") for c in found if c.name.startswith("commit") for values in c.each for text in values),
    )


def certificate_grid(table: Table, found: Certificate) -> Grid:
    """Every condition with what each line had, as a file holds it: digests whole."""
    heads = ("condition", "parity", *found.lines)
    lines = [
        (
            c.name,
            EQUAL if c.equal else UNEQUAL if c.known else NOT_RECORDED,
            *(SEPARATOR.join(v) or NOT_RECORDED for v in c.each),
        )
        for c in found.conditions
    ]
    own = ("settings of the method's own", "by design", *(text for _, text in found.own))
    notes = (f"Protocol {table.group['protocol']}.", found.verdict)
    return Grid(f"Parity certificate: {table.title}", heads, (*lines, own) if found.own else tuple(lines), notes)


# One line


def _of_line(table: Table, rows: Sequence[Row], descriptions: Descriptions) -> Iterator[tuple[str, tuple[str, ...]]]:
    """(condition, the values of the line's runs); () where a run lacks it."""
    known = [descriptions.get(run, {}) for run in dict.fromkeys(row.run for row in rows)]
    for key, name in OF_TASK.items():
        if key in table.group:
            yield name, (_text(table.group[key]),)
    yield "images seen", _values(row.images for row in rows)
    yield from _of_settings(known)
    for key, name in OF_ROWS.items():
        if key not in table.group:
            yield name, _values(getattr(row, key) for row in rows)
    yield from _measured(table, rows, descriptions)
    yield "commit of training", _lists(_commits(description) for description in known)
    yield "commit of measurement", _values(_commit(row.commit, row.dirty) for row in rows)
    for key, name in OF_RUNS.items():
        yield name, _values(description.get(key) for description in known)
    versions = [v if isinstance(v := description.get("versions"), Mapping) else {} for description in known]
    for package in dict.fromkeys(package for of in versions for package in of):
        yield f"{package} (version)", _values(of.get(package) for of in versions)


def _of_settings(known: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """What training was told, without the method's own; precision and attention are said as the rows have them too."""
    flat = [settings(description) for description in known]
    keys = sorted({key for of in flat for key in of if key.startswith(("train.", "datasets."))})
    for key in [ORIGIN, *keys] if any(ORIGIN in of for of in flat) else keys:
        prefix, _, name = key.rpartition(".")
        name = f"{name} of training" if name in OF_ROWS else name
        yield ("" if prefix == "train" else f"{prefix} ".lstrip()) + name.replace("_", " "), _values(of.get(key) for of in flat)


def _measured(table: Table, rows: Sequence[Row], descriptions: Descriptions) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Seeds, images scored, and what the protocol's id stands for."""
    yield "training seeds", (", ".join(map(str, sorted({row.train_seed for row in rows}))),)
    if table.kind == "quality":
        seeds = sorted({row.sample_seed for row in rows if row.sample_seed is not None})
        yield "sampling seeds", (", ".join(map(str, seeds)),) if seeds else ()
        yield "images scored", tuple(dict.fromkeys(_text(row.n) for row in rows if row.n is not None))
    for key, value in sorted(flatten(conditions_of(table.group["protocol"], descriptions)).items()):
        yield f"protocol: {key.replace('_', ' ')}", (_text(value),)


def _own(line: Line, rows: Sequence[Row], descriptions: Descriptions) -> str:
    """ "guidance 1.0, mix 0.25", of the line's first run: a line has one recipe."""
    prefix = f"methods.{line.method}."
    given = settings(descriptions.get(rows[0].run, {}))
    words = [f"{key.removeprefix(prefix)} {_text(value)}" for key, value in sorted(given.items()) if key.startswith(prefix)]
    return ", ".join(words) or NOT_RECORDED


# Values as text


def _values(found: Any) -> tuple[str, ...]:
    """Each once, sorted; () where one of them is not known."""
    values = list(found)
    if any(value is None or value == "" for value in values):
        return ()
    return tuple(sorted({_text(value) for value in values}))


def _lists(found: Any) -> tuple[str, ...]:
    """The same of several lists: () where one of them is empty."""
    lists = list(found)
    return tuple(sorted({value for values in lists for value in values})) if all(lists) else ()


def _commits(description: Mapping[str, Any]) -> list[str]:
    """Those that training ran at: it may have gone on at another."""
    sessions = description.get("sessions")
    records = [s for s in sessions if isinstance(s, Mapping)] if isinstance(sessions, list) else []
    found = [_commit(str(r.get("commit") or ""), bool(r.get("dirty"))) for r in records or [description]]
    return [] if "" in found else found


def _commit(commit: str, dirty: bool) -> str:
    """Shortened, with "+" where the work tree had changes; "" where it is not known."""
    return f"{commit[:COMMIT]}{'+' if dirty else ''}" if commit and commit != "unknown" else ""


def _short(text: str) -> str:
    """A digest's beginning is enough to see which it is; two that share it are told apart by the condition being unequal."""
    return f"{text[:DIGEST]}…" if re.fullmatch(r"[0-9a-f]{32,}", text) else text


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.12g}" if isinstance(value, float) else str(value)
