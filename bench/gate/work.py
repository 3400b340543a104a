"""The gate's work, a process a training run: trained and scored by the pipeline as any run, a few side by side.

    with crew(suite) as executor:
        runs, failures = train_all(executor, suite, configs, root, protocol, say)

Every process computes on one thread: small networks are faster so, and sums do not depend on the machine's cores.
"""

import concurrent.futures
import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import pandas as pd
import torch

from bench import pipeline, rows
from bench.config import RunConfig, Suite
from bench.errors import BenchError, Interrupted, RunFailed
from bench.gate.judgement import Quantity, Sample
from bench.progress import duration
from bench.store import Root

LAST_PART = 0.25  # of training, over which the log's losses are averaged
LOGGED = {"velocity_mse": "velocity_mse", "jump_mse": "jump_mse", "grad_norm": "gradient_norm"}

Say = Callable[[str], None]
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What one training run gave."""

    config: RunConfig
    values: dict[Quantity, float]
    better: dict[Quantity, str]
    seconds: float


def print_nothing(_: str) -> None:
    return None


# In a process of its own


def settle() -> None:
    """One thread, and no life after the parent's: a worker whose parent was killed would wait for work for ever."""
    torch.set_num_threads(1)
    threading.Thread(target=end_with_parent, daemon=True).start()


def end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent:
        parent.join()
        os._exit(1)


def train_and_score(suite: Suite, config: RunConfig, root: Root, protocol: str) -> Measured:
    """The pipeline on one run. Raises BenchError, RunFailed, Interrupted."""
    started = time.monotonic()
    dataset = pipeline.load_dataset(suite)
    job = pipeline.Job(config=config, suite=suite, root=root, dataset=dataset, hooks=pipeline.Hooks(started_by="bench check"))
    run = pipeline.run_one(job, pipeline.Stages(speed=False))
    frame, _ = rows.read_file(root.result_file(run.name))
    images = config.total_images(dataset.train_images)
    values, better = from_rows(frame, protocol=protocol, images=images, sample_seeds=suite.eval.seeds)
    logged = from_log(config.method, run.read_train_log(), images)
    return Measured(
        config=config,
        values=values | logged,
        better=better | dict.fromkeys(logged, ""),
        seconds=time.monotonic() - started,
    )


def from_rows(
    frame: pd.DataFrame, *, protocol: str, images: int, sample_seeds: int
) -> tuple[dict[Quantity, float], dict[Quantity, str]]:
    """Means over the sampling seeds, and which way is better.

    Only of rows under this protocol, of a snapshot that has seen this many images: others are as good as not measured.
    """
    own = frame[(frame["protocol"] == protocol) & (frame["images"] == images) & (frame["status"] == "ok")]
    own = own[own["steps"].notna()]
    values, better = {}, {}
    for _, group in own.groupby(["method", "metric", "steps"], sort=False):
        if group["sample_seed"].nunique() == sample_seeds == len(group):
            first = group.iloc[0]
            quantity = Quantity(str(first["method"]), str(first["metric"]), int(first["steps"]))
            values[quantity] = float(group["value"].mean())
            better[quantity] = str(first["better"])
    return values, better


def from_log(method: str, log: Sequence[Mapping[str, Any]], images: int) -> dict[Quantity, float]:
    """Means over the last part of training, which scatter far less from seed to seed than a score does."""
    if not log or log[-1]["images"] != images:
        return {}
    starts = [0, *(line["images"] for line in log[:-1])]
    late = [(line, line["images"] - s) for line, s in zip(log, starts, strict=True) if s >= (1 - LAST_PART) * images]
    late = late or [(log[-1], images - starts[-1])]
    weight = sum(w for _, w in late)
    return {
        Quantity(method, name): sum(line[key] * w for line, w in late) / weight
        for key, name in LOGGED.items()
        if all(key in line for line, _ in late)
    }


def by_quantity(runs: Sequence[Measured]) -> dict[Quantity, Sample]:
    """A value a run, of what every run of a method gave: a quantity that one lacks counts as not measured."""
    found: dict[Quantity, Sample] = {}
    for method in dict.fromkeys(run.config.method for run in runs):
        own = [run.values for run in runs if run.config.method == method]
        found |= {q: tuple(values[q] for values in own) for q in own[0] if all(q in values for values in own)}
    return found


# Several processes


def workers(suite: Suite) -> int:
    """As many as this process may use cores, one on a GPU."""
    if suite.loop.device != "cpu":
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def crew(suite: Suite) -> Iterator[ProcessPoolExecutor]:
    """Processes to work in, which end with this block, also when it is left by an error or by Ctrl-C."""
    executor = ProcessPoolExecutor(workers(suite), multiprocessing.get_context("spawn"), settle)
    before = set(multiprocessing.active_children())
    try:
        yield executor
    except BaseException:
        executor.shutdown(wait=False, cancel_futures=True)
        children = set(multiprocessing.active_children()) - before
        for child in children:  # asked to stop, one would take up the next run
            child.kill()
        for child in children:  # before the caller takes away the folder that they write to
            child.join()
        raise
    executor.shutdown()


def result_of(future: Future[T]) -> T:
    """Raises what the work raised, and RunFailed when its process was killed."""
    try:
        return future.result()
    except BrokenProcessPool:
        raise RunFailed("a process ended by itself (out of memory?)") from None


def apart(executor: ProcessPoolExecutor, work: Callable[..., T], *arguments: Any) -> T:
    """The result of `work` in one of the crew's processes. Raises what it raised, and RunFailed when that was killed."""
    try:
        return result_of(executor.submit(work, *arguments))
    except BrokenProcessPool:  # the crew is gone already
        raise RunFailed("a process ended by itself (out of memory?)") from None


def train_all(
    executor: ProcessPoolExecutor, suite: Suite, configs: Sequence[RunConfig], root: Root, protocol: str, say: Say
) -> tuple[list[Measured], list[str]]:
    """All runs, in the order given, and why others failed. Raises BenchError for a mistake that concerns all."""
    try:
        futures = {executor.submit(train_and_score, suite, config, root, protocol): config for config in configs}
    except BrokenProcessPool:
        return [], ["a process ended by itself (out of memory?)"]
    found: dict[str, Measured] = {}
    failures: dict[str, str] = {}
    for number, future in enumerate(concurrent.futures.as_completed(futures), 1):
        config = futures[future]
        state = f"{config.method}, seed {config.seed}: "
        try:
            found[config.name] = result_of(future)
            state += duration(found[config.name].seconds)
        except (BenchError, Interrupted):
            raise
        except Exception as error:  # whatever the suite under test does, the other runs are worth their verdicts
            state += str(error) if isinstance(error, RunFailed) else f"{type(error).__name__}: {error}"
            failures[config.name] = state
        say(f"{number}/{len(configs)} {state}")
    names = [config.name for config in configs]
    return [found[name] for name in names if name in found], [failures[name] for name in names if name in failures]
