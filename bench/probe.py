"""A few real training steps at small batch sizes, in a process of their own: what time and memory a step takes here.

    measured = apart(config, Shapes((4, 32, 32), 1000, 1_281_167), "cpu", limit=256, flops=7e10)      # time and memory
    found = peaks_apart(config, shapes, "cpu", sizes=(64, 256), free=8_000_000_000)                   # memory alone

The images are made up, so reading them is not in the time; the network, the method, the optimiser and the average are real.
"""

import contextlib
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench import datasets, dit
from bench.apart import in_own_process
from bench.config import RunConfig
from bench.errors import RunFailed
from bench.memory import OutOfMemory, out_of_memory, size
from bench.speed import work
from bench.speed.clock import seconds as seconds_of
from bench.speed.peak_memory import peak_memory, reset_peak_memory
from bench.step import load_method

ROUNDS = 2  # timed steps of a batch size, after one that warms up
LONG = 5.0  # seconds: a step that takes longer is timed once, and no larger batch is tried
# Bytes a parameter, all float32: weights, gradient, average and Adam's two moments; of these the moments.
TRAINING, MOMENTS = 20, 8
SLOW, FAST = 2e10, 2e13  # FLOP/s that a CPU and a GPU surely reach: what a probe's batches are chosen by


@dataclass(frozen=True)
class Shapes:
    """What a network and a schedule need to know of data."""

    shape: tuple[int, int, int]
    num_classes: int
    train_images: int


@dataclass(frozen=True)
class Probe:
    batch: int
    seconds: float  # of one step, the median
    peak: int  # bytes


@dataclass(frozen=True)
class Measured:
    probes: tuple[Probe, ...]  # one or two, the smaller batch first
    base: int  # bytes that the process holds before there is a network
    evaluation: float  # seconds of one evaluation of the network when sampling, an image


@dataclass(frozen=True)
class StandIn:
    """Made-up images of the data set's shape, in its place."""

    shape: tuple[int, int, int]
    num_classes: int
    train_images: int
    name: str = "made up"
    extractor: str = ""
    digest: str = ""

    def images(self, index: Tensor) -> tuple[Tensor, Tensor]:
        return torch.randn(len(index), *self.shape), index % self.num_classes

    def to_uint8(self, x0: Tensor) -> Tensor:
        return datasets.quantise(x0)


def batches(limit: int, flops: float, device: torch.device, unit: int = 1) -> tuple[int, ...]:
    """One or two batch sizes up to `limit` whose steps are short, multiples of `unit` where the limit allows.

    `flops` are those of an image's training.
    """
    rate = FAST if device.type == "cuda" else SLOW
    large = min(limit, 256, max(8, unit, int(2 * rate / flops)))
    large, small = large // unit * unit or large, large // 4 // unit * unit or unit
    return (small, large) if large >= 8 and small < large else (large,)


def apart(config: RunConfig, shapes: Shapes, device: str, limit: int, flops: float, recompute: bool = False) -> Measured:
    """Raises RunFailed when the process was killed or ran out of memory, BenchError for settings that do not work."""
    with _told():
        return in_own_process("takes a few steps", measure, config, shapes, torch.device(device), limit, flops, recompute)


def measure(
    config: RunConfig, shapes: Shapes, device: torch.device, limit: int, flops: float, recompute: bool = False
) -> Measured:
    """In this process."""
    data, base = _prepared(shapes, device)
    probes: list[Probe] = []
    for batch in batches(limit, flops, device):
        step = _step(config, data, device, batch, recompute)
        reset_peak_memory(device)
        if config.train.compile:
            step()  # compiles: not a step's time
        seconds = timed(step, device)
        once = len(seconds) == 1 and not config.train.compile
        later = MOMENTS * parameters(config, shapes) if once else 0  # Adam has none before its first update
        probes.append(Probe(batch, statistics.median(seconds), peak_memory(device) + later))
        del step
        if len(seconds) == 1:  # long: not another network for sampling alone, it is about a forward pass of the step
            equivalents = load_method(config, shapes.num_classes).cost
            return Measured(tuple(probes), base, seconds[0] / equivalents / batch)
    batch = probes[-1].batch
    sampling = work.sampling(work.fresh_model(config, data, device), data, batch, 4)
    return Measured(tuple(probes), base, min(timed(sampling, device)) / 4 / batch)


