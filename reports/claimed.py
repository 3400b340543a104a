"""Published claims beside our results: claimed, ours, the difference, and what else differs.

    tables = quality(frame, descriptions) + cost(frame, descriptions)
    pairings = compare(load().claims, tables, descriptions)

A claim meets our results only under the same method, data set, network, metric and number of steps. Scores of different
feature extractors are not subtracted: the comparison then says why.
"""

import json
import math
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from bench.rows import Row
from reports.lines import Descriptions, settings
from reports.numbers import number
from reports.published import SCORES, Claim
from reports.table import Cell, Column, Line, Table
from reports.tables import COST, QUALITY

ROOT = Path(__file__).resolve().parent.parent
NETS = re.compile(r"[A-Z]+/\d+")  # of the DiT; what else figures have is another network
EVALUATORS = {"inception": "torch-fidelity"}  # by our extractor: the only one that is comparable with published scores
BIASED = ("frechet_distance", "spatial_frechet_distance", "inception_score", "inception_score_adm")  # by the number of images
USUAL_STEPS = 2  # bench.toml has them scored without being asked
IMAGES_TOLERANCE = 0.01  # of the images seen: epochs are rounded up to whole batches


@dataclass(frozen=True, kw_only=True)
class Pairing:
    """One claim, and one line of ours where there is one."""

    claim: Claim
    line: str = ""  # ours: the line's name, "" where nothing of ours is of the same kind
    runs: tuple[str, ...] = ()
    ours: float | None = None  # mean over training seeds, in the rows' own unit
    spread: float | None = None  # sample standard deviation over training seeds
    seeds: int = 0
    ours_text: str = "–"
    unit: str = ""  # of the texts
    divisor: float = 1.0  # text = value / divisor
    differs: tuple[str, ...] = ()  # what differs in protocol or recipe, a phrase each
    reason: str = ""  # why there is no difference
    command: str = ""  # makes ours
    recipe: str = ""  # and its further options, for the claim's own recipe as far as that is known

    @property
    def difference(self) -> float | None:
        """Ours less the claim; None where there is nothing to subtract, or the two are not of one kind."""
        return None if self.ours is None or self.reason else self.ours - self.claim.value

    @property
    def percent(self) -> float | None:
        """The difference as a share of the claim."""
        difference = self.difference
        return None if difference is None or self.claim.value == 0 else 100 * difference / abs(self.claim.value)

    @property
    def difference_text(self) -> str:
        """ "+0.1109 (+2.3 %)"."""
        if self.difference is None:
            return "–"
        unit = f" {self.unit}" if self.unit else ""
        share = "" if self.percent is None else f" ({_signed(self.percent, f'{abs(self.percent):.1f}')} %)"
        return _signed(self.difference, number(abs(self.difference) / self.divisor)) + unit + share

    @property
    def remark(self) -> str:
        """What differs, else why there is nothing of ours."""
        return "; ".join(filter(None, [self.reason, *self.differs]))


def _signed(value: float, text: str) -> str:
    """The text of a magnitude with the value's sign; none where it is rounded to nothing."""
    return text if not text.strip("0.,") else f"{'+' if value > 0 else '-'}{text}"


def pairings(claims: Sequence[Claim], tables: Sequence[Table], descriptions: Descriptions) -> list[Pairing]:
    """One pairing for each claim and line of ours that is of the same kind; a claim without one stands alone.

    `tables` of reports.tables, quality and cost.
    """
    found: list[Pairing] = []
    for claim in claims:
        own = [
            _pairing(claim, table, line, column, cell, descriptions.get(cell.runs[0], {}))
            for table in tables
            if _same_kind(claim, table)
            for line in table.lines
            if line.method == claim.method
            for column, cell in zip(table.columns, line.cells, strict=True)
            if (column.metric, column.steps) == (claim.metric, claim.steps) and cell.values
            if _same_cell(claim, settings(descriptions.get(cell.runs[0], {})))
        ]
        if claim.metric not in SCORES:  # counted, not measured: equal on every device and under every protocol
            own = list({pairing.ours: pairing for pairing in reversed(own)}.values())
        found += own or [_alone(claim)]
    return found


