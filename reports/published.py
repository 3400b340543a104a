"""What papers and repositories report: reports/published.toml -> typed claims.

    published = load()
    published.claims[0].printed      # "58.5646", every digit of the source

Reads that file and nothing else; reports.claimed sets the claims beside our results.
"""

import math
import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from bench.errors import BenchError, suggestion, unknown

DATA = Path(__file__).with_name("published.toml")
REMEDY = "Correct that entry; the comments at the top of published.toml say what each key holds."

CERTAINTIES = {  # how a figure was read: (mark in tables, what the mark means)
    "repository": ("", ""),
    "paper text": ("", ""),
    "transcription": ("†", "read in someone else's transcription; check it before you quote it"),
    "unverified": ("‡", "unverified: from memory, the source was not seen"),
    "derived": ("§", "computed from code or arithmetic, not published"),
}
LABEL_RULES = ("random", "balanced", "none", "unknown")
METRICS = {  # by the names of our rows where they have it
    "frechet_distance": "FID",
    "inception_score": "IS",
    "inception_score_adm": "IS as ADM",
    "parameters": "parameters",
    "forward_macs": "forward pass (MAC/image)",
    "forward_equivalents": "training cost (forwards/image)",
    "train_step_seconds": "training step (s)",
    "train_steps_per_second": "training steps a second",
    "train_gpu_hours": "training (GPU hours)",
    "train_memory_saved": "memory saved against meanflow (%)",
    "train_faster": "faster training than meanflow (%)",
}
SCORES = ("frechet_distance", "inception_score", "inception_score_adm")  # of samples, under a protocol

NUMBER = (int, Decimal)
TEXTS = (list,)
KINDS: dict[Any, str] = {str: "text", NUMBER: "a number", int: "a whole number", bool: "true or false"}
KINDS |= {dict: "a table", list: "a list", TEXTS: "a list of texts"}

TABLES = {"parts": dict, "datasets": dict, "protocols": dict, "recipes": dict, "sources": list}
DATASET = {"title": str, "images": int, "ours": str}
PROTOCOL = {"n": int, **dict.fromkeys(("label_rule", "evaluator", "reference", "vae", "quantiser", "weights"), str)}
RECIPE = {"precision": str, "train": dict, "method": dict}
REQUIRED = ("id", "source", "certainty", "part", "method", "dataset", "net", "metric", "value")
FIGURE: dict[str, Any] = {
    **dict.fromkeys(REQUIRED, str),
    **dict.fromkeys(("arxiv", "printed", "setting", "variant", "note", "protocol", "recipe", "precision", "device"), str),
    **dict.fromkeys(("steps", "iterations", "batch"), int),
    **dict.fromkeys(("value", "epochs"), NUMBER),
    **dict.fromkeys(("unknown", "cell"), TEXTS),
    "about": bool,
    "settings": dict,
}