def _prepared(shapes: Shapes, device: torch.device) -> tuple[Any, int]:
    """Data of these shapes, and the bytes that this process holds without a network."""
    torch.zeros(1, device=device)  # a GPU's own memory is not the network's
    reset_peak_memory(device)
    return StandIn(shapes.shape, shapes.num_classes, shapes.train_images), peak_memory(device)


def _step(config: RunConfig, data: Any, device: torch.device, batch: int, recompute: bool) -> Callable[[], object]:
    train = config.train.model_copy(update={"batch": batch})
    return work.training_step(config.model_copy(update={"train": train}), data, device, recompute=recompute)


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """What the process of its own raised, as RunFailed."""
    try:
        with out_of_memory():
            yield
    except (RuntimeError, MemoryError) as error:
        raise RunFailed(str(error).splitlines()[0] if str(error) else type(error).__name__) from error


def parameters(config: RunConfig, shapes: Shapes) -> int:
    with torch.device("meta"):
        return dit.parameter_count(dit.build(config.net, shapes.shape, shapes.num_classes))


def timed(work: Callable[[], object], device: torch.device) -> list[float]:
    """Seconds of ROUNDS calls after the first; of the first alone, where it is long."""
    found: list[float] = []
    while len(found) <= ROUNDS and not (found and found[0] > LONG):
        found.append(seconds_of(work, device))
    return found[1:] or found


# Memory alone


@dataclass(frozen=True)
class Peaks:
    base: int  # bytes that the process holds before there is a network
    points: tuple[tuple[int, int], ...]  # rows of a step, and the most bytes that the process held; of the sizes that fit


def peaks_apart(
    config: RunConfig, shapes: Shapes, device: str, sizes: Sequence[int], free: int, recompute: bool = False
) -> Peaks:
    """Raises OutOfMemory where not even the first size fits `free` bytes, RunFailed and BenchError as `apart` does."""
    with _told():
        return in_own_process("takes a few steps", peaks, config, shapes, torch.device(device), tuple(sizes), free, recompute)


def peaks(
    config: RunConfig, shapes: Shapes, device: torch.device, sizes: Sequence[int], free: int, recompute: bool = False
) -> Peaks:
    """In this process: two steps of each size, the smallest first, since Adam's moments are there from the second on.

    Ends before the first size that runs out of memory. One that those before it make too large for `free` is not tried: a CPU's
    system would kill a process, and perhaps another one than this.
    """
    data, base = _prepared(shapes, device)
    held = base + TRAINING * parameters(config, shapes)
    points: list[tuple[int, int]] = []
    for rows in sizes:
        try:
            with out_of_memory():
                if (expected := at(rows, points, held) if points else held) - base > free:
                    raise OutOfMemory(f"out of memory ({rows} rows would take {size(expected - base)}, {size(free)} are free)")
                step = _step(config, data, device, rows, recompute)
                reset_peak_memory(device)
                step()
                step()
                points.append((rows, peak_memory(device)))
                del step
        except OutOfMemory:
            if not points:
                raise
            break
    return Peaks(base, tuple(points))


def at(x: float, points: Sequence[tuple[int, float]], start: float) -> float:
    """The line through the first and the last point, at x; through (0, start) and the point, where there is one alone.

    A line that falls is none: then the last point's value.
    """
    (a, low), (b, high) = points[0], points[-1]
    if a == b:
        a, low = 0, min(start, high)
    return high if high <= low else low + (high - low) / (b - a) * (x - a)


# What is free


def free_memory(device: torch.device) -> int | None:
    """Bytes that a new process can have on the device; None where the system does not say."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    found = [free for free in (_of_machine(), _of_group()) if free is not None]
    return min(found, default=None)


def _of_machine() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration, ValueError):
        return None


def _of_group(group: Path = Path("/sys/fs/cgroup")) -> int | None:
    """What the control group of a container or of a batch job leaves; pages that can be dropped count as free."""
    with contextlib.suppress(OSError, ValueError, StopIteration):
        limit, used = int((group / "memory.max").read_text()), int((group / "memory.current").read_text())
        lines = (group / "memory.stat").read_text().splitlines()
        return limit - used + next(int(line.split()[1]) for line in lines if line.startswith("inactive_file "))
    return None
