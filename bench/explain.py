"""Why two values differ: which fields of two rows are not equal, and what the cheap ones among them do to the value.

a, b = find(rows, "1a2b3c4d"), find(rows, "digits-soflow-T-2-s0-1a2b3c4d:frechet_distance:1")
for difference in differences(a, b, descriptions): print(difference)
for effect in measure(a, b, descriptions, root, suite): print(effect)      # from the first row's snapshot
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench import checkpoint, datasets, dist, evaluate, extractors, sample
from bench.config import Eval, Suite
from bench.errors import BenchError, unknown
from bench.estimates import METRICS
from bench.rows import Row, row_id
from bench.store import Root
from reports.lines import flatten

Descriptions = Mapping[str, Mapping[str, Any]]  # by run: what bench.provenance.describe wrote

CHEAP = {"label_rule": "label_rule", "quantiser": "quantiser", "samples": "samples"}  # condition -> key of [eval]
OF_ROW = (
    "metric", "unit", "steps", "sample_seed", "train_seed", "images", "epochs", "dataset", "method", "net", "precision",
    "attention", "device", "world_size",
)  # fmt: skip
HOW_BACK = "Bring them back (commit and weights are in the row's provenance), or use --no-measure."
HOW = "An id as `bench list rows` prints it, or RUN:METRIC:STEPS:SEED."


@dataclass(frozen=True)
class Difference:
    section: str  # row | protocol | configuration | data | code | versions
    field: str
    first: Any  # None where it has no such field
    second: Any


@dataclass(frozen=True)
class Effect:
    """What changing one condition of the first row to the second's does, everything else as it was."""

    field: str  # "" for no change: the first row measured again
    change: str  # "random -> balanced"
    value: float
    difference: float  # from the value without any change


# Finding rows


def find(rows: Sequence[Row], name: str) -> Row:
    """The row with this id or RUN:METRIC:STEPS:SEED; the last two may be left out. Raises BenchError unless it is one row."""
    found = [row for row in rows if row_id(row) == name]
    run, colon, rest = name.partition(":")
    if colon:
        wanted = rest.split(":")
        found = [row for row in rows if row.run == run and place(row)[: len(wanted)] == wanted]
        last = max((row.images for row in found), default=0)
        found = [row for row in found if row.images == last]  # as the tables; rows of an earlier snapshot go by their ids
    ids = {row_id(row): row for row in found}
    if len(ids) == 1:
        return found[-1]
    if len(ids) > 1:
        several = ", ".join(f"{key} ({':'.join(place(row))}, {row.protocol})" for key, row in list(ids.items())[:6])
        raise BenchError(f"{name!r} is {len(ids)} rows", several, "Choose one by its id.")
    names = [row.run for row in rows] if colon else [row_id(row) for row in rows]
    raise unknown("row", run if colon else name, sorted(set(names))[:12] or ["(there are none)"], HOW)


def place(row: Row) -> list[str]:
    """metric, steps, sampling seed."""
    return [row.metric, *("" if value is None else str(value) for value in (row.steps, row.sample_seed))]


# What differs


def differences(a: Row, b: Row, descriptions: Descriptions) -> list[Difference]:
    """Every field that is not equal, in the order of what most often explains a value."""
    first, second = (descriptions.get(row.run, {}) for row in (a, b))
    found = _unequal("row", {name: getattr(a, name) for name in OF_ROW}, {name: getattr(b, name) for name in OF_ROW})
    found += _unequal("protocol", conditions(a, descriptions), conditions(b, descriptions))
    found += _unequal("configuration", _flat(first.get("config")), _flat(second.get("config")))
    found += _unequal("data", {"digest": first.get("data_digest")}, {"digest": second.get("data_digest")})
    code = [{"commit": row.commit, "uncommitted changes": row.dirty} for row in (a, b)]
    found += _unequal("code", *code)
    found += _unequal("versions", _versions(a, first), _versions(b, second))
    return found


def conditions(row: Row, descriptions: Descriptions) -> dict[str, Any]:
    """Of the row's protocol; empty where they were not recorded."""
    protocols = descriptions.get(row.run, {}).get("protocols", {})
    return dict(protocols.get(row.protocol, {})) if isinstance(protocols, Mapping) else {}


def _versions(row: Row, description: Mapping[str, Any]) -> dict[str, Any]:
    """When this row was measured; of the training where that was not recorded."""
    measured = description.get("measurements", {}).get(row.protocol, {})
    return dict(measured.get("versions") or description.get("versions") or {})


