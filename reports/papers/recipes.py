"""What each recipe of a method sets, beside what its paper sets: one sheet a data set, network and length of training.

    for sheet in recipe_sheets("soflow", [*qualities, *costs], descriptions, load().claims):
        for part in sheet.parts: print(part.title, [(row.name, row.theirs, row.ours) for row in part.rows])

The paper's values are those of reports/published.toml, and of reports.papers.paper where no figure has them.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reports.lines import ORIGIN, Descriptions, settings, told_apart
from reports.papers.method_source import Source
from reports.papers.paper import PAPERS, Paper, Training
from reports.published import Claim
from reports.table import Table

UNKNOWN = "not found"  # of the paper: what nobody here has read
SILENT = "–"  # the paper has no such setting, or nothing was recorded of ours
OPTIMISER = "AdamW"  # of every run of this suite
MEANINGS = {  # of the settings that all methods share
    "run.epochs": "passes over the data",
    "optimiser": "the same for every method",
    "train.batch": "images a step, over all processes",
    "train.learning_rate": "constant after the warm-up",
    "train.betas": "of the optimiser",
    "train.weight_decay": "of the optimiser",
    "train.warmup_images": "images over which the learning rate rises from 0",
    "train.ema": "decay of the averaged weights, which are scored",
    "train.precision": "of the network while it trains",
    "train.attention": "which implementation computes it",
}


@dataclass(frozen=True)
class Setting:
    """One line of a sheet."""

    name: str  # in words
    key: str  # in bench.toml; "" where it is no setting of ours
    meaning: str
    theirs: str
    ours: tuple[str, ...]  # one a recipe
    differs: tuple[bool, ...]  # one a recipe: both are known, and not the same


@dataclass(frozen=True)
class Part:
    title: str
    rows: tuple[Setting, ...]


@dataclass(frozen=True)
class Recipes:
    title: str  # "digits, T/2, 240 epochs"
    lines: tuple[tuple[str, str], ...]  # (name, its first run)
    paper: str  # what its column is of: "ImageNet 256x256, by class: B/4, w 3, m 0.25, 80 epochs"; "" where nothing is known
    source: str
    elsewhere: bool  # that is another data set than ours
    parts: tuple[Part, ...]
    remarks: tuple[str, ...]  # of the paper's training, what no setting stands for

    @property
    def names(self) -> tuple[str, ...]:
        """Of the recipes, told apart: lines of two tables may share a name."""
        return tuple(told_apart(self.lines))

    @property
    def different(self) -> dict[tuple[str, str], list[str]]:
        """By recipe, as in `lines`, what is not as in the paper: "batch 128, in the paper 256"."""
        rows = [row for part in self.parts for row in part.rows]
        return {
            recipe: [f"{row.name} {row.ours[i]}, in the paper {row.theirs}" for row in rows if row.differs[i]]
            for i, recipe in enumerate(self.lines)
        }


@dataclass(frozen=True)
class Theirs:
    """What the paper has."""

    values: Mapping[str, Any]  # by the names of reports.lines.settings
    claim: Claim | None = None
    training: Training | None = None

    @property
    def title(self) -> str:
        if self.claim is None:
            return ""
        return f"{self.claim.dataset.title}: {self.claim.title.removeprefix(self.claim.method).strip(' ,')}"

    @property
    def source(self) -> str:
        claim = f"{self.claim.source} ({self.claim.certainty})" if self.claim else ""
        return "; ".join(filter(None, [claim, self.training.source if self.training else ""]))


def recipe_sheets(
    method: str, tables: Sequence[Table], descriptions: Descriptions, claims: Sequence[Claim], source: Source
) -> list[Recipes]:
    """`source`: what the method's file says of its hyperparameters. Two runs of equal settings are one recipe."""
    found: dict[str, dict[str, tuple[str, str]]] = {}  # title -> recipe -> (line, run)
    groups: dict[str, Mapping[str, Any]] = {}
    for table in tables:
        title = title_of(table.group)
        for line in (line for line in table.lines if line.method == method):
            recipe = repr(sorted(settings(descriptions.get(line.runs[0][1], {})).items()))
            groups[title] = table.group
            found.setdefault(title, {}).setdefault(recipe, (line.name, line.runs[0][1]))
    sheets = []
    for title, recipes in found.items():
        lines = sorted(recipes.values())
        ours = [_settings(descriptions.get(run, {})) for _, run in lines]
        theirs = _theirs(PAPERS.get(method), claims, groups[title], ours[0])
        sheets.append(
            Recipes(
                title=title,
                lines=tuple(lines),
                paper=theirs.title,
                source=theirs.source,
                elsewhere=bool(theirs.claim and theirs.claim.dataset.ours != groups[title]["dataset"]),
                parts=_parts(method, theirs.values, ours, source),
                remarks=theirs.training.remarks if theirs.training else (),
            )
        )
    return sheets


