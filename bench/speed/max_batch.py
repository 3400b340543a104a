"""The largest batch that fits into a given memory, found by trying.

    found = largest_batch(attempt, memory=80_000_000_000, unit=4, limit=65_536)
    found.batch, found.bytes, found.tried

Doubling until a size does not fit, then halving the interval. Before a size is tried, the line through the last two that did
fit has to allow it: on a CPU a size that is far too large would not raise an error but have the process killed.
"""

import gc
from collections.abc import Callable
from dataclasses import dataclass

import torch

from bench.memory import OutOfMemory, out_of_memory

TOLERANCE = 0.03  # of the batch: the answer lies so close below a size that did not fit, or a unit below


@dataclass(frozen=True)
class Found:
    """What was found by trying: `batch` itself was tried and fits. 0 and 0 bytes where not even `unit` does."""

    batch: int
    bytes: int
    tried: list[tuple[int, int | None]]  # in turn: batch, and its bytes; None where it ran out of memory


def largest_batch(attempt: Callable[[int], int | None], memory: int, unit: int, limit: int) -> Found:
    """The largest multiple of `unit` up to `limit` that takes at most `memory` bytes, to TOLERANCE or one unit.

    `attempt(batch)` gives the most bytes that a training step held, or None where it ran out of memory; what it raises when
    memory runs out counts as None. A size at or above one that ran out is never tried again. More than `memory` bytes rule out
    larger sizes too, but the answer itself was measured and is no conclusion from other sizes.
    """
    tried: list[tuple[int, int | None]] = []
    fits: list[tuple[int, int]] = []  # units and bytes, ascending
    low, high, is_bounded = 0, limit // unit + 1, False  # units: the largest that fits; the smallest that is ruled out
    while high - low > (max(1, TOLERANCE * low) if is_bounded else 1):
        n = (low + high) // 2 if is_bounded else min(_ahead(fits, memory), high - 1)
        used = _tried(attempt, n * unit)
        tried.append((n * unit, used))
        if used is not None and used <= memory:
            low = n
            fits.append((n, used))
        else:
            high, is_bounded = n, True
    return Found(low * unit, fits[-1][1] if fits else 0, tried)


def _ahead(fits: list[tuple[int, int]], memory: int) -> int:
    """Units to try next: twice the last, or as many as the line through the last two allows, but some more than the last."""
    if len(fits) < 2:
        return 2 * fits[-1][0] if fits else 1
    (a, low), (b, high) = fits[-2:]
    slope = (high - low) / (b - a)
    if slope <= 0:
        return 2 * b
    return min(2 * b, max(b + int((memory - high) / slope), b + max(1, int(TOLERANCE * b))))


def _tried(attempt: Callable[[int], int | None], batch: int) -> int | None:
    """The attempt, with nothing left of one that ran out of memory: neither its tensors nor what the allocator keeps."""
    try:
        with out_of_memory():
            return attempt(batch)
    except OutOfMemory:
        used = None  # the error, and with it the frames that hold tensors, goes at the end of this block
    gc.collect()
    torch.cuda.empty_cache()  # without a GPU, nothing
    return used