@dataclass(frozen=True)
class Data:
    """A data set that figures are of."""

    name: str
    title: str
    images: int  # of the training set
    ours: str  # the data set of this suite that is meant


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One published figure. "unknown" and None: the source, or what was read of it, does not say."""

    id: str
    part: str  # which table it is in
    method: str
    dataset: Data
    net: str  # "B/4"; "any" where it holds for every one
    metric: str
    value: float
    printed: str  # the value as the source prints it
    source: str
    certainty: str
    arxiv: str = ""
    setting: str = ""  # what tells it from its neighbours
    variant: str = ""  # what it is that this suite's method is not
    note: str = ""
    steps: int | None = None  # network evaluations an image
    epochs: float | None = None
    iterations: int | None = None
    n: int | None = None  # images that were scored
    label_rule: str = "unknown"
    evaluator: str = "unknown"
    reference: str = "unknown"
    vae: str = "unknown"
    quantiser: str = "unknown"
    weights: str = "unknown"  # ema | raw
    precision: str = "unknown"
    device: str = "unknown"
    settings: Mapping[str, Any]  # by the names of reports.lines.settings: "train.batch", "methods.soflow.guidance"
    unknown: tuple[str, ...] = ()  # settings, by the same names, that were not found
    cell: tuple[str, ...] = ()  # settings that a run has to share: one cell of an ablation

    @property
    def title(self) -> str:
        """ "meanflow B/4, omega 3, kappa 0, 80 epochs"."""
        name = self.method if self.net in ("any", "unknown") else f"{self.method} {self.net}"
        length = f"{self.iterations:,} iterations" if self.iterations else ""
        length = f"{self.epochs:,g} epochs" if self.epochs else length
        device = "" if self.device == "unknown" else self.device
        return ", ".join(filter(None, [name, self.variant, self.setting, length, device]))

    @property
    def score(self) -> str:
        """ "FID, 2 steps"."""
        steps = "" if self.steps is None else "1 step" if self.steps == 1 else f"{self.steps} steps"
        return ", ".join(filter(None, [METRICS[self.metric], steps]))

    @property
    def mark(self) -> str:
        return CERTAINTIES[self.certainty][0]

    @property
    def text(self) -> str:
        """The value as printed, marked where its origin is unsure."""
        return f"{self.printed} {self.mark}".rstrip()


@dataclass(frozen=True)
class Published:
    parts: Mapping[str, str]  # the tables' titles, in their order
    claims: tuple[Claim, ...]


def load(path: Path = DATA) -> Published:
    """All claims of the file, each key checked. Raises BenchError that names the entry and the key."""
    raw = _read(path)
    _check(path.name, raw, TABLES, tuple(TABLES))
    for kind, keys in (("datasets", DATASET), ("protocols", PROTOCOL), ("recipes", RECIPE)):
        for name, table in raw[kind].items():
            _check(f"[{kind}.{name}]", table, keys, () if kind == "recipes" else tuple(keys))
    for name, protocol in raw["protocols"].items():
        _one_of(f"[protocols.{name}]", "label_rule", protocol["label_rule"], LABEL_RULES)
    _check("[parts]", raw["parts"], dict.fromkeys(raw["parts"], str))
    claims: dict[str, Claim] = {}
    for number, source in enumerate(raw["sources"], start=1):
        where = f"source {number}"
        _check(where, source, {**FIGURE, "figures": list}, ("figures",))
        for place, figure in enumerate(source["figures"], start=1):
            shared = {key: value for key, value in source.items() if key != "figures"}
            claim = _claim(f"figure {place} of {where}", shared, figure, raw)
            if claim.id in claims:
                raise BenchError(f"Two figures have the id {claim.id!r}", "an id for each of its own", REMEDY)
            claims[claim.id] = claim
    return Published(raw["parts"], tuple(claims.values()))


def _read(path: Path) -> dict[str, Any]:
    try:
        # Decimal keeps the digits that a source prints, which a float would not: 2.8600.
        return tomllib.loads(path.read_text(encoding="utf-8"), parse_float=Decimal)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise BenchError(f"Cannot read {path} ({reason})", "the suite's published.toml", "Install the suite anew.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BenchError(f"{path} is not TOML ({error})", "a TOML file in UTF-8", "Correct the line it names.") from error


def _claim(where: str, shared: Mapping[str, Any], figure: Any, raw: Mapping[str, Any]) -> Claim:
    """One figure with what its source, protocol and recipe say of it."""
    if isinstance(figure, dict) and figure.get("id"):
        where = f"figure {figure['id']!r}"
    _check(where, figure, FIGURE)
    given = {**shared, **figure, "settings": {**shared.get("settings", {}), **figure.get("settings", {})}}
    _check(where, given, FIGURE, REQUIRED)
    for key, allowed in (("certainty", CERTAINTIES), ("metric", METRICS), ("part", raw["parts"]), ("dataset", raw["datasets"])):
        _one_of(where, key, given[key], allowed)
    for key, least in (("value", -math.inf), ("steps", 1), ("epochs", 0), ("iterations", 1), ("batch", 1)):
        if key in given and not (math.isfinite(given[key]) and given[key] >= least):
            raise BenchError(f"{where}: {key} = {given[key]}", f"a finite number from {least} up", REMEDY)
    for key in ("protocol", "recipe"):
        _one_of(where, key, given.setdefault(key, "unknown"), raw[f"{key}s"])
    recipe, protocol = raw["recipes"][given.pop("recipe")], raw["protocols"][given.pop("protocol")]
    if given["metric"] not in SCORES:
        protocol = {}
    printed = ("~" if given.pop("about", False) else "") + given.get("printed", str(given["value"]))
    given |= {"value": float(given["value"]), "printed": printed}
    given |= {"dataset": Data(name=given["dataset"], **raw["datasets"][given["dataset"]])}
    given |= {"epochs": float(given["epochs"])} if "epochs" in given else {}
    given |= _recipe(where, given, recipe)
    return Claim(**{"precision": recipe.get("precision", "unknown"), **protocol, **given})


def _recipe(where: str, given: dict[str, Any], recipe: Mapping[str, Any]) -> dict[str, Any]:
    """The figure's settings, unknown and cell under the names of reports.lines.settings; its batch goes into them."""
    prefix = f"methods.{given['method']}."
    own = {**recipe.get("method", {}), **given["settings"]}
    train = {**recipe.get("train", {}), **({"batch": given.pop("batch")} if "batch" in given else {})}
    lost = given.get("unknown", [])
    settings = {f"train.{key}": _plain(value) for key, value in train.items()}
    settings |= {prefix + key: _plain(value) for key, value in own.items() if key not in lost}
    cell = tuple(prefix + key for key in given.get("cell", ()))
    for key in cell:
        if key not in settings:
            name = key.removeprefix(prefix)
            raise BenchError(f"{where}: cell names {name!r}", "names that its settings or its recipe have", REMEDY)
    return {"settings": settings, "unknown": tuple(prefix + key for key in lost), "cell": cell}


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return float(value) if isinstance(value, Decimal) else value


# Checks


def _check(where: str, table: Any, keys: Mapping[str, Any], required: Sequence[str] = ()) -> None:
    """Raises BenchError where the table has an unknown key, a value of another type, or lacks a required key."""
    if not isinstance(table, dict):
        raise BenchError(f"{where} is {table!r}", "a table", REMEDY)
    for key, value in table.items():
        if key not in keys:
            raise BenchError(f"{where}: unknown key {key!r}{suggestion(key, keys)}", ", ".join(sorted(keys)), REMEDY)
        kind = keys[key]
        fits = isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
        if not fits or (kind is TEXTS and not all(isinstance(item, str) for item in value)):
            raise BenchError(f"{where}: {key} = {value!r}", KINDS[kind], REMEDY)
    for key in required:
        if table.get(key, "") == "":
            raise BenchError(f"{where}: no {key}", f"{key}: {KINDS[keys[key]]}", REMEDY)


def _one_of(where: str, key: str, value: str, allowed: Any) -> None:
    if value not in allowed:
        raise unknown(f"{key} in {where}:", value, allowed, REMEDY)
