"""`loop.micro_batch = "auto"`: as few pieces of a batch as fit into the memory that is free now.

    loop = settled(config, dataset, suite.loop, device, tell)     # before training: a number, on every process the same
    rows = of_run(config, dataset, suite.loop, device, status)    # after it, to measure what the run costs

A step's memory is a straight line in its rows. Two steps of each of two sizes, in a process of their own (bench/probe.py), give
that line; MARGIN of what is free stays unused. What that costs: the start of a process and two and a half steps of at most 256
rows (six, where memory ends within), once for a method, net and setting in a command. It is not compiled where training is,
because that would take longer than it saves. The gradient is the same in any pieces, so another start may choose other ones.
"""

import contextlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from bench import accord, datasets, dist, dit, probe
from bench.config import Loop, RunConfig
from bench.errors import BenchError
from bench.memory import OutOfMemory, size
from bench.probe import Shapes
from bench.shares import share_of, unit
from bench.step import load_method

MARGIN = 0.15  # of the free memory: an allocator's gaps, buffers of libraries, the line's error (6 to 13 % on a CPU, S/4)
# Bytes a parameter of a saved state: weights, average, Adam's moments. On a CPU the copy that a thread writes lies beside them.
STATE = 16


@dataclass(frozen=True)
class Need:
    """What training takes beside what its process holds already, bytes."""

    base: int
    held: int  # base, and what there is without any row
    points: tuple[tuple[int, int], ...]  # rows, and the most bytes of a process that took them
    beside: int = 0  # of any number of rows alike, and in no probe

    def __call__(self, rows: int) -> int:
        return round(max(probe.at(rows, self.points, self.held), self.held)) - self.base + self.beside


@dataclass(frozen=True)
class Choice:
    rows: int  # of the largest piece of any process
    whole: int  # of the largest share of any process
    needed: int  # bytes
    needed_whole: int
    free: int  # bytes that this process may have

    def __str__(self) -> str:
        """ "micro_batch auto: 64 rows at a time (about 3.1 GB of 4.2 GB; all 256 would take 9.8 GB)"."""
        rows = f"all {self.whole}" if self.rows == self.whole else str(self.rows)
        more = "" if self.rows == self.whole else f"; all {self.whole} would take {size(self.needed_whole)}"
        return f"micro_batch auto: {rows} rows at a time (about {size(self.needed)} of {size(self.free)} free{more})"


def settled(
    config: RunConfig, dataset: datasets.Dataset, loop: Loop, device: torch.device, tell: Callable[[str], None]
) -> Loop:
    """`loop` with the number that "auto" stands for: the smallest that any process would choose. Collective.

    `tell` hears on the first process what was chosen and why. Raises BenchError where not even the smallest piece fits.
    """
    if loop.micro_batch != "auto":
        return loop
    shapes, processes = Shapes(dataset.shape, dataset.num_classes, dataset.train_images), dist.world_size()
    whole = possible(config, shapes, processes)[0]
    with accord.agreement():
        free = free_here(device)  # before another process of this machine probes
    choice = None
    with accord.agreement():
        if device.type == "cuda" or int(os.environ.get("LOCAL_RANK", dist.rank())) == 0:  # a machine's CPU is probed once
            choice = choose(config, shapes, loop, device, free, processes)
    rows = accord.least(choice.rows if choice else whole)
    if choice and dist.rank() == 0:
        tell(str(choice) if rows == choice.rows else f"micro_batch auto: {rows} rows at a time, as another process needs")
    return loop.model_copy(update={"micro_batch": 0 if rows == whole and processes == 1 else rows})


def of_run(config: RunConfig, dataset: datasets.Dataset, loop: Loop, device: torch.device, status: Mapping[str, Any]) -> int:
    """The setting; for "auto" the number that the run trained with, or where it left none, one chosen here for one process."""
    used = status.get("micro_batch")
    return used if loop.micro_batch == "auto" and isinstance(used, int) else alone(config, dataset, loop, device)


def alone(config: RunConfig, dataset: datasets.Dataset, loop: Loop, device: torch.device, processes: int = 1) -> int:
    """As `settled`, without asking the others: for one process's measurements of a share among so many."""
    if isinstance(loop.micro_batch, int):
        return loop.micro_batch
    shapes = Shapes(dataset.shape, dataset.num_classes, dataset.train_images)
    choice = choose(config, shapes, loop, device, free_here(device, 1), processes)
    return 0 if choice.rows == choice.whole and processes == 1 else choice.rows


# The choice


def possible(config: RunConfig, shapes: Shapes, processes: int) -> list[int]:
    """Rows of the largest piece of any process: of whole shares, then of ever more pieces."""
    method, batch = load_method(config, shapes.num_classes), config.train.batch

    def largest(micro_batch: int) -> int:  # the last process has what the others leave over: none has more
        return max(share_of(batch, method.velocity_rows, processes - 1, processes, micro_batch).sizes)

    found = [largest(0)]
    while found[-1] > 1:
        try:
            found.append(largest(found[-1] - 1))
        except BenchError:  # no piece can be smaller
            break
    return found


