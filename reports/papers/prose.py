"""Sentences with citations in them, as plain text and as LaTeX, and the small words that counting needs.

sentence = ("We compare SoFlow", cite("luo2026soflow"), ".")
plain(sentence)      # "We compare SoFlow (Luo et al., 2026)."
latex(sentence)      # "We compare SoFlow~\\citep{luo2026soflow}."
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from reports.latex.text import escape_latex
from reports.papers.literature import LITERATURE, Reference
from reports.papers.paper import PAPERS

REFERENCES: Mapping[str, Reference] = LITERATURE | {r.key: r for paper in PAPERS.values() for r in paper.references}


@dataclass(frozen=True)
class Cite:
    """In one pair of brackets; nothing where there are no keys."""

    keys: tuple[str, ...]  # of REFERENCES


Prose = Sequence[str | Cite]


def cite(*keys: str) -> Cite:
    return Cite(keys)


def plain(prose: Prose) -> str:
    return "".join(_plain(part) for part in prose)


def latex(prose: Prose) -> str:
    return "".join(_latex(part) for part in prose)


def cited(prose: Prose) -> set[str]:
    """All that is cited."""
    return {key for part in prose if isinstance(part, Cite) for key in part.keys}


def _plain(part: str | Cite) -> str:
    if isinstance(part, Cite):
        return f" ({'; '.join(REFERENCES[key].short for key in part.keys)})" if part.keys else ""
    return part


def _latex(part: str | Cite) -> str:
    if isinstance(part, Cite):
        return f"~\\citep{{{','.join(part.keys)}}}" if part.keys else ""
    return escape_latex(part)


def counted(n: int, noun: str) -> str:
    """ "1 seed", "1,200 seeds"."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def listed(parts: Iterable[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    *first, last = list(parts)
    return f"{', '.join(first)} and {last}" if first else last


def listed_prose(parts: Sequence[Prose]) -> list[str | Cite]:
    """The same for parts that hold citations."""
    joined: list[str | Cite] = []
    for i, part in enumerate(parts):
        joined += [] if i == 0 else [" and "] if i == len(parts) - 1 else [", "]
        joined += part
    return joined


@dataclass(frozen=True)
class Said:
    """One value for all, or one a line where they are not the same."""

    of: Mapping[str, str]  # by line

    @property
    def text(self) -> str:
        """ "128", or "128 (soflow) and 256 (meanflow, ours)"; "" where nothing is known."""
        by_value: dict[str, list[str]] = {}
        for line, value in self.of.items():
            by_value.setdefault(value, []).append(line)
        if len(by_value) == 1:
            return next(iter(by_value))
        return listed(f"{value} ({', '.join(lines)})" for value, lines in by_value.items()) if by_value else ""
