"""bench.toml and the flags -> frozen, validated settings; the resolved settings of one run -> its name.

    suite = load(None, {"run": {"epochs": 2, "methods": ["soflow"]}})
    for run in suite.runs():        # one a method and seed
        print(run.name)             # digits-soflow-T-2-s0-1a2b3c4d

Only this module reads TOML.
"""

import hashlib
import json
import math
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import BaseModel, ValidationError

from bench.errors import BenchError, suggestion, unknown
from bench.sections import STRICT, Cluster, Eval, Loop, Run, Section, Speed, Train

SHIPPED = Path(__file__).resolve().parent.parent / "bench.toml"
__all__ = ["Cluster", "Eval", "Loop", "Run", "RunConfig", "Speed", "Suite", "Train"]
PROFILES = Path(__file__).resolve().parent / "profiles"
ASIDE = ("folder", "vae", "decoder_precision", "decoder_batch")  # options of data sets that no weights depend on


class Suite(BaseModel):
    """Everything that bench.toml can say."""

    model_config = STRICT

    origin: str = ""  # of weights that `bench import` brought, as its config.toml has it; "" is trained here
    run: Run = Run()
    train: Train = Train()
    loop: Loop = Loop()
    eval: Eval = Eval()
    speed: Speed = Speed()
    cluster: Cluster = Cluster()
    methods: dict[str, dict[str, Any]] = {}
    datasets: dict[str, dict[str, Any]] = {}
    extractors: dict[str, dict[str, Any]] = {}

    def runs(self) -> "list[RunConfig]":
        """One resolved configuration a method, net and seed, in the order given. Raises BenchError for what does not fit."""
        seeds, nets = range(self.run.seed, self.run.seed + self.run.seeds), self.run.net.split(",")
        return [self._resolve(method, net.strip(), seed) for seed in seeds for net in nets for method in self.run.methods]

    def _resolve(self, method: str, net: str, seed: int) -> "RunConfig":
        return RunConfig(
            method=method,
            hyperparameters=complete_hyperparameters(method, self.methods.get(method, {})),
            dataset=self.run.dataset,
            dataset_options=self.datasets.get(self.run.dataset, {}),
            net=net,
            epochs=self.run.epochs,
            seed=seed,
            train=self.train,
            origin=self.origin,
        )


class RunConfig(Section):
    """What determines the weights of one run; its hash is in the run's name."""

    method: str
    hyperparameters: dict[str, Any]  # all of the method's, defaults included
    dataset: str
    dataset_options: dict[str, Any]
    net: str
    epochs: float
    seed: int
    train: Train
    origin: str = ""  # "imported LAYOUT WEIGHTS SHA256": such a run has no training of ours, and no name of one

    @property
    def digest(self) -> str:
        """sha256 of the resolved settings, except where the data lies and how it is decoded (that has digests of its own)."""
        settings = json.loads(self.model_dump_json())
        for option in ASIDE:
            settings["dataset_options"].pop(option, None)
        if not self.train.compile:
            del settings["train"]["compile"]
        if not self.origin:
            del settings["origin"]  # the names of what is trained here stay what they were
        return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()

    @property
    def name(self) -> str:
        source = "imported" if self.origin else f"s{self.seed}"
        return f"{self.dataset}-{self.method}-{self.net.replace('/', '-')}-{source}-{self.digest[:8]}"

    @property
    def weights(self) -> str:
        """Which of the network's weights are scored: ema, raw, or unknown where an imported file does not say."""
        return self.origin.split()[2] if self.origin else "ema"

    def total_images(self, train_images: int) -> int:
        """Images that training sees: the epochs, rounded up to whole batches."""
        return max(1, math.ceil(round(self.epochs * train_images) / self.train.batch)) * self.train.batch

    def as_suite(self) -> dict[str, Any]:
        """These settings in bench.toml's own form."""
        run = Run(methods=(self.method,), dataset=self.dataset, net=self.net, epochs=self.epochs, seed=self.seed)
        tables: dict[str, Any] = {"run": run.model_dump(), "train": self.train.model_dump()}
        tables["methods"] = {self.method: self.hyperparameters}
        if self.dataset_options:
            tables["datasets"] = {self.dataset: self.dataset_options}
        return {"origin": self.origin, **tables} if self.origin else tables

    def as_toml(self, suite: Suite) -> str:
        """A resolved copy that `bench run --config` takes, with the suite's ways to measure."""
        return tomli_w.dumps(self.as_suite() | {"eval": suite.eval.model_dump(), "speed": suite.speed.model_dump()})


