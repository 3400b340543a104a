"""A profile -> what a check or a new baseline trains, under which conditions, and where its files lie.

plan = make_plan(PROFILE, Root(folder))
plan.configs(range(2))      # a run a method and seed
"""

import hashlib
import json
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bench
from bench import config as configuration
from bench import datasets, evaluate, extractors, pipeline, provenance
from bench.config import RunConfig, Suite
from bench.errors import BenchError
from bench.gate.anchors import Scene
from bench.gate.baselines import Conditions
from bench.store import Root

PROFILE = Path(bench.__file__).with_name("profiles") / "ci.toml"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a profile asks for."""

    suite: Suite
    dataset: datasets.Dataset
    extractor: extractors.Extractor
    conditions: Conditions
    root: Root

    def configs(self, seeds: Sequence[int], methods: Sequence[str] = ()) -> list[RunConfig]:
        """One a method and seed; of all methods unless some are named."""
        run = self.suite.run
        return [
            self.suite.model_copy(update={"run": run.model_copy(update={"seed": s, "seeds": 1, "methods": (m,)})}).runs()[0]
            for s in seeds
            for m in run.methods
            if not methods or m in methods
        ]

    def scene(self, method: str) -> Scene:
        return Scene(
            config=self.configs([self.suite.run.seed], [method])[0],
            dataset=self.dataset,
            extractor=self.extractor,
            settings=self.suite.eval,
            references=self.root.references,
        )


def make_plan(profile: Path, root: Root) -> Plan:
    """Raises BenchError for a profile that can not be used."""
    suite = configuration.load(profile, {})
    says = json.dumps(configuration.read_toml(profile), sort_keys=True)
    dataset = pipeline.load_dataset(suite)
    found = pipeline.load_extractors(suite, dataset)
    if len(found) != 1:
        raise BenchError(f"{len(found)} extractors in {profile.name}", "one", "Correct eval.extractor there.")
    judge = evaluate.make_judges(dataset, found, suite.eval, root.references)[0]
    conditions = Conditions(
        profile=hashlib.sha256(says.encode()).hexdigest()[:12],
        protocol=judge.protocol.id,
        images=suite.runs()[0].total_images(dataset.train_images),
        data=dataset.digest[:12],
    )
    return Plan(suite=suite, dataset=dataset, extractor=found[0], conditions=conditions, root=root)


def baseline_of(profile: Path) -> Path:
    """bench/profiles/ci.toml -> bench/profiles/ci-baseline.json."""
    return profile.with_name(f"{profile.stem}-baseline.json")


def anchor_of(baseline: Path, method: str) -> Path:
    """bench/profiles/ci-baseline.json -> bench/profiles/ci-soflow.safetensors."""
    return baseline.with_name(f"{baseline.stem.removesuffix('-baseline')}-{method}.safetensors")


def circumstances(started_by: str) -> dict[str, Any]:
    """Where and with what: the provenance of a check or a baseline."""
    sha, dirty = provenance.commit()
    return {
        "command": started_by,
        "started_at": provenance.now(),
        "commit": sha,
        "dirty": dirty,
        "versions": provenance.versions(),
        "processor": provenance.processor(),
        "platform": platform.platform(),
    }
