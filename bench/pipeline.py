"""From settings to rows: train, evaluate, measure, store. What `bench run` and its parts do, without printing.

for config in suite.runs():
    run_one(Job(config=config, suite=suite, root=root, dataset=dataset), Stages())
"""

import functools
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from bench import accord, checkpoint, datasets, dist, measuring, micro_batch, provenance, rows, snapshots, train
from bench.config import load
from bench.errors import BenchError, RunFailed
from bench.job import Hooks, Job, Stages, load_dataset, load_extractors
from bench.memory import out_of_memory
from bench.store import RunDirectory, write_atomic

__all__ = ["Hooks", "Job", "Stages", "load_dataset", "load_extractors", "run_one"]

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
                accord.first(lambda: provenance.note_session(job.run, dist.timing_label(job.device)))
                watch = functools.partial(job.hooks.watch, "training")
                loop = micro_batch.settled(job.config, job.dataset, job.suite.loop, job.device, job.tell)
                snapshot = train.train(job.config, job.dataset, job.run, loop, watch=watch, say=job.hooks.say)
            accord.first(lambda: forget_failure(job))
        else:
            how = "was imported" if job.config.origin else "is trained already"
            job.hooks.say(f"{job.run.name} {how} ({snapshot.images:,} images)")
            say_what_lacks(job, snapshot.images)
        if stages.evaluate:
            with failures(job, "evaluation"):
                measuring.evaluate_all(job, snapshot, stages.again)
        if stages.speed:
            with failures(job, "speed"):
                accord.first(lambda: measuring.measure_run(job, stages.again))
    return job.run


def say_what_lacks(job: Job, total: int) -> None:
    """A finished training is not done again for snapshots that nobody asked for then."""
    there, wanted = len(snapshots.images_seen(job.run)), min(job.suite.loop.snapshots, total // job.config.train.batch)
    if there < wanted and not job.config.origin:
        how = f"only a new training makes the others: delete {job.run.path}, or use another --root"
        job.hooks.say(f"{job.run.name} has {there} of {wanted} snapshots; {how}")


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
                note_failure(job, stage, accord.told_by_others(error) or str(error))
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
