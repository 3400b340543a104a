"""Devices and processes: which one this is, and which rows of the global batch are its own."""

import os
from typing import Any

import torch
import torch.distributed
from torch import Tensor

import methods
from bench.errors import BenchError
from bench.metrics import Moments


def rank() -> int:
    return torch.distributed.get_rank() if torch.distributed.is_initialized() else 0


def world_size() -> int:
    return torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1


def add_up(tensor: Tensor) -> None:
    """Replace the tensor by its sum over the processes."""
    if world_size() > 1:
        torch.distributed.all_reduce(tensor)


def from_first(tensor: Tensor) -> Tensor:
    """The first process's tensor, on every process."""
    found = tensor.clone()
    if world_size() > 1:
        torch.distributed.broadcast(found, 0)
    return found


def gathered(index: Tensor, rows: Tensor) -> Tensor:
    """The rows (b,) or (b, d) of all processes in the order of their numbers (b,): the same for any number of processes."""
    if world_size() > 1:
        shapes = [torch.zeros(2, dtype=torch.int64) for _ in range(world_size())]
        own = torch.tensor([len(rows), rows.shape[1] if rows.dim() > 1 else 0])
        torch.distributed.all_gather(shapes, own)
        counts, columns = [int(s[0]) for s in shapes], max(int(s[1]) for s in shapes)
        if columns and not len(rows):  # a process without rows can not know how wide they are
            rows = rows.new_zeros(0, columns)
        index, rows = (torch.cat(_all_gather(part, counts)) for part in (index, rows))
    return rows[index.argsort()]


def _all_gather(tensor: Tensor, counts: list[int]) -> list[Tensor]:
    """One tensor a process, of as many rows as `counts` says; the collective wants equal shapes, so they travel padded."""
    padded = tensor.new_zeros(max(counts), *tensor.shape[1:])
    padded[: len(tensor)] = tensor
    found = [torch.empty_like(padded) for _ in counts]
    torch.distributed.all_gather(found, padded)
    return [part[:count] for part, count in zip(found, counts, strict=True)]


def together(moments: Moments) -> Moments:
    """The moments of the images of all processes."""
    if world_size() > 1:
        moments.shifted_to(from_first(moments.shift))
        for part in (moments.count, moments.sum, moments.outer):
            add_up(part)
    return moments


def barrier() -> None:
    if world_size() > 1:
        torch.distributed.barrier()


def pick_device(name: str) -> torch.device:
    """ "auto" is a GPU if torch sees one, else the CPU. Raises BenchError for a GPU that is not there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and (not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count()):
        found = f"{torch.cuda.device_count()} GPUs" if torch.cuda.is_available() else "no GPU"
        raise BenchError(f"device {name}, but torch sees {found}", "cpu, auto, or a GPU that is there", "Use --device cpu.")
    return device


def device_label(device: torch.device) -> str:
    """The device's own name, for the rows."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    from bench.provenance import processor

    return processor()


def require_one_process() -> None:
    """Raises BenchError under torchrun or in a process group: each process would train the whole batch."""
    started = max(int(os.environ.get("WORLD_SIZE", "1")), world_size())
    if started > 1:
        raise BenchError(
            f"{started} processes", "one process", "Start it without torchrun: runs over several are not there yet."
        )


def to_device(draw: Any, device: torch.device) -> Any:
    """A method's draw with every field on `device`."""
    return methods.each(draw, lambda field: field.to(device))


def own_rows(batch: int, velocity_rows: int, rank: int, world_size: int) -> Tensor:
    """The rows of the global batch that a process trains on: its share of the velocity rows, then of the others.

    So each process sees the same mixture, in the same order of kinds, and the mean over processes is the mean over the batch.
    Raises BenchError when either kind does not divide evenly.
    """
    others = batch - velocity_rows
    if velocity_rows % world_size or others % world_size:
        raise BenchError(
            f"{velocity_rows} velocity rows and {others} others on {world_size} processes",
            "counts that the processes divide evenly",
            "Change train.batch.",
        )
    a, b = velocity_rows // world_size, others // world_size
    first = torch.arange(rank * a, (rank + 1) * a)
    return torch.cat([first, velocity_rows + torch.arange(rank * b, (rank + 1) * b)])