def _flat(config: Any) -> dict[str, Any]:
    return flatten(config) if isinstance(config, Mapping) else {}


def _unequal(section: str, first: Mapping[str, Any], second: Mapping[str, Any]) -> list[Difference]:
    names = dict.fromkeys((*first, *second))
    return [
        Difference(section, name, first.get(name), second.get(name)) for name in names if first.get(name) != second.get(name)
    ]


# What the cheap ones do


def cheap(found: Sequence[Difference]) -> list[Difference]:
    """Those whose effect can be measured from one snapshot: label rule, quantiser, number of samples, steps."""
    if any((d.section, d.field) in (("row", "metric"), ("row", "unit")) for d in found):
        return []  # unlike things
    both = [d for d in found if d.first is not None and d.second is not None]
    return [d for d in both if (d.section == "protocol" and d.field in CHEAP) or (d.section, d.field) == ("row", "steps")]


def measure(
    a: Row, b: Row, descriptions: Descriptions, root: Root, suite: Suite, watch: Callable[[str, int, int], None] | None = None
) -> list[Effect]:
    """The first row measured again, then with each cheap condition of the second alone, then with all of them.

    `suite`: where weights and references lie. Raises BenchError where the snapshot, the data or the extractor is not what
    the row was made with.
    """
    changes = cheap(differences(a, b, descriptions))
    wanted = [("", []), *((d.field, [d]) for d in changes)]
    if len(changes) > 1:
        wanted.append(("all of these", changes))
    laboratory = Laboratory.of(a, descriptions, root, suite)
    effects: list[Effect] = []
    for field, changed in wanted:
        value = laboratory.value(changed, watch)
        change = ", ".join(f"{d.first} -> {d.second}" for d in changed)
        effects.append(Effect(field, change, value, value - (effects[0].value if effects else value)))
    return effects


@dataclass(frozen=True)
class Laboratory:
    """One row's snapshot and conditions, ready to be scored under others."""

    row: Row
    model: sample.Model
    dataset: datasets.Dataset
    extractor: extractors.Extractor
    settings: Eval
    root: Root

    @staticmethod
    def of(row: Row, descriptions: Descriptions, root: Root, suite: Suite) -> "Laboratory":
        known = conditions(row, descriptions)
        path = root.run(row.run).snapshot(row.images)
        if not known or row.metric not in METRICS or row.steps is None or not path.is_file():
            raise BenchError(
                f"The effect on {row.metric} of {row.run} can not be measured here",
                f"a score of samples, whose snapshot is {path}",
                "Copy the run's folder beside the results, or use --no-measure.",
            )
        model = sample.load_model(checkpoint.load_snapshot(path), dist.pick_device(suite.loop.device))
        dataset = datasets.load(model.config.dataset, **model.config.dataset_options)
        name = known["extractor"]
        options = suite.extractors.get(name, {})
        extractor = extractors.load(name, datasets.pixel_shape(dataset), str(model.device), **options)
        settings = suite.eval.model_copy(
            update={key: known[name] for name, key in CHEAP.items() if name in known} | {"metrics": (row.metric,)}
        )
        laboratory = Laboratory(row, model, dataset, extractor, settings, root)
        again = evaluate.make_judges(dataset, [extractor], settings, root.references, model.config.weights)[0].protocol
        others = _unequal("protocol", known, json.loads(json.dumps(again.conditions)))
        if others:
            now = ", ".join(d.field for d in others)
            raise BenchError(f"{row_id(row)} was measured under another {now}", "the same data, weights and code", HOW_BACK)
        return laboratory

    def value(self, changed: Sequence[Difference], watch: Callable[[str, int, int], None] | None = None) -> float:
        """The row's metric with the second row's conditions in place of its own."""
        settings = self.settings.model_copy(update={CHEAP[d.field]: d.second for d in changed if d.field in CHEAP})
        steps: int = next((d.second for d in changed if d.field == "steps"), self.row.steps or 0)
        seed = self.row.sample_seed or 0
        if refused := sample.refusal(self.model, steps):
            raise BenchError(f"{steps} steps: {refused}", "a number of steps that the method can take", "Use --no-measure.")
        weights = self.model.config.weights
        judges = evaluate.make_judges(self.dataset, [self.extractor], settings, self.root.references, weights)
        ((found,),) = evaluate.score(self.model, self.dataset, judges, settings, steps, seed, watch)
        return found.value
