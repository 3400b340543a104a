"""From settings to rows: train, evaluate, measure, store. What `bench run` and its parts do, without printing.

for config in suite.runs():
    run_one(config, suite, root, hooks)
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from bench import checkpoint, datasets, dist, evaluate, extractors, provenance, rows, sample, speed, train
from bench.config import RunConfig, Suite, load
from bench.errors import BenchError, RunFailed
from bench.protocol import Protocol
from bench.store import Root, RunDirectory, write_atomic


def ignore(*_: Any) -> None:
    return None


@dataclass(frozen=True)
class Hooks:
    """Where progress is told: `say` a line, `watch` a stage's name with units done and in all."""

    say: Callable[[str], None] = ignore
    watch: Callable[[str, int, int], None] = ignore
    started_by: str = field(default="bench")


@dataclass(frozen=True)
class Stages:
    """Which parts of a run are wanted."""

    train: bool = True
    evaluate: bool = True
    speed: bool = True
    again: bool = False  # measure again what has rows already


# Parts


def load_dataset(suite: Suite) -> datasets.Dataset:
    return datasets.load(suite.run.dataset, **suite.datasets.get(suite.run.dataset, {}))


def load_extractor(suite: Suite, dataset: datasets.Dataset) -> extractors.Extractor:
    name = dataset.extractor if suite.eval.extractor == "auto" else suite.eval.extractor
    pixels, _ = dataset.images(torch.arange(1))
    channels, height, width = dataset.to_uint8(pixels).shape[1:]
    return extractors.load(name, (channels, height, width), str(dist.pick_device(suite.loop.device)))


def describe(config: RunConfig, dataset: datasets.Dataset, suite: Suite, hooks: Hooks) -> dict[str, Any]:
    device = dist.device_label(dist.pick_device(suite.loop.device))
    return provenance.describe(config, suite, device=device, data_digest=dataset.digest, started_by=hooks.started_by)


def prepare(run: RunDirectory, config: RunConfig, description: dict[str, Any]) -> None:
    """Write config.toml and provenance.json once. Raises BenchError when the folder holds another run or format."""
    run.read_status()
    if run.config.is_file() and [other.digest for other in load(run.config, {}).runs()] != [config.digest]:
        raise BenchError(
            f"{run.config} is not what this run's settings resolve to",
            "a run directory as `bench run` left it",
            f"Restore it, or delete {run.path} to start that run anew.",
        )
    if not run.config.is_file():
        write_atomic(run.config, config.as_toml())
    if not run.provenance.is_file():
        write_atomic(run.provenance, provenance.as_json(description))


def trained(run: RunDirectory, dataset: datasets.Dataset, hooks: Hooks) -> checkpoint.Snapshot | None:
    """The final snapshot of a finished run, None before. A damaged one is named and trained again from the last state.

    Raises BenchError when it was trained on other data.
    """
    status = run.read_status()
    if status["state"] != "finished":
        return None
    try:
        snapshot = checkpoint.load_snapshot(run.snapshot(status["images"]))
    except BenchError as error:
        run.log(f"{error.given}; training goes on from the last state")
        hooks.say(f"{error.given}; training goes on from the last state")
        return None
    if snapshot.data_digest != dataset.digest:
        raise BenchError(
            f"{run.name} was trained on other data ({snapshot.data_digest[:8]})",
            f"the data of this run ({dataset.digest[:8]})",
            "Bring that data back, or use another folder: --root DIR.",
        )
    return snapshot


# One run


def run_one(
    config: RunConfig, suite: Suite, root: Root, dataset: datasets.Dataset, stages: Stages, hooks: Hooks
) -> RunDirectory:
    """Do what is wanted and not done yet. Raises BenchError, Interrupted, or RunFailed (a failed row was written)."""
    run = root.run(config.name)
    description = describe(config, dataset, suite, hooks)
    with run.locked():
        prepare(run, config, description)
        try:
            snapshot = trained(run, dataset, hooks)
            if snapshot is not None:
                hooks.say(f"{run.name} is trained already ({snapshot.images:,} images)")
            elif stages.train:
                snapshot = train.train(config, dataset, run, suite.loop, functools.partial(hooks.watch, "training"))
                if root.result_file(run.name).is_file():
                    rows.write(root.result_file(run.name), [], description)  # forgets an earlier failure
            else:
                raise BenchError(f"{run.name} is not trained yet", "a finished run", "Train it first: `bench train`.")
            if stages.evaluate:
                evaluate_run(run, snapshot, config, suite, root, dataset, description, stages, hooks)
            if stages.speed:
                measure_run(run, config, suite, root, dataset, description, stages, hooks)
        except (torch.OutOfMemoryError, MemoryError) as error:
            reason = f"out of memory ({str(error).splitlines()[0]}); reduce train.batch or eval.batch, or the net"
            fail(run, config, root, description, reason)
            raise RunFailed(f"{run.name}: {reason}") from error
        except RunFailed as error:
            fail(run, config, root, description, str(error))
            raise
    return run


