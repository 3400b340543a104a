"""A few real training steps at small batch sizes, in a process of their own: what time and memory a step takes here.

    measured = apart(config, Shapes((4, 32, 32), 1000, 1_281_167), "cpu", limit=256, flops=7e10)

The images are made up, so reading them is not in the time; the network, the method, the optimiser and the average are real.
"""

import contextlib
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench import datasets
from bench.apart import in_own_process
from bench.config import RunConfig
from bench.errors import RunFailed
from bench.speed import work
from bench.speed.clock import seconds as seconds_of
from bench.speed.peak_memory import peak_memory, reset_peak_memory
from bench.step import load_method

ROUNDS = 2  # timed steps of a batch size, after one that warms up
LONG = 5.0  # seconds: a step that takes longer is timed once, and no larger batch is tried
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


def batches(limit: int, flops: float, device: torch.device) -> tuple[int, ...]:
    """One or two batch sizes up to `limit` whose steps are short; `flops` are those of an image's training."""
    rate = FAST if device.type == "cuda" else SLOW
    large = min(limit, 256, max(8, int(2 * rate / flops)))
    return (large // 4, large) if large >= 8 else (large,)


def apart(config: RunConfig, shapes: Shapes, device: str, limit: int, flops: float) -> Measured:
    """Raises RunFailed when the process was killed or ran out of memory, BenchError for settings that do not work."""
    try:
        return in_own_process("takes a few steps", measure, config, shapes, torch.device(device), limit, flops)
    except (RuntimeError, MemoryError) as error:
        raise RunFailed(str(error).splitlines()[0] if str(error) else type(error).__name__) from error


def measure(config: RunConfig, shapes: Shapes, device: torch.device, limit: int, flops: float) -> Measured:
    """In this process."""
    data: Any = StandIn(shapes.shape, shapes.num_classes, shapes.train_images)
    torch.zeros(1, device=device)  # a GPU's own memory is not the network's
    reset_peak_memory(device)
    base, probes = peak_memory(device), []
    for batch in batches(limit, flops, device):
        train = config.train.model_copy(update={"batch": batch})
        step = work.training_step(config.model_copy(update={"train": train}), data, device)
        reset_peak_memory(device)
        if train.compile:
            step()  # compiles: not a step's time
        seconds = timed(step, device)
        probes.append(Probe(batch, statistics.median(seconds), peak_memory(device)))
        del step
        if len(seconds) == 1:  # long: not another network for sampling alone, it is about a forward pass of the step
            equivalents = load_method(config, shapes.num_classes).cost
            return Measured(tuple(probes), base, seconds[0] / equivalents / batch)
    batch = probes[-1].batch
    sampling = work.sampling(work.fresh_model(config, data, device), data, batch, 4)
    return Measured(tuple(probes), base, min(timed(sampling, device)) / 4 / batch)


def timed(work: Callable[[], object], device: torch.device) -> list[float]:
    """Seconds of ROUNDS calls after the first; of the first alone, where it is long."""
    found: list[float] = []
    while len(found) <= ROUNDS and not (found and found[0] > LONG):
        found.append(seconds_of(work, device))
    return found[1:] or found


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