def _same_kind(claim: Claim, table: Table) -> bool:
    same_data = table.group["dataset"] in (claim.dataset.name, claim.dataset.ours)
    return same_data and claim.net in (table.group["net"], "any") and not claim.variant


def _same_cell(claim: Claim, given: Mapping[str, Any]) -> bool:
    return all(_same(claim.settings[key], given.get(key)) for key in claim.cell)


def _pairing(claim: Claim, table: Table, line: Line, column: Column, cell: Cell, description: Mapping[str, Any]) -> Pairing:
    recorded = description.get("protocols")
    conditions = recorded.get(table.group["protocol"]) if isinstance(recorded, Mapping) else None
    conditions = conditions if isinstance(conditions, Mapping) else {}
    return Pairing(
        claim=claim,
        line=line.name,
        runs=cell.runs,
        ours=cell.mean,
        spread=cell.spread,
        seeds=cell.seeds,
        ours_text=f"{cell.full_text} {column.unit}".rstrip(),
        unit=column.unit,
        divisor=column.divisor,
        differs=tuple(differences(claim, cell.rows[0], conditions, settings(description))),
        reason=_not_comparable(claim, conditions, cell.rows[0].n),
    )


def _not_comparable(claim: Claim, conditions: Mapping[str, Any], n: int | None) -> str:
    """Why the two scores are not on one scale, else nothing."""
    extractor = conditions.get("extractor")
    if claim.metric not in SCORES:
        return ""
    if extractor is None:
        return "no difference: the extractor of ours is not recorded"
    if extractor not in EVALUATORS:
        return f"no difference: ours is on features of {extractor}, the claim on Inception's"
    if "extractor_comparable" in conditions:
        return "no difference: ours is of other Inception weights than the published ones"
    if claim.metric in BIASED and claim.n not in (None, n):
        return f"no difference: ours is of {n or 0:,} images, the claim of {claim.n:,}, and fewer score worse by themselves"
    return ""


# What differs


def differences(claim: Claim, row: Row, conditions: Mapping[str, Any], given: Mapping[str, Any]) -> list[str]:
    """A phrase for each condition in which our result is not the claim's, and what is not known of either.

    `conditions` are those of our protocol, `given` the settings of our run. Only what moves the metric is looked at.
    """
    facts: list[tuple[str, Any, Any]] = []  # (what, theirs, ours), those that move most first
    if claim.metric in SCORES:
        facts += [("images scored", claim.n, row.n), *_training(claim, row)]
    keys = sorted([*claim.settings, *claim.unknown], key=lambda key: not key.startswith("methods."))
    facts += [(_name(key, claim), claim.settings.get(key), given.get(key)) for key in keys]
    if claim.metric in SCORES:
        facts += [] if claim.settings else [("recipe", "unknown", "known")]
        facts += _protocol(claim, row, conditions)
    known = [(what, theirs, ours) for what, theirs, ours in facts if theirs not in (None, "unknown")]
    phrases = [f"{what} {_shown(ours)} here, {_shown(theirs)} there" for what, theirs, ours in known if _differ(theirs, ours)]
    silent = [what for what, theirs, ours in facts if theirs in (None, "unknown") and ours is not None]
    lost = [what for what, _, ours in known if ours is None]
    phrases += [f"not known of the claim: {', '.join(silent)}"] if silent else []
    return phrases + ([f"not recorded of ours: {', '.join(lost)}"] if lost else [])


