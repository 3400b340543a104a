"""Running out of memory: a failure of the run that says what to reduce, and no traceback."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from bench.errors import RunFailed


@contextmanager
def out_of_memory() -> Iterator[None]:
    """Turn the ways in which memory runs out into RunFailed, with what to reduce."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:  # torch.OutOfMemoryError is a RuntimeError; the CPU's has no type of its own
        text = str(error).splitlines()[0] if str(error) else "no memory"
        if not isinstance(error, MemoryError | torch.OutOfMemoryError) and "allocate memory" not in text:
            raise
        raise RunFailed(f"out of memory ({text}); set loop.micro_batch, or reduce eval.batch or the net") from error
