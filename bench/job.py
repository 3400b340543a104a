"""One run and what its stages share: settings, places, data, and how its rows are stored.

job = Job(config=config, suite=suite, root=root, dataset=load_dataset(suite))
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from bench import datasets, dist, evaluate, extractors, provenance, rows
from bench.config import RunConfig, Suite
from bench.protocol import Protocol
from bench.store import Root, RunDirectory, read_json


def ignore(*_: Any) -> None:
    return None


@dataclass(frozen=True)
class Hooks:
    """Where progress is told: `say` a line, `watch` a stage's name with units done and in all."""

    say: Callable[[str], None] = ignore
    watch: Callable[[str, int, int], None] = ignore
    started_by: str = "bench"  # the command line as it was typed


@dataclass(frozen=True)
class Stages:
    """Which parts of a run are wanted."""

    train: bool = True
    evaluate: bool = True
    speed: bool = True
    again: bool = False  # measure again what has rows already


@dataclass(frozen=True, kw_only=True)
class Job:
    """One run and all that its stages share."""

    config: RunConfig
    suite: Suite
    root: Root
    dataset: datasets.Dataset
    hooks: Hooks = field(default_factory=Hooks)

    @property
    def run(self) -> RunDirectory:
        return self.root.run(self.config.name)

    @property
    def device(self) -> torch.device:
        return dist.start(self.suite.loop.device)

    def tell(self, message: str) -> None:
        """To the run's log, and to who is there."""
        self.run.log(message)
        self.hooks.say(message)

    def stamp(self, images: int) -> dict[str, Any]:
        return provenance.stamp(self.config, images, dist.device_label(self.device))

    def write_rows(self, found: list[rows.Row], forget: str, protocols: Sequence[Protocol] = ()) -> None:
        """Store rows with the run's provenance, and with the conditions and circumstances of this measurement."""
        description = read_json(self.run.provenance)
        if protocols:
            circumstances = provenance.measurement(
                self.config, self.suite, device=dist.device_label(self.device), started_by=self.hooks.started_by
            )
            description["protocols"] = {protocol.id: protocol.conditions for protocol in protocols}
            description["measurements"] = {protocol.id: circumstances for protocol in protocols}
        rows.write(self.root.result_file(self.run.name), found, description, forget)

    def has_rows(self, protocol: Protocol, images: int, metric: str, sample_seeds: Sequence[int] | None) -> bool:
        """Whether the metric was measured at every number of steps and sampling seed that is wanted."""
        path = self.root.result_file(self.run.name)
        if not path.is_file():
            return False
        frame, _ = rows.read_file(path)
        frame = frame[(frame["protocol"] == protocol.id) & (frame["metric"] == metric) & (frame["images"] == images)]
        frame = frame[(frame["status"] != "failed") & frame["steps"].notna()]
        steps = evaluate.step_counts(self.config.method, self.suite.eval)
        if sample_seeds is None:
            return set(steps) <= set(frame["steps"].astype(int))
        found = set(zip(frame["steps"].astype(int), frame["sample_seed"].fillna(-1).astype(int), strict=True))
        return set(itertools.product(steps, sample_seeds)) <= found


def load_dataset(suite: Suite) -> datasets.Dataset:
    return datasets.load(suite.run.dataset, **suite.datasets.get(suite.run.dataset, {}))


def load_extractors(suite: Suite, dataset: datasets.Dataset) -> list[extractors.Extractor]:
    """The extractors of [eval], each with its options. Raises BenchError for what does not fit the data set's images."""
    shape = datasets.pixel_shape(dataset)
    device = str(dist.pick_device(suite.loop.device))
    names = dict.fromkeys(dataset.extractor if name == "auto" else name for name in suite.eval.extractor)
    return [extractors.load(name, shape, device, **suite.extractors.get(name, {})) for name in names]
