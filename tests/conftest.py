"""What several tests need: one thread, a tiny configuration, and a trained run."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from bench import config, datasets, evaluate, extractors, pipeline, rows, sample
from bench.config import Eval, RunConfig, Suite
from bench.store import Root

# One thread: bitwise equal sums wherever the tests run, and no two processes fighting over two cores.
os.environ["OMP_NUM_THREADS"] = "1"
torch.set_num_threads(1)

TINY = (
    "run.net=N/2",
    "run.epochs=1",
    "train.batch=32",
    "eval.samples=64",
    "eval.steps=[1,2]",
    "eval.seeds=1",
    "speed.seconds=0.01",
)


def tiny_suite(*settings: str, methods: tuple[str, ...] = ("soflow",)) -> Suite:
    """The embedded default at its smallest, with further "table.key=value" settings."""
    return config.load(config.SHIPPED, {"run": {"methods": methods}}, (*TINY, "eval.extra_steps.flow_matching=[4]", *settings))


def tiny_run(*settings: str, method: str = "soflow") -> RunConfig:
    return tiny_suite(*settings, methods=(method,)).runs()[0]


@pytest.fixture(scope="session")
def digits() -> Any:
    return datasets.load("digits")


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, digits: Any) -> tuple[Root, list[RunConfig], Suite]:
    """A root with one finished, scored and timed run of each method. Read only."""
    root = Root(tmp_path_factory.mktemp("finished"))
    suite = tiny_suite(methods=("soflow", "meanflow", "flow_matching"))
    for run in suite.runs():
        pipeline.run_one(pipeline.Job(config=run, suite=suite, root=root, dataset=digits), pipeline.Stages())
    return root, suite.runs(), suite


def one_run(suite: Suite, root: Path, dataset: Any, stages: pipeline.Stages | None = None, **hooks: Any) -> None:
    """The pipeline on the first run of a suite."""
    job = pipeline.Job(config=suite.runs()[0], suite=suite, root=Root(root), dataset=dataset, hooks=pipeline.Hooks(**hooks))
    pipeline.run_one(job, stages or pipeline.Stages())


def scored(model: sample.Model, dataset: Any, settings: Eval, folder: Path, *names: str) -> list[rows.Row]:
    """The rows of a model under the protocols of these extractors, by itself the data set's own."""
    found = [extractors.load(name, dataset.shape) for name in names or (dataset.extractor,)]
    return evaluate.evaluate(model, dataset, evaluate.make_judges(dataset, found, settings, folder), settings)


@pytest.fixture
def write_file(tmp_path: Path) -> Callable[[str, str], Path]:
    def write(name: str, text: str) -> Path:
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


# What takes minutes and waits a lot comes first: with several workers, the last file should be a short one.
LONG = (
    "test_train",
    "test_slurm",
    "test_processes",
    "test_cluster",
    "test_cli",
    "test_snapshots",
    "test_snapshots_scored",
    "test_bench_speed",
    "test_bench_speed_command",
    "test_scores",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def place(item: pytest.Item) -> int:
        return LONG.index(item.path.stem) if item.path.stem in LONG else len(LONG)

    items.sort(key=place)