def complete_hyperparameters(method: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """All hyperparameters of a method, its defaults included. Raises BenchError for an unknown method, key or value."""
    import dataclasses

    import methods

    if method not in methods.names():
        raise unknown("method", method, methods.names(), "`bench list` shows them; a new one is a file in methods/.")
    try:
        loaded = methods.load(method, num_classes=1, **given)
    except (ValueError, TypeError) as error:
        part, _, allowed = str(error).partition("; allowed: ")
        remedy = f"Correct [methods.{method}] in bench.toml, or --set methods.{method}.KEY=VALUE."
        raise BenchError(f"Cannot use {method} with {part}", allowed or "the types in the method's file", remedy) from error
    fields = dataclasses.fields(loaded)  # type: ignore[arg-type]
    values = {f.name: (getattr(loaded, f.name), f.default) for f in fields if f.name != "num_classes"}
    return {name: _like(value, default) for name, (value, default) in values.items()}


def _like(value: Any, default: Any) -> Any:
    """`value` in the default's type, tuples as lists: 2 and 2.0 are one setting, hence one run."""
    if isinstance(default, tuple):
        return [_like(v, d) for v, d in zip(value, default, strict=True)]
    return float(value) if isinstance(default, float) else value


# Reading


def load(file: Path | None, flags: Mapping[str, Any], settings: tuple[str, ...] = ()) -> Suite:
    """bench.toml, its preset for the data set, then the flags; the later wins.

    `file` None: ./bench.toml, else the one shipped with the suite. `settings` are "table.key=value" as TOML.
    """
    path = file or (Path("bench.toml") if Path("bench.toml").is_file() else SHIPPED)
    raw = read_toml(path)
    presets = tables_of(raw.pop("preset", {}))
    overrides = merge(flags, {})
    for setting in settings:
        overrides = merge(overrides, parse_setting(setting))
    dataset = tables_of(overrides.get("run")).get("dataset") or tables_of(raw.get("run")).get("dataset") or Run().dataset
    merged = merge(merge(raw, tables_of(presets.get(dataset))), overrides)
    try:
        for preset in presets.values():  # a mistake in one that is not in use is a mistake too
            Suite.model_validate(merge(raw, tables_of(preset)))
        suite = Suite.model_validate(merged)
    except ValidationError as error:
        raise explain(error, path) from error
    check_names(suite, presets, path)
    whole: dict[str, Any] = {"datasets": {name: with_whole_paths(o) for name, o in suite.datasets.items()}}
    if suite.eval.reference not in ("data", ""):
        whole["eval"] = suite.eval.model_copy(update={"reference": str(Path(suite.eval.reference).expanduser().resolve())})
    return suite.model_copy(update=whole)


def check_names(suite: Suite, presets: Mapping[str, Any], path: Path) -> None:
    """Raises BenchError for tables of methods and data sets that are not there: a typo would train something else."""
    import methods
    from bench import datasets, extractors

    remedy = f"Correct {path.name} or the flag."
    known = methods.names()
    tables = [("method in [methods]", list(suite.methods), known)]
    tables.append(("method in [eval.extra_steps]", list(suite.eval.extra_steps), known))
    tables.append(("data set in [datasets]", list(suite.datasets), datasets.names()))
    tables.append(("data set in [preset]", list(presets), datasets.names()))
    tables.append(("extractor in [extractors]", list(suite.extractors), extractors.names()))
    tables.append(("extractor in eval.extractor", list(suite.eval.extractor), ["auto", *extractors.names()]))
    for kind, given, allowed in tables:
        for name in given:
            if name not in allowed:
                raise unknown(kind, name, allowed, remedy)
    for name, hyperparameters in suite.methods.items():
        complete_hyperparameters(name, hyperparameters)


def with_whole_paths(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options with paths made absolute: a run is found again from anywhere. A `vae` that is no folder is an id: it stays."""
    paths = {key: str(options.get(key, "")) for key in ("folder", "vae")}
    whole = {key: Path(path).expanduser().resolve() for key, path in paths.items() if path}
    return dict(options) | {key: str(path) for key, path in whole.items() if key == "folder" or path.is_dir()}


def tables_of(value: Any) -> dict[str, Any]:
    """`value` if it is a table, else an empty one: what is wrong with it, validation says."""
    return value if isinstance(value, dict) else {}


def read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        allowed = f"a readable TOML file, or a profile: {', '.join(sorted(p.stem for p in PROFILES.glob('*.toml')))}"
        raise BenchError(f"Cannot read {path} ({reason})", allowed, "Name another with --config.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BenchError(f"{path} is not TOML ({error})", "a TOML file in UTF-8", "Correct the line it names.") from error


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of `base` with the tables of `over` laid over it, key by key; None leaves a key as it is."""
    result = {k: merge(v, {}) if isinstance(v, Mapping) else v for k, v in base.items() if v is not None}
    for key, value in over.items():
        if isinstance(value, Mapping):
            below = result.get(key)
            result[key] = merge(below if isinstance(below, Mapping) else {}, value)
        elif value is not None:
            result[key] = value
    return result


def parse_setting(setting: str) -> dict[str, Any]:
    """ "train.batch=64" -> {"train": {"batch": 64}}; a value that is not TOML is a string."""
    key, equals, text = setting.partition("=")
    names = [name.strip() for name in key.split(".")]
    if not equals or len(names) < 2 or not all(names):
        raise BenchError(f"--set {setting}", "TABLE.KEY=VALUE", "For example: --set train.batch=64")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    for name in reversed(names):
        value = {name: value}
    return dict(value)


def explain(error: ValidationError, path: Path) -> BenchError:
    """The first thing that is wrong, in three parts."""
    first = error.errors()[0]
    names = [str(part) for part in first["loc"]]
    where = ".".join(names)
    if first["type"] == "extra_forbidden":
        model: Any = Suite if len(names) == 1 else Suite.model_fields[names[0]].annotation
        allowed = sorted(model.model_fields)
        kind = "table" if len(names) == 1 else "key"
        given = f"Unknown {kind} {where!r}{suggestion(names[-1], allowed)}"
        return BenchError(given, ", ".join(allowed), f"Correct {path.name} or the flag.")
    message = first["msg"][0].lower() + first["msg"][1:]
    return BenchError(f"{where} = {first['input']!r}", message, f"Correct {path.name} or the flag; comments there give ranges.")
