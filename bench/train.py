"""Training: one flat loop, the same for every method. Writes states, snapshots and train.jsonl; never evaluates.

    snapshot = train(config, dataset, run, loop)      # the caller holds run.locked()

Goes on from the run's last state; on a CPU with as many threads, to the same bits as if it had never stopped. Under several
processes each trains on its share of every batch, and the first one writes; another number of them may go on.
"""

import functools
import json
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import torch
from torch import Tensor

import methods
from bench import accord, checkpoint, datasets, dist, rng, snapshots
from bench.config import Loop, RunConfig
from bench.errors import BenchError, Interrupted
from bench.meter import Meter
from bench.prefetch import Ahead, depth, page_locked
from bench.saving import Saver
from bench.shares import Share
from bench.step import Step, learning_rate, load_method
from bench.store import RunDirectory, append_line

Watch = Callable[[int, int], None]  # (images seen, images in all)
Inputs = tuple[Tensor, Tensor, Any]  # images, labels, draws: of one batch


def train(
    config: RunConfig,
    dataset: datasets.Dataset,
    run: RunDirectory,
    loop: Loop,
    *,
    watch: Watch = lambda *_: None,
    say: Callable[[str], None] = lambda _: None,
) -> checkpoint.Snapshot:
    """Train to the end and return the final snapshot. What a person should know on the way goes to `say`.

    Raises Interrupted (the state was saved), RunFailed (non-finite loss, full disk; the last good state is kept), BenchError.
    """
    device = dist.start(loop.device)
    batch, total = config.train.batch, config.total_images(dataset.train_images)
    assert isinstance(loop.micro_batch, int), "bench.micro_batch settles it before"
    step = Step.start(config, dataset, device, together=True, micro_batch=loop.micro_batch, recompute=loop.recompute)
    meter, votes = Meter(step.share, device), accord.Votes(2)
    images = resume(config, dataset, run, step, meter, say)
    if dist.rank() == 0:
        run.write_status("running", images=images, total=total)
    make = functools.partial(inputs, config, dataset, load_method(config, dataset.num_classes), step.share, total=total)
    if config.train.compile and images < total:
        verify(step, on_device(make(images), device), say)
    saved_at = time.monotonic()
    batches = upcoming(make, range(images, total, batch), device)
    with catch_signals() as stopping, Saver(run.state, config.digest, dataset.digest) as saver, batches:
        while images < total:
            given = on_device(next(batches), device)

            out, gradient_norm = step(*given, images + batch)

            images += batch
            meter.add(out, gradient_norm)
            if images // loop.log_images > (images - batch) // loop.log_images or images >= total:
                log(config, dataset, run, meter, images)
            if snapshots.due(images, batch, total, loop.snapshots):  # before the state: what is past is never missing
                snapshots.write(config, dataset, run, step, meter, images)
            watch(images, total)
            if wish := dist.rank() == 0 and time.monotonic() - saved_at > loop.save_seconds:
                saved_at = time.monotonic()
            stop, due = votes(stopping(), wish)
            if images < total and (stop or due):
                save(saver, run, step, meter, images, total)
            if stop:
                break
        votes.last()
        if images < total:
            saver.wait()
            raise interrupted(run, images, total)  # in here: a second signal must not come between
    return finish(config, dataset, run, step, meter, images)


def verify(step: Step, given: Inputs, say: Callable[[str], None]) -> None:
    """Raises RunFailed, on every process, where the compiled loss of one is not the method's."""
    with accord.agreement():
        error = step.verify(*given)
    say(f"compiled; its loss agrees with the uncompiled one and finite differences to {error:.1e}")


def log(config: RunConfig, dataset: datasets.Dataset, run: RunDirectory, meter: Meter, images: int) -> None:
    """A line of train.jsonl. Every process calls it; the first one writes."""
    record = {"images": images, "epoch": images / dataset.train_images}
    record |= meter.read(run, images) | {"learning_rate": learning_rate(config.train, images)}
    if dist.rank() == 0:
        append_line(run.train_log, json.dumps(record))


def interrupted(run: RunDirectory, images: int, total: int) -> Interrupted:
    """Note it, and give what to raise. The others leave after the first: their end would end it."""
    accord.first(lambda: run.write_status("stopped", images=images, total=total, reason="interrupted"))
    return Interrupted(f"{run.name} stopped at {images:,} of {total:,} images; the same command goes on from there")


