"""What is done to a trained run: its snapshots are scored, and what it costs is measured.

evaluate_all(job, final, again=False)
measure_run(job, again=False)
"""

import itertools
from typing import Any

import torch

from bench import accord, checkpoint, dist, evaluate, micro_batch, rows, sample, snapshots
from bench.errors import NotFinite
from bench.job import Job, load_extractors
from bench.protocol import Protocol
from bench.speed import run_rows


def evaluate_all(job: Job, final: checkpoint.Snapshot, again: bool) -> None:
    """Score every snapshot of the run. One whose samples are not finite has failed rows; the others are scored all the same."""
    broken: list[NotFinite] = []
    for snapshot in snapshots.final_first(job.run, final):
        try:
            evaluate_run(job, snapshot, again, final=snapshot is final)
        except NotFinite as error:  # on every process alike
            broken.append(error)
    if broken:
        raise broken[0]


def evaluate_run(job: Job, snapshot: checkpoint.Snapshot, again: bool, *, final: bool = True) -> None:
    """Score the snapshot under every protocol, write the rows; of the `final` one the sample grids too."""
    settings, after = job.suite.eval, "" if final else f" after {snapshot.images:,} images"
    with accord.agreement():
        found = load_extractors(job.suite, job.dataset)
    judges = evaluate.make_judges(job.dataset, found, settings, job.root.references, job.config.weights)
    if not again:
        missing = accord.first(lambda: [not scored_already(job, judge, snapshot.images, after) for judge in judges])
        judges = list(itertools.compress(judges, missing))
    if not judges:
        return
    for remark in dict.fromkeys(remark for judge in judges for remark in judge.remarks):
        job.hooks.say(remark)
    model = sample.load_model(snapshot, job.device)
    found_rows = evaluate.evaluate(
        model, job.dataset, judges, settings,
        watch=lambda what, done, total: job.hooks.watch(f"sampling{after}, {what}", done, total),
    )  # fmt: skip

    def write() -> None:
        job.write_rows(found_rows, "evaluation", [judge.protocol for judge in judges])
        for steps in sorted({row.steps for row in found_rows if row.steps and row.status == "ok" and final}):
            sample.save_grid(job.run.samples / f"steps-{steps}.png", model, job.dataset, steps=steps)

    accord.first(write)
    if broken := [row for row in found_rows if row.status == "failed"]:
        raise NotFinite(broken[0].reason)


def scored_already(job: Job, judge: evaluate.Judge, images: int, after: str) -> bool:
    seeds = evaluate.sample_seeds(job.suite.eval)
    if not all(job.has_rows(judge.protocol, images, metric, seeds) for metric in judge.metrics):
        return False
    job.hooks.say(f"{job.run.name} is scored already under {judge.protocol.id}{after}")
    return True


def measure_run(job: Job, again: bool) -> None:
    """Measure the cost, write the rows; the training time, of each snapshot, is the one that training noted."""
    status = job.run.read_status()
    rows_at_a_time = micro_batch.of_run(job.config, job.dataset, job.suite.loop, job.device, status)
    suite = job.suite.model_copy(update={"loop": job.suite.loop.model_copy(update={"micro_batch": rows_at_a_time})})
    protocol = run_rows.make_protocol(job.config, suite.speed, job.device, rows_at_a_time, suite.loop.recompute)
    if not again and job.has_rows(protocol, status["images"], "latency_ms", None):
        job.hooks.say(f"{job.run.name} is timed already under {protocol.id}")
        return
    job.hooks.say(f"{job.run.name}: measuring throughput, latency and memory")
    torch.cuda.empty_cache()  # what this process keeps for later the measuring one would lack; without a GPU, nothing
    found = run_rows.measure_apart(job.config, suite, status["images"])
    stamp = job.stamp(status["images"]) | {"device": dist.timing_label(job.device)}
    found += [time_row(stamp, protocol, *spent) for spent in snapshots.costs(job.run).items()]
    job.write_rows(found, "speed", [protocol])


def time_row(stamp: dict[str, Any], here: Protocol, images: int, spent: dict[str, Any]) -> rows.Row:
    """The training time of one snapshot. Of another device than this one, or several processes, it is no part of `here`."""
    device, processes = spent.get("device", ""), spent.get("world_size", 1)
    where = here.id if device == stamp["device"] else "training-time"
    if processes > 1:  # the protocol's measurements are of one
        where = f"training-time-{processes}-processes"
    own = stamp | {"images": images, "device": device, "protocol": where, "world_size": processes}
    value = spent["seconds"]
    return rows.Row(**own, metric="train_seconds", value=value, unit="s", better="min", seconds=value)
