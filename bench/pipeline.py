"""From settings to rows: train, evaluate, measure, store. What `bench run` and its parts do, without printing.

for config in suite.runs():
    run_one(Job(config=config, suite=suite, root=root, dataset=dataset), Stages())
"""

import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch

from bench import accord, checkpoint, datasets, dist, evaluate, extractors, provenance, rows, sample, train
from bench.config import RunConfig, Suite, load
from bench.errors import BenchError, NotFinite, RunFailed
from bench.memory import out_of_memory
from bench.protocol import Protocol
from bench.speed import run_rows
from bench.store import Root, RunDirectory, read_json, write_atomic


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


# One run


def run_one(job: Job, stages: Stages) -> RunDirectory:
    """Do what is wanted and not done yet. Raises BenchError, Interrupted, or RunFailed (a failed row was written)."""
    with ExitStack() as held:
        accord.first(lambda: begin(job, held))
        if where := datasets.place(job.dataset, job.device):
            job.hooks.say(where)
        with accord.agreement():
            found = trained(job) if dist.rank() == 0 else None
        snapshot = accord.shared_snapshot(found)
        if snapshot is None and not stages.train:
            raise BenchError(f"{job.run.name} is not trained yet", "a finished run", "Train it first: `bench train`.")
        if snapshot is None and job.config.origin:
            given = f"{job.run.name} holds imported weights, and they can not be read"
            raise BenchError(given, "a run directory as `bench import` left it", "Import the file again: `bench import`.")
        if snapshot is None:
            with failures(job, "training"):
                accord.first(lambda: provenance.note_session(job.run, dist.device_label(job.device)))
                watch = functools.partial(job.hooks.watch, "training")
                snapshot = train.train(job.config, job.dataset, job.run, job.suite.loop, watch=watch, say=job.hooks.say)
            accord.first(lambda: forget_failure(job))
        else:
            how = "was imported" if job.config.origin else "is trained already"
            job.hooks.say(f"{job.run.name} {how} ({snapshot.images:,} images)")
        if stages.evaluate:
            with failures(job, "evaluation"):
                evaluate_run(job, snapshot, stages.again)
        if stages.speed:
            with failures(job, "speed"):
                accord.first(lambda: measure_run(job, stages.again))
    return job.run


def forget_failure(job: Job) -> None:
    """The row of a training that failed, now that it is done."""
    if job.root.result_file(job.run.name).is_file():
        job.write_rows([], forget="training")


def begin(job: Job, held: ExitStack) -> None:
    """Hold the run, and write down what it is."""
    held.enter_context(job.run.locked())
    prepare(job)


def prepare(job: Job) -> None:
    """Write config.toml and provenance.json once. Raises BenchError when the folder holds another run or format."""
    run = job.run
    run.read_status()
    if run.config.is_file() and [other.digest for other in load(run.config, {}).runs()] != [job.config.digest]:
        raise BenchError(
            f"{run.config} is not what this run's settings resolve to",
            "a run directory as `bench run` left it",
            f"Restore it, or delete {run.path} to start that run anew.",
        )
    if not run.config.is_file():
        write_atomic(run.config, job.config.as_toml(job.suite))
    if not run.provenance.is_file():
        facts = provenance.describe(
            job.config, job.suite, device=dist.device_label(job.device), data_digest=job.dataset.digest,
            started_by=job.hooks.started_by,
        )  # fmt: skip
        write_atomic(run.provenance, provenance.as_json(facts))


def trained(job: Job) -> checkpoint.Snapshot | None:
    """The final snapshot of a finished run, None before. A damaged one is named and trained again from the last state.

    Raises BenchError when it was trained on other data.
    """
    status = job.run.read_status()
    if status["state"] != "finished":
        return None
    try:
        snapshot = checkpoint.load_snapshot(job.run.snapshot(status["images"]))
    except BenchError as error:
        job.run.log(f"{error.given}; training goes on from the last state")
        job.hooks.say(f"{error.given}; training goes on from the last state")
        return None
    if job.config.origin:
        check_fit(job, snapshot)
    elif snapshot.data_digest != job.dataset.digest:
        raise BenchError(
            f"{job.run.name} was trained on other data ({snapshot.data_digest[:8]})",
            f"the data of this run ({job.dataset.digest[:8]})",
            "Bring that data back, or use another folder: --root DIR.",
        )
    return snapshot