def choose(config: RunConfig, shapes: Shapes, loop: Loop, device: torch.device, free: int, processes: int) -> Choice:
    """From a probe on this device. Raises BenchError where not even the smallest piece fits `free` bytes."""
    every = possible(config, shapes, processes)
    try:
        need = needed(config, shapes, device, loop.recompute, every, free, processes)
    except OutOfMemory as error:
        raise does_not_fit(config, loop, device, f"{every[-1]} rows at a time: {str(error).partition(';')[0]}", free) from error
    return fitting(config, loop, device, need, every, free)


def fitting(config: RunConfig, loop: Loop, device: torch.device, need: Need, every: list[int], free: int) -> Choice:
    """The first of `every`, fewest pieces first, that fits. Raises BenchError where none does."""
    for rows in every:
        if need(rows) <= (1 - MARGIN) * free:
            return Choice(rows, every[0], need(rows), need(every[0]), free)
    raise does_not_fit(config, loop, device, f"{every[-1]} rows at a time need about {size(need(every[-1]))}", free)


def does_not_fit(config: RunConfig, loop: Loop, device: torch.device, what: str, free: int) -> BenchError:
    given = f"{config.method} on {config.net}, {what}; {size(free)} are free on {dist.device_label(device)}"
    recompute = "" if loop.recompute else " set loop.recompute = true,"
    remedy = f"Choose a smaller --net,{recompute} or free memory."
    return BenchError(given, f"what fits into {1 - MARGIN:.0%} of the free memory", remedy)


def free_here(device: torch.device, processes: int = 0) -> int:
    """Bytes that this process may have more; the processes of one machine share its CPU's memory (0: as many as were started).

    Raises BenchError where the system does not say what is free.
    """
    if device.type == "cuda":
        torch.zeros(1, device=device)
        torch.cuda.empty_cache()
    free = probe.free_memory(device)
    if free is None:
        given = "loop.micro_batch = 'auto' on a system that does not say what memory is free"
        raise BenchError(given, "a number of rows", "Set loop.micro_batch, or leave it at 0.")
    here = processes or int(os.environ.get("LOCAL_WORLD_SIZE", dist.world_size()))
    return free if device.type == "cuda" else free // here


# What training needs


def needed(
    config: RunConfig, shapes: Shapes, device: torch.device, recompute: bool, every: list[int], free: int, processes: int
) -> Need:
    """From two sizes whose steps are quick, or, where memory ends before, from as many doublings as fit.

    Raises OutOfMemory where the smallest does not.
    """
    method = load_method(config, shapes.num_classes)
    q = min(unit(config.train.batch, method.velocity_rows), every[-1])
    flops = 2.0 * dit.forward_macs(config.net, shapes.shape, shapes.num_classes) * method.cost
    sizes, found = probe.batches(every[0], flops, device, q), None
    with contextlib.suppress(OutOfMemory):
        found = _probed(config, shapes, str(device), sizes, free, recompute)
    if not found or len(found.points) < len(sizes):
        doubled = tuple(q << i for i in range((sizes[-1] // q).bit_length()))
        found = _probed(config, shapes, str(device), doubled, free, recompute)
    return need_of(config, shapes, device, found.base, found.points, every, processes)


_known: dict[tuple[Any, ...], probe.Peaks] = {}  # for several seeds, and for the times that are announced before a run


def _probed(
    config: RunConfig, shapes: Shapes, device: str, sizes: tuple[int, ...], free: int, recompute: bool
) -> probe.Peaks:  # fmt: skip
    """As probe.peaks_apart, each once in this process; uncompiled."""
    config = config.model_copy(update={"seed": 0, "train": config.train.model_copy(update={"compile": False})})
    key = (config.model_dump_json(), shapes, device, sizes, recompute)
    if key not in _known:
        _known[key] = probe.peaks_apart(config, shapes, device, sizes, free, recompute)
    return _known[key]


def need_of(
    config: RunConfig, shapes: Shapes, device: torch.device, base: int, points: tuple[tuple[int, int], ...],
    every: list[int], processes: int,
) -> Need:  # fmt: skip
    """The probe's line, and what training holds beside: a state's copy on a CPU, buffers of the exchange, all images."""
    parameters = probe.parameters(config, shapes)
    copy = STATE * parameters if device.type == "cpu" else 0
    exchange = 4 * parameters if processes > 1 else 0
    images = 2 * 4 * torch.Size(shapes.shape).numel() * every[0]  # and as much noise, float32
    return Need(base, base + probe.TRAINING * parameters, points, copy + exchange + images)