def _training(claim: Claim, row: Row) -> list[tuple[str, Any, Any]]:
    """Epochs; where they are equal, the images that training saw, which an unfinished run or part of the data makes fewer."""
    facts: list[tuple[str, Any, Any]] = [("epochs", claim.epochs, row.epochs)]
    expected = (claim.epochs or 0) * claim.dataset.images
    if claim.epochs == row.epochs and not math.isclose(expected, row.images, rel_tol=IMAGES_TOLERANCE):
        facts.append(("training images", round(expected), row.images))
    return facts


def _protocol(claim: Claim, row: Row, conditions: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    extractor = conditions.get("extractor")
    return [
        ("label rule", claim.label_rule, conditions.get("label_rule")),
        ("evaluator", claim.evaluator, EVALUATORS.get(str(extractor), extractor)),
        ("reference", claim.reference, conditions.get("reference")),
        ("VAE", claim.vae, conditions.get("vae")),
        ("quantiser", claim.quantiser, conditions.get("quantiser")),
        ("weights", claim.weights, conditions.get("weights")),
        ("precision", claim.precision, row.precision),
    ]


def _differ(theirs: Any, ours: Any) -> bool:
    return ours is not None and not _same(theirs, ours)


def _same(theirs: Any, ours: Any) -> bool:
    if isinstance(theirs, (int, float)) and isinstance(ours, (int, float)):
        return math.isclose(theirs, ours)
    if isinstance(theirs, Sequence) and isinstance(ours, Sequence) and not isinstance(theirs, str):
        return len(theirs) == len(ours) and all(map(_same, theirs, ours))
    if isinstance(theirs, str) and isinstance(ours, str):
        return theirs in (ours, PurePath(ours).name)  # a reference may be given with its folder
    return bool(theirs == ours)


def _name(key: str, claim: Claim) -> str:
    """ "learning rate" of "train.learning_rate"."""
    return key.removeprefix("train.").removeprefix(f"methods.{claim.method}.").replace("_", " ")


def _shown(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_shown, value))}]"
    if isinstance(value, float):
        return f"{value:,.6g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


# Where nothing of ours is of the same kind


def _alone(claim: Claim) -> Pairing:
    """The claim, with the command that would make ours, or why there is none."""
    reason = ""
    if claim.variant:
        reason = "not one of this suite's settings"
    elif not (ROOT / "methods" / f"{claim.method}.py").is_file():
        reason = f"this suite has no method {claim.method}"
    elif claim.metric not in (*QUALITY, *COST):
        reason = "not measured by this suite"
    elif claim.net != "any" and not NETS.fullmatch(claim.net):
        reason = f"this suite has no network {claim.net}"
    command, recipe = ("", "") if reason else commands(claim)
    return Pairing(claim=claim, reason=reason, command=command, recipe=recipe)


def commands(claim: Claim) -> tuple[str, str]:
    """The command that makes ours, and its options for the claim's recipe; what is not known stays as the suite has it."""
    chosen = dict(claim.settings)
    words = ["bench", "run" if claim.metric in SCORES else "speed", claim.method, "--dataset", claim.dataset.ours]
    words += ["--net", claim.net] if claim.net != "any" else []
    words += ["--epochs", f"{claim.epochs:g}"] if claim.epochs else []
    words += ["--steps", str(claim.steps)] if claim.steps and claim.steps > USUAL_STEPS else []
    further = ["--batch", str(chosen.pop("train.batch"))] if "train.batch" in chosen else []
    further += ["--samples", str(claim.n)] if claim.n else []
    if claim.label_rule in ("random", "balanced"):
        chosen["eval.label_rule"] = claim.label_rule
    for key, value in chosen.items():
        further += ["--set", f"{key}={json.dumps(value)}"]
    return shlex.join(words), shlex.join(further)


def missing_data(pairings: Iterable[Pairing]) -> list[str]:
    """Data sets that commands name and that this version of the suite has not got."""
    named = dict.fromkeys(found.claim.dataset.ours for found in pairings if found.command)
    return [name for name in named if not (ROOT / "bench" / "datasets" / f"{name}.py").is_file()]