def check_fit(job: Job, snapshot: checkpoint.Snapshot) -> None:
    """Raises BenchError where imported weights, whose data nobody recorded, are not for images and classes like these."""
    theirs, ours = (snapshot.shape, snapshot.num_classes), (job.dataset.shape, job.dataset.num_classes)
    if theirs != ours:
        given, allowed = (f"(C, H, W) = {shape} with {classes} classes" for shape, classes in (theirs, ours))
        remedy = "Import it for another data set: `bench import --dataset NAME`."
        raise BenchError(f"{job.run.name} is a network for {given}", f"{allowed}, as {job.dataset.name} has", remedy)


@contextmanager
def failures(job: Job, stage: str) -> Iterator[None]:
    """Leave a failed row of the stage: a failure is a result, not a gap. What is trained stays trained."""
    try:
        with out_of_memory(), accord.company():
            yield
    except RunFailed as error:
        if dist.rank() == 0:
            with train.catch_signals():  # where another process has ended, the launcher is about to stop this one
                note_failure(job, stage, str(error))
        raise


def note_failure(job: Job, stage: str, reason: str) -> None:
    status = job.run.read_status()
    states = checkpoint.state_files(job.run.state)
    images = int(states[0].stem) if states and stage == "training" else int(status["images"])
    if stage == "training":
        job.run.write_status("failed", images=images, total=status.get("total", 0), reason=reason)
    job.run.log(f"{stage} failed: {reason}")
    row = rows.Row(**job.stamp(images), metric=stage, value=None, protocol=stage, seconds=0.0, status="failed", reason=reason)
    job.write_rows([row], forget=stage)


# Stages after training


def evaluate_run(job: Job, snapshot: checkpoint.Snapshot, again: bool) -> None:
    """Score the snapshot under every protocol, write the rows and the sample grids."""
    settings = job.suite.eval
    with accord.agreement():
        found = load_extractors(job.suite, job.dataset)
    judges = evaluate.make_judges(job.dataset, found, settings, job.root.references, job.config.weights)
    if not again:
        missing = accord.first(lambda: [not scored_already(job, judge, snapshot.images) for judge in judges])
        judges = list(itertools.compress(judges, missing))
    if not judges:
        return
    for remark in dict.fromkeys(remark for judge in judges for remark in judge.remarks):
        job.hooks.say(remark)
    model = sample.load_model(snapshot, job.device)
    found_rows = evaluate.evaluate(
        model, job.dataset, judges, settings,
        watch=lambda what, done, total: job.hooks.watch(f"sampling, {what}", done, total),
    )  # fmt: skip

    def write() -> None:
        job.write_rows(found_rows, "evaluation", [judge.protocol for judge in judges])
        for steps in sorted({row.steps for row in found_rows if row.steps and row.status == "ok"}):
            sample.save_grid(job.run.samples / f"steps-{steps}.png", model, job.dataset, steps=steps)

    accord.first(write)
    if broken := [row for row in found_rows if row.status == "failed"]:
        raise NotFinite(broken[0].reason)


def scored_already(job: Job, judge: evaluate.Judge, images: int) -> bool:
    seeds = evaluate.sample_seeds(job.suite.eval)
    if not all(job.has_rows(judge.protocol, images, metric, seeds) for metric in judge.metrics):
        return False
    job.hooks.say(f"{job.run.name} is scored already under {judge.protocol.id}")
    return True


def measure_run(job: Job, again: bool) -> None:
    """Measure the cost, write the rows; the training time is the one that training noted."""
    protocol = run_rows.make_protocol(job.config, job.suite.speed, job.device, job.suite.loop.micro_batch)
    status = job.run.read_status()
    if not again and job.has_rows(protocol, status["images"], "latency_ms", None):
        job.hooks.say(f"{job.run.name} is timed already under {protocol.id}")
        return
    job.hooks.say(f"{job.run.name}: measuring throughput, latency and memory")
    torch.cuda.empty_cache()  # what this process keeps for later the measuring one would lack; without a GPU, nothing
    found = run_rows.measure_apart(job.config, job.suite, status["images"])
    # Trained on another device than this one: its time is no part of this device's protocol.
    device, seconds = status.get("device", ""), status.get("seconds")
    if seconds is not None:
        where = protocol.id if device == dist.device_label(job.device) else "training-time"
        if (processes := status.get("world_size", 1)) > 1:  # the protocol's measurements are of one
            where = f"training-time-{processes}-processes"
        stamp = job.stamp(status["images"]) | {"device": device, "protocol": where, "world_size": processes}
        found.append(rows.Row(**stamp, metric="train_seconds", value=seconds, unit="s", better="min", seconds=seconds))
    job.write_rows(found, "speed", [protocol])
