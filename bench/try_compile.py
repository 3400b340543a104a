"""`train.compile = "try"`: compiled if every method of the comparison can be, else none of them, and it says so.

    suite = settled(suite, dataset, device, root, say)      # before runs have their names: train.compile is true or false

What was begun goes on as it began, wherever: the choice is in the names of its runs.
"""

from collections.abc import Callable
from typing import Any

import torch

from bench import accord, datasets
from bench.config import RunConfig, Suite
from bench.errors import BenchError, RunFailed
from bench.step import Step, load_method
from bench.store import Root
from bench.train import inputs, on_device


def settled(suite: Suite, dataset: datasets.Dataset, device: torch.device, root: Root, say: Callable[[str], None]) -> Suite:
    """The suite with a yes or a no, the same on every process. A collective operation; a loss may take minutes to compile."""
    if suite.train.compile != "try":
        return suite
    for choice in (True, False):
        if accord.first(lambda choice=choice: begun(decided(suite, choice), root)):  # type: ignore[misc]
            return decided(suite, choice)
    compiled = decided(suite, True)
    for config in {(run.method, run.net): run for run in compiled.runs()}.values():
        try:
            with accord.agreement():
                attempt(config, dataset, device)
        except RunFailed as error:
            say(f"NOT COMPILED: all runs train uncompiled (train.compile = false), because of {config.method}: {error}")
            return decided(suite, False)
    return compiled


def decided(suite: Suite, choice: bool) -> Suite:
    return suite.model_copy(update={"train": suite.train.model_copy(update={"compile": choice})})


def begun(suite: Suite, root: Root) -> bool:
    return any(root.run(run.name).config.is_file() for run in suite.runs())


def attempt(config: RunConfig, dataset: datasets.Dataset, device: torch.device) -> None:
    """Raises RunFailed where the loss can not be compiled, or is another one then."""
    step = Step.start(config, dataset, device)
    total = config.total_images(dataset.train_images)
    given: Any = inputs(config, dataset, load_method(config, dataset.num_classes), step.share, 0, total)
    step.verify(*on_device(given, device))


def refuse(suite: Suite) -> None:
    """Raises BenchError where the choice would be made on another machine than the one that trains."""
    if suite.train.compile == "try":
        remedy = "Choose one: --set train.compile=true, or leave it out."
        raise BenchError('train.compile = "try" in a job for the cluster', "true, false", remedy)