def fail(run: RunDirectory, config: RunConfig, root: Root, description: dict[str, Any], reason: str) -> None:
    """Leave a failed row: a failure is a result, not a gap."""
    images = int(run.read_status().get("images", 0))
    run.write_status("failed", images=images, reason=reason)
    stamp = provenance.stamp(config, images, description["device"])
    row = rows.Row(**stamp, metric="training", value=None, protocol="training", seconds=0.0, status="failed", reason=reason)
    rows.write(root.result_file(run.name), [row], description)


def evaluate_run(
    run: RunDirectory, snapshot: checkpoint.Snapshot, config: RunConfig, suite: Suite, root: Root,
    dataset: datasets.Dataset, description: dict[str, Any], stages: Stages, hooks: Hooks,
) -> None:  # fmt: skip
    """Score the snapshot, write the rows and the sample grids."""
    extractor = load_extractor(suite, dataset)
    protocol = evaluate.make_protocol(dataset, extractor, suite.eval)
    counts = evaluate.step_counts(config.method, suite.eval)
    if not stages.again and measured(root, run, protocol, snapshot.images, "frechet_distance", counts):
        hooks.say(f"{run.name} is scored already under {protocol.id}")
        return
    model = sample.load_model(snapshot, dist.pick_device(suite.loop.device))
    watch = lambda what, done, total: hooks.watch(f"sampling, {what}", done, total)  # noqa: E731
    found, protocol = evaluate.evaluate(model, dataset, extractor, suite.eval, root.references, watch)
    rows.write(root.result_file(run.name), found, description | {"protocols": {protocol.id: protocol.conditions}})
    for steps in sorted({row.steps for row in found if row.steps and row.status == "ok"}):
        sample.save_grid(run.samples / f"steps-{steps}.png", model, dataset, steps=steps)


def measure_run(
    run: RunDirectory, config: RunConfig, suite: Suite, root: Root, dataset: datasets.Dataset,
    description: dict[str, Any], stages: Stages, hooks: Hooks,
) -> None:  # fmt: skip
    """Measure the cost, write the rows; the training time comes from the log."""
    protocol = speed.make_protocol(config, suite.speed, dist.pick_device(suite.loop.device))
    images = config.total_images(dataset.train_images)
    if not stages.again and measured(root, run, protocol, images, "train_images_per_second", []):
        hooks.say(f"{run.name} is timed already under {protocol.id}")
        return
    hooks.say(f"{run.name}: measuring throughput, latency and memory")
    found, protocol = speed.measure_apart(config, config.dataset_options, suite.speed, suite.eval, suite.loop.device, images)
    seconds = sum(record["seconds"] for record in run.read_train_log())
    stamp = provenance.stamp(config, images, description["device"]) | {"protocol": protocol.id}
    found.append(rows.Row(**stamp, metric="train_seconds", value=seconds, unit="s", better="min", seconds=seconds))
    rows.write(root.result_file(run.name), found, description | {"protocols": {protocol.id: protocol.conditions}})


def measured(root: Root, run: RunDirectory, protocol: Protocol, images: int, metric: str, steps: list[int]) -> bool:
    """Whether the run's result file has these rows."""
    path: Path = root.result_file(run.name)
    if not path.is_file():
        return False
    frame, _ = rows.read_file(path)
    frame = frame[(frame["protocol"] == protocol.id) & (frame["metric"] == metric) & (frame["images"] == images)]
    return len(frame) > 0 and set(steps) <= set(frame["steps"].dropna().astype(int))
