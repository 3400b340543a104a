"""Which rows of the global batch a process trains on, and in which pieces.

    share = share_of(batch, method.velocity_rows, rank, world_size, micro_batch=32)
    x0, label = datasets.batch(dataset, seed, images, batch, share.rows)
    draw = methods.take(draw, share.rows)          # of the whole batch

A method reads from a row's place whether it is a velocity row: the first `velocity_rows(b)` of b are. So a piece has to hold
the two kinds in the method's own proportion. Pieces of a multiple of `unit` rows do, and one may hold a remainder besides.
Every process sees the same mixture, and the gradients of all pieces, each weighted by its rows, add up to that of the batch.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from bench.errors import BenchError


@dataclass(frozen=True)
class Share:
    """One process's part of a batch."""

    rows: Tensor  # (b,) int64 in [0, batch): the pieces one after the other, in each the velocity rows first
    sizes: tuple[int, ...]  # rows of each piece; their sum is b
    velocity: tuple[int, ...]  # how many of a piece are velocity rows
    batch: int  # rows of the whole batch, of all processes
    all_velocity: int  # velocity rows of the whole batch

    @property
    def is_whole(self) -> bool:
        """One process, one piece."""
        return self.sizes == (self.batch,)

    @property
    def pieces(self) -> list[slice]:
        """Where each piece lies in `rows`."""
        ends = [sum(self.sizes[: i + 1]) for i in range(len(self.sizes))]
        return [slice(end - size, end) for end, size in zip(ends, self.sizes, strict=True)]


def unit(batch: int, velocity_rows: Callable[[int], int]) -> int:
    """The fewest rows of which any multiple, with what is left of the batch, keeps the proportion of the kinds."""
    for q in range(1, batch):
        rest = batch % q
        if all(
            velocity_rows(k * q) == k * velocity_rows(q)
            and velocity_rows(k * q + rest) == k * velocity_rows(q) + velocity_rows(rest)
            for k in range(1, batch // q + 1)
        ):
            return q
    return batch


def share_of(
    batch: int, velocity_rows: Callable[[int], int], rank: int = 0, world_size: int = 1, micro_batch: int = 0
) -> Share:
    """The rows of process `rank`, in pieces of at most `micro_batch` rows; 0: in one piece.

    Processes that do not divide the batch evenly get shares of different sizes; what is left over goes to the last.
    Raises BenchError where a process would be left without rows, and for a micro-batch that can not hold the proportion.
    """
    q = unit(batch, velocity_rows) if world_size > 1 or 0 < micro_batch < batch else batch
    units, rest = divmod(batch, q)
    if units < world_size:
        raise BenchError(
            f"A batch of {batch} rows on {world_size} processes: it divides into {units} parts of {q} rows, because "
            f"{velocity_rows(q)} of {q} learn the velocity",
            f"{world_size * q} rows or more, or {units} processes at most",
            "Change train.batch, or the number of processes.",
        )
    if 0 < micro_batch < (least := q + rest):  # the same on every process, though only one has the remainder
        raise BenchError(
            f"loop.micro_batch = {micro_batch}: {velocity_rows(q)} of {q} rows learn the velocity, in every piece",
            f"0, or {least} or more",
            "Change loop.micro_batch.",
        )
    first, end = (units * r // world_size for r in (rank, rank + 1))
    sizes = _sizes(end - first, q, rest if rank == world_size - 1 else 0, micro_batch)
    velocity = tuple(velocity_rows(size) for size in sizes)
    # Velocity rows are dealt out from the front of the batch, the others from behind them.
    v, o = first * velocity_rows(q), velocity_rows(batch) + first * (q - velocity_rows(q))
    rows = []
    for size, n in zip(sizes, velocity, strict=True):
        rows += [torch.arange(v, v + n), torch.arange(o, o + size - n)]
        v, o = v + n, o + size - n
    return Share(torch.cat(rows), sizes, velocity, batch, velocity_rows(batch))


def _sizes(units: int, q: int, rest: int, micro_batch: int) -> tuple[int, ...]:
    """Rows of each piece: as even as whole units allow, the remainder in the last, and none above `micro_batch`."""
    if not micro_batch:
        return (units * q + rest,)
    count = next(n for n in range(1, units + 1) if -(-units // n) * q + rest <= micro_batch)
    ends = [units * (i + 1) // count for i in range(count)]
    sizes = [(end - before) * q for before, end in zip([0, *ends], ends, strict=False)]
    return (*sizes[:-1], sizes[-1] + rest)
