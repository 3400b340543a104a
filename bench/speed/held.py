"""The bytes of tensors that a piece of work holds: what the allocator was asked for, not what the process has resident.

    added_bytes(step, device)              # at the fullest moment of one call, beyond what was there before
    state_bytes(net, ema, optimiser)       # what stays between steps

Not seen: what libraries take outside torch's allocator (oneDNN's and MKL's packed copies on a CPU; on a GPU the context and the
kernels). On a CPU also not subtracted: tensors from before the call that it frees. On a GPU they are.
"""

import contextlib
import gc
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from typing import IO, Any

import torch
from torch import nn
from torch._C._profiler import _EventType
from torch.profiler import ProfilerActivity, profile

from bench.speed.clock import garbage_collection_off, synchronise

# What the profiler and the allocator that it asks write to the terminal themselves. None of it is about the work.
CHATTER = re.compile(
    rb"^(USDT|VERBOSE|INFO|WARNING|ERROR|STAGE):\d{4}-\d\d-\d\d \S+ \d+:\d+ \w+\.cpp:\d+\]"
    rb"|Memory block of unknown size was (de)?allocated"
)


def added_bytes(work: Callable[[], object], device: torch.device) -> int:
    """The most bytes of tensors that one call of `work` held beyond those that were allocated when it began.

    On a GPU in the allocator's blocks of 512 bytes. On a CPU exact, and the same every time, by the allocator's own record of
    this call; the record takes time, so nothing should be timed meanwhile.
    """
    gc.collect()
    with garbage_collection_off():
        return _added_on_gpu(work, device) if device.type == "cuda" else _added_on_cpu(work)


def _added_on_gpu(work: Callable[[], object], device: torch.device) -> int:
    synchronise(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    work()
    synchronise(device)
    return torch.cuda.max_memory_allocated(device) - before


def _added_on_cpu(work: Callable[[], object]) -> int:
    with _without_chatter(), profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        work()
    assert record.profiler
    assert record.profiler.kineto_results
    changes = sorted(_allocations(record.profiler.kineto_results.experimental_event_tree()), key=lambda change: change[0])
    held = most = 0
    for _, size in changes:
        held += size
        most = max(most, held)
    return most


def _allocations(events: list[Any]) -> Iterator[tuple[int, int]]:
    """Time (ns) and size (bytes, negative when freed) of every change in these events and those below."""
    waiting = list(events)
    while waiting:
        event = waiting.pop()
        if event.tag == _EventType.Allocation:
            yield event.start_time_ns, event.extra_fields.alloc_size
        waiting += event.children


# The terminal


@contextlib.contextmanager
def _without_chatter() -> Iterator[None]:
    """Within, what C++ writes to standard error is held back; after, all but the profiler's lines are written.

    Python's own writing goes straight to where it went before: warnings, progress, tracebacks.
    """
    try:
        terminal = os.dup(2)
    except OSError:  # standard error is closed: nobody reads it
        yield
        return
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, terminal)
        kept = stack.enter_context(tempfile.TemporaryFile())
        if _writes_to_descriptor_2(sys.stderr):
            direct = open(os.dup(terminal), "w", buffering=1, encoding=sys.stderr.encoding, errors="backslashreplace")  # noqa: SIM115
            stack.enter_context(contextlib.redirect_stderr(stack.enter_context(direct)))
        os.dup2(kept.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(terminal, 2)
            kept.seek(0)
            for line in kept:
                if not CHATTER.search(line):
                    os.write(2, line)


def _writes_to_descriptor_2(stream: IO[str]) -> bool:
    try:
        stream.flush()
        return stream.fileno() == 2
    except (AttributeError, OSError, ValueError):  # none, no file, closed
        return False


# What stays


def state_bytes(net: nn.Module, ema: nn.Module | None = None, optimiser: torch.optim.Optimizer | None = None) -> int:
    """Bytes of parameters, buffers, average and the optimiser's state, without gradients.

    Before its first step an optimiser has no state yet: AdamW's is counted as it will be.
    """
    tensors = [tensor for module in (net, ema) if module for tensor in (*module.parameters(), *module.buffers())]
    coming = 0
    for group in optimiser.param_groups if optimiser else []:
        for parameter in group["params"]:
            state = optimiser.state.get(parameter) if optimiser else None
            if state:
                tensors += [value for value in state.values() if isinstance(value, torch.Tensor)]
            else:
                assert isinstance(optimiser, torch.optim.AdamW), "what another optimiser will hold is not known"
                coming += 2 * parameter.nbytes + torch.get_default_dtype().itemsize  # two moments and the number of steps
    return coming + sum(tensor.nbytes for tensor in {id(tensor): tensor for tensor in tensors}.values())
