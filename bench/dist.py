"""Devices and processes: joining the processes of one run, which one this is, and sums over all of them.

    device = start("auto")      # under torchrun, `bench run --gpus` or Slurm: joins the others; alone, nothing to join
    add_up(tensor)

How they go on or give up together is in bench.accord.
"""

import contextlib
import datetime
import os
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed
from torch import Tensor

import methods
from bench.errors import BenchError
from bench.host_memory import keep_freed
from bench.metrics import Moments

# What torchrun sets, and Slurm's launcher here. WORLD_SIZE alone says that there are others.
VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
PATIENCE = datetime.timedelta(minutes=30)  # one process scores or measures while the others wait


def start(name: str) -> torch.device:
    """Join the run's other processes, if any were started; returns this process's device.

    Raises BenchError for a device that is not there, and where the processes can not find each other.
    """
    if started_processes() == 1 or torch.distributed.is_initialized():
        return pick_device(name)
    missing = [variable for variable in VARIABLES if not os.environ.get(variable)]
    if missing:
        allowed = f"all of {', '.join(VARIABLES)}"
        raise BenchError(f"WORLD_SIZE without {', '.join(missing)}", allowed, "Start with torchrun, or `bench run --gpus N`.")
    try:
        device = _own_device(name, int(os.environ["LOCAL_RANK"]))
    except BenchError as error:
        error.alone = True  # another machine may have what this one lacks
        raise
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    if device.type == "cuda":
        torch.cuda.set_device(device)
    try:
        torch.distributed.init_process_group(backend, timeout=PATIENCE)
    except (RuntimeError, ValueError) as error:  # DistError is a RuntimeError
        where = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
        given = f"Process {os.environ['RANK']} of {os.environ['WORLD_SIZE']} could not join the others at {where} ({error})"
        raise BenchError(given, "an address that all of them reach", "Check MASTER_ADDR and that all were started.") from error
    return device


def started_processes() -> int:
    """How many were started for this run, joined or not. Raises BenchError where that is no number."""
    text = os.environ.get("WORLD_SIZE", "1")
    if not text.isdecimal() or int(text) < 1:
        raise BenchError(f"WORLD_SIZE = {text!r}", "a number of processes", "Unset it, or start with torchrun.")
    return max(int(text), world_size())


def stop() -> None:
    """Leave the group, if one was joined, when all are done."""
    if torch.distributed.is_initialized():
        with contextlib.suppress(RuntimeError):  # the first one to leave closes connections: nothing is left to be said
            torch.distributed.barrier()
            torch.distributed.destroy_process_group()


def _own_device(name: str, local_rank: int) -> torch.device:
    """Process k of a machine takes its GPU k."""
    device = pick_device("cuda" if name.startswith("cuda") else name)
    if device.type != "cuda":
        return device
    count, here = torch.cuda.device_count(), max(local_rank + 1, int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    if name not in ("auto", "cuda"):
        raise BenchError(f"device {name} for several processes", "auto, cuda or cpu", "Each takes a GPU of its own.")
    if here > count:
        raise BenchError(f"{here} processes on a machine with {count} GPUs", f"{count} or fewer", "Start fewer.")
    return torch.device("cuda", local_rank)


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
    device = torch.device(name if name != "auto" else "cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cuda" and (not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count()):
        found = f"{torch.cuda.device_count()} GPUs" if torch.cuda.is_available() else "no GPU"
        raise BenchError(f"device {name}, but torch sees {found}", "cpu, auto, or a GPU that is there", "Use --device cpu.")
    if device.type == "cpu":
        keep_freed()
    return device


def device_label(device: torch.device) -> str:
    """The device's own name, for the rows of scores."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    from bench.provenance import processor

    return processor()


def timing_label(device: torch.device) -> str:
    """The same for what depends on speed: of a CPU also how many of its threads torch uses, where these are not all."""
    if device.type == "cuda":
        return device_label(device)
    from bench.provenance import processor

    return processor(torch.get_num_threads())


def require_one_process(verb: str) -> None:
    """Raises BenchError under torchrun or in a process group, for a verb that is the work of one process."""
    if (started := started_processes()) > 1:
        raise BenchError(f"{verb} in {started} processes", "one process", "Start it without torchrun.")


def to_device(draw: Any, device: torch.device) -> Any:
    """A method's draw with every field on `device`."""
    return methods.each(draw, lambda field: moved(field, device))


def moved(tensor: Tensor, device: torch.device) -> Tensor:
    """On `device`; to a GPU from page-locked memory, so that this thread does not wait for what the GPU has to do before."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


def fetched(tensor: Tensor) -> Callable[[], Tensor]:
    """On its way to the CPU: what is returned gives it there, and waits for what the device had to do before, and no more."""
    if tensor.device.type != "cuda":
        return lambda: tensor
    there = tensor.to("cpu", non_blocking=True)  # page-locked, which is scarce: copied from as soon as it is asked for
    arrived = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
    arrived.record(torch.cuda.current_stream(tensor.device))

    def value() -> Tensor:
        arrived.synchronize()
        return there.clone()

    return value
