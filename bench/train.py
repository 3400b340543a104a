"""Training: one flat loop, the same for every method. Writes states, a snapshot and train.jsonl; never evaluates.

    snapshot = train(config, dataset, run, loop)      # the caller holds run.locked()

Goes on from the run's last state; on a CPU with as many threads, to the same bits as if it had never stopped.
"""

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import torch
from torch import Tensor

from bench import checkpoint, datasets, dist, rng
from bench.config import Loop, RunConfig
from bench.errors import BenchError, Interrupted, RunFailed
from bench.step import Step, learning_rate, load_method
from bench.store import RunDirectory, append_line

Watch = Callable[[int, int], None]  # (images seen, images in all)


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
    dist.require_one_process()
    device = dist.pick_device(loop.device)
    method = load_method(config, dataset.num_classes)
    batch, total = config.train.batch, config.total_images(dataset.train_images)
    step = Step.start(config, dataset, device)
    meter = Meter(method.velocity_rows(batch), batch, device)
    images = resume(config, dataset, run, step, meter, say)
    run.write_status("running", images=images, total=total)
    saved_at = time.monotonic()
    with catch_signals() as stopping:
        while images < total:
            x0, label = datasets.batch(dataset, config.seed, images, batch)
            draw = method.draw(x0, label, rng.generator(config.seed, "train", images), images / total)
            x0, label, draw = x0.to(device), label.to(device), dist.to_device(draw, device)

            out, gradient_norm = step(x0, label, draw, images + batch)

            images += batch
            meter.add(out, gradient_norm)
            if images // loop.log_images > (images - batch) // loop.log_images or images >= total:
                record = {"images": images, "epoch": images / dataset.train_images}
                record |= meter.read(run, images) | {"learning_rate": learning_rate(config.train, images)}
                append_line(run.train_log, json.dumps(record))
            watch(images, total)
            stop = stopping()
            if images < total and (stop or time.monotonic() - saved_at > loop.save_seconds):
                save(config, dataset, run, step, meter, images)
                saved_at = time.monotonic()
            if stop:
                break
    if images < total:
        run.write_status("stopped", images=images, total=total, reason="interrupted")
        raise Interrupted(f"{run.name} stopped at {images:,} of {total:,} images; the same command goes on from there")
    return finish(config, dataset, run, step, meter, images)


# States


def save(config: RunConfig, dataset: datasets.Dataset, run: RunDirectory, step: Step, meter: "Meter", images: int) -> None:
    """Write the state, unless something in it is not finite."""
    meter.check(run, images)
    tensors = checkpoint.pack(step.net, step.ema, step.optimiser) | {"meter": meter.state()}
    checkpoint.save_state(run.state, checkpoint.State(images, config.digest, dataset.digest, tensors))
    run.write_status("running", images=images, total=config.total_images(dataset.train_images))


def resume(
    config: RunConfig,
    dataset: datasets.Dataset,
    run: RunDirectory,
    step: Step,
    meter: "Meter",
    say: Callable[[str], None],
) -> int:
    """Put the last whole state into `step` and `meter`; returns its images, 0 where there is none.

    Raises BenchError when the state belongs to other settings or other data.
    """

    def report(message: str) -> None:
        run.log(message)
        say(message)

    state = checkpoint.load_state(run.state, report)
    images = state.images if state else 0
    if state:
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
        meter.restore(state.tensors.pop("meter"))
        checkpoint.unpack(state.tensors, step.net, step.ema, step.optimiser)
    run.truncate_train_log(images)
    run.log(f"training from {images:,} images")
    return images


def finish(
    config: RunConfig, dataset: datasets.Dataset, run: RunDirectory, step: Step, meter: "Meter", images: int
) -> checkpoint.Snapshot:
    """Write the final snapshot, then say so: a crash in between repeats the last stretch."""
    snapshot = checkpoint.Snapshot(
        images=images,
        config=config.model_dump(mode="json"),
        shape=dataset.shape,
        num_classes=dataset.num_classes,
        data_digest=dataset.digest,
        weights=step.ema.state_dict(),
    )
    checkpoint.save_snapshot(run.snapshot(images), snapshot)
    device = dist.device_label(meter.sums.device)
    run.write_status("finished", images=images, total=images, seconds=meter.total(), device=device)
    run.log(f"finished at {images:,} images")
    return snapshot


# The log


class Meter:
    """Means over the batches since the last line of the log, summed on the device: nothing waits for it.

    The raw mean square error is what shows progress (an adaptive loss is about 1 throughout), apart for the rows that
    learn the velocity and the rows that learn the jump.
    """

    def __init__(self, velocity_rows: int, batch: int, device: torch.device) -> None:
        self.velocity_rows, self.jump_rows = velocity_rows, batch - velocity_rows
        self.sums = torch.zeros(6, dtype=torch.float64, device=device)  # batches, and the five values below
        self.seconds, self.before, self.started = 0.0, 0.0, time.monotonic()

    def elapsed(self) -> float:
        """Seconds of training since the last line, in this process and in those before it."""
        return self.seconds + time.monotonic() - self.started

    def total(self) -> float:
        """Seconds of training in all; of what a crash undid, only the second time."""
        return self.before + self.elapsed()

    def state(self) -> Tensor:
        return torch.cat([self.sums.cpu(), torch.tensor([self.elapsed(), self.before], dtype=torch.float64)])

    def restore(self, state: Tensor) -> None:
        self.sums = state[:-2].to(self.sums.device)
        self.seconds, self.before = state[-2:].tolist()

    def add(self, out: dict[str, Tensor], gradient_norm: Tensor) -> None:
        n, mse = self.velocity_rows, out["mse"]
        velocity = mse[:n].mean() if n else mse.new_zeros(())
        jump = mse[n:].mean() if self.jump_rows else mse.new_zeros(())
        values = [torch.ones_like(velocity), out["loss"].detach().mean(), mse.mean(), velocity, jump, gradient_norm]
        self.sums += torch.stack([value.double() for value in values])

    def check(self, run: RunDirectory, images: int) -> None:
        """Raises RunFailed when a loss or a gradient since the last line was not finite."""
        if not bool(self.sums.isfinite().all()):
            reason = f"the loss or its gradient stopped being finite before {images:,} images"
            raise RunFailed(f"{reason}; the last good state is kept in {run.state}")

    def read(self, run: RunDirectory, images: int) -> dict[str, float]:
        """The means, and start anew."""
        self.check(run, images)
        count, loss, mse, velocity, jump, norm = self.sums.tolist()
        seconds = self.elapsed()
        self.sums.zero_()
        self.before += seconds
        self.seconds, self.started = 0.0, time.monotonic()
        record = {"loss": loss / count, "mse": mse / count, "grad_norm": norm / count}
        if self.velocity_rows:
            record["velocity_mse"] = velocity / count
        if self.jump_rows:
            record["jump_mse"] = jump / count
        return record | {"seconds": seconds}


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