def upcoming(make: Callable[[int], Inputs], positions: Iterable[int], device: torch.device) -> Ahead[int, Inputs]:
    """The inputs after so many images, for each of `positions`: for a GPU made while it computes, in page-locked memory."""

    def made(images: int) -> Inputs:
        x0, label, draw = make(images)
        return page_locked(x0, device), page_locked(label, device), methods.each(draw, lambda field: page_locked(field, device))

    return Ahead(made, positions, depth(device), device)


def on_device(given: Inputs, device: torch.device) -> Inputs:
    """Without waiting for a GPU: this process has to hear of another one's end even while its own GPU waits for that one."""
    x0, label, draw = given
    return dist.moved(x0, device), dist.moved(label, device), dist.to_device(draw, device)


def inputs(
    config: RunConfig, dataset: datasets.Dataset, method: methods.Method, share: Share, images: int, total: int
) -> Inputs:
    """This process's images and labels of the batch after `images`, where the data lie, and its draws, on the CPU.

    The draws are those of the whole batch, cut: they follow from the position alone, not from the number of processes.
    """
    x0, label = datasets.batch(dataset, config.seed, images, share.batch, None if share.is_whole else share.rows)
    blank = torch.zeros(()).expand(share.batch, *dataset.shape), torch.zeros((), dtype=torch.int64).expand(share.batch)
    draw = method.draw(*blank, rng.generator(config.seed, "train", images), images / total)
    return x0, label, draw if share.is_whole else methods.take(draw, share.rows)


# States


def save(saver: Saver, run: RunDirectory, step: Step, meter: Meter, images: int, total: int) -> None:
    """Save the state, unless something in it is not finite. Every process calls it; the first one's thread writes."""
    meter.check(run, images)
    meter_state = meter.state()
    if dist.rank():
        return
    tensors = checkpoint.pack(step.net, step.ema, step.optimiser) | {"meter": meter_state}
    saver.save(images, tensors, lambda: run.write_status("running", images=images, total=total))


def resume(
    config: RunConfig,
    dataset: datasets.Dataset,
    run: RunDirectory,
    step: Step,
    meter: Meter,
    say: Callable[[str], None],
) -> int:
    """Put the last whole state into `step` and `meter`; returns its images, 0 where there is none.

    Raises BenchError when the state belongs to other settings or other data.
    """

    state: checkpoint.State | None = None

    def read() -> int:
        nonlocal state
        state = last_state(config, dataset, run, say)
        images = state.images if state else 0
        run.truncate_train_log(images)
        run.log(f"training from {images:,} images" + (f" on {n} processes" if (n := dist.world_size()) > 1 else ""))
        return images

    images = accord.first(read)
    tensors = accord.shared(state.tensors if state else None)
    if tensors:
        meter.restore(tensors.pop("meter"))
        checkpoint.unpack(tensors, step.net, step.ema, step.optimiser)
    return images


def last_state(
    config: RunConfig, dataset: datasets.Dataset, run: RunDirectory, say: Callable[[str], None]
) -> checkpoint.State | None:
    """The newest whole state of this run; None before the first. Raises BenchError for one of other settings or data."""

    def report(message: str) -> None:
        run.log(message)
        say(message)

    state = checkpoint.load_state(run.state, report)
    if state is None:
        return None
    for what, theirs, ours in (
        ("settings", state.config_digest, config.digest),
        ("data", state.data_digest, dataset.digest),
    ):
        if theirs != ours:
            raise BenchError(
                f"The state in {run.path} was made with other {what} ({theirs[:8]})",
                f"the {what} of this run ({ours[:8]})",
                f"Bring the {what} back, or delete {run.path} to start that run anew.",
            )
    return state


def finish(
    config: RunConfig, dataset: datasets.Dataset, run: RunDirectory, step: Step, meter: Meter, images: int
) -> checkpoint.Snapshot:
    """Write the final snapshot, then say so: a crash in between repeats the last stretch. The same on every process."""
    snapshot = snapshots.write(config, dataset, run, step, meter, images)

    def note() -> None:
        cost = snapshots.read_cost(run, images) | {"micro_batch": step.micro_batch}
        run.write_status("finished", images=images, total=images, **cost)
        run.log(f"finished at {images:,} images")

    accord.first(note)
    return snapshot


# Stopping


@contextmanager
def catch_signals() -> Iterator[Callable[[], bool]]:
    """Inside, SIGINT and SIGTERM only set a flag: the loop saves at the end of its step and stops."""
    arrived: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        arrived.append(number)

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(arrived)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