def _settings(description: Mapping[str, Any]) -> dict[str, Any]:
    """Of one run. How imported weights were trained nobody recorded: what stands in their config is not it."""
    found = settings(description)
    if ORIGIN in found:
        return {key: value for key, value in found.items() if not key.startswith("train.")}
    return {**found, "optimiser": OPTIMISER} if found else {}


def _theirs(paper: Paper | None, claims: Sequence[Claim], group: Mapping[str, Any], given: Mapping[str, Any]) -> Theirs:
    claim = closest([c for c in claims if paper and paper.owns(c)], group, given)
    if paper is None or claim is None:
        return Theirs({})
    training = paper.training.get(claim.dataset.name)
    values = {**claim.settings, **dict.fromkeys(claim.unknown, UNKNOWN)}
    values |= {"train.precision": claim.precision, "run.epochs": claim.epochs}
    if training:
        values |= {"optimiser": training.optimiser}
        values |= {f"methods.{paper.method}.{key}": value for key, value in training.settings.items()}
    return Theirs(values, claim, training)


def _parts(method: str, theirs: Mapping[str, Any], ours: Sequence[Mapping[str, Any]], source: Source) -> tuple[Part, ...]:
    names = list(dict.fromkeys([*theirs, *(key for one in ours for key in one)]))
    own, shared = f"methods.{method}.", ("optimiser", "train.", "run.epochs")
    order = (*(own + name for name in source.fields), *MEANINGS)

    def place(name: str) -> tuple[int, str]:
        return (order.index(name) if name in order else len(order), name)

    parts = []
    for title, prefix in (("Hyperparameters", (own,)), ("Training", shared)):
        chosen = sorted((name for name in names if name.startswith(prefix)), key=place)
        rows = tuple(_setting(name, own, theirs, ours, source) for name in chosen)
        parts += [Part(title, rows)] if rows else []
    return tuple(parts)


def closest(claims: Sequence[Claim], group: Mapping[str, Any], given: Mapping[str, Any]) -> Claim | None:
    """Of the same data set, its network and length, else of the first one; with most settings equal and known; the first."""

    def nearness(claim: Claim) -> tuple[bool, bool, bool, bool, int, int]:
        here, main = claim.dataset.ours == group["dataset"], claim.dataset == claims[0].dataset
        same = sum(text_of(given.get(key)) == text_of(value) for key, value in claim.settings.items())
        place = here, main, here and claim.net == group["net"], here and claim.epochs == group["epochs"]
        return *place, same, -len(claim.unknown)

    return max(claims, key=nearness, default=None)


def _setting(key: str, own: str, theirs: Mapping[str, Any], ours: Sequence[Mapping[str, Any]], source: Source) -> Setting:
    name = key.removeprefix(own)
    paper = SILENT if theirs.get(key) in (None, "unknown") else text_of(theirs[key])
    texts = tuple(text_of(one[key]) if key in one else SILENT for one in ours)
    differs = tuple(
        paper not in (SILENT, UNKNOWN) and text not in (SILENT, paper) and not _adam(key, paper, one)
        for text, one in zip(texts, ours, strict=True)
    )
    last = name.rpartition(".")[2]
    known = source.fields[name].meaning if key.startswith(own) and name in source.fields else MEANINGS.get(key, "")
    return Setting(last.replace("_", " "), last if "." in key else "", known, paper, texts, differs)


def _adam(key: str, paper: str, ours: Mapping[str, Any]) -> bool:
    """AdamW without weight decay is Adam."""
    return key == "optimiser" and paper == "Adam" and ours.get("train.weight_decay") == 0


def text_of(value: Any) -> str:
    """A setting as people read it; equal texts are equal settings: 256 and 256.0 are."""
    if isinstance(value, (list, tuple)):
        return f"({', '.join(map(text_of, value))})"
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return str(value).lower() if isinstance(value, bool) else str(value)
    return f"{int(value):,}" if value == int(value) else f"{value:.6g}"


def title_of(group: Mapping[str, Any]) -> str:
    """What tables of one comparison share, whatever their protocol: "digits, T/2, 240 epochs"."""
    return f"{group['dataset']}, {group['net']}, {epochs_text(group['epochs'])}"


def epochs_text(epochs: float) -> str:
    return f"{epochs:g} epoch{'' if epochs == 1 else 's'}"
