"""Running out of memory: a failure of the run that says what to reduce, and no traceback. And bytes, for people."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from bench.errors import RunFailed


class OutOfMemory(RunFailed):
    """Memory ran out."""


@contextmanager
def out_of_memory() -> Iterator[None]:
    """Turn the ways in which memory runs out into OutOfMemory, with what to reduce."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:  # torch.OutOfMemoryError is a RuntimeError; the CPU's has no type of its own
        text = str(error).splitlines()[0] if str(error) else "no memory"
        if not isinstance(error, MemoryError | torch.OutOfMemoryError) and "allocate memory" not in text:
            raise
        remedy = "set loop.micro_batch = 'auto' or loop.recompute = true, or reduce eval.batch or the net"
        raise OutOfMemory(f"out of memory ({text}); {remedy}") from error


def size(amount: float) -> str:
    """Bytes, for people: "1.4 GB", "20 MB"."""
    return f"{amount / 1e9:,.1f} GB" if amount >= 1e9 else f"{amount / 1e6:,.0f} MB"
