"""The rows of a batch, shared out: every row once, each piece in the method's own proportion, refused where that can not be."""

import itertools
import math
from collections.abc import Callable

import pytest
import torch

from bench.errors import BenchError
from bench.shares import Share, share_of, unit


def ratio(value: float) -> Callable[[int], int]:
    return lambda batch: math.floor(value * batch)


def shares(batch: int, value: float, world: int, micro: int = 0) -> list[Share]:
    return [share_of(batch, ratio(value), rank, world, micro) for rank in range(world)]


@pytest.mark.parametrize("value", [0.0, 0.25, 0.5, 0.75, 1.0])
@pytest.mark.parametrize(("batch", "world", "micro"), [(32, 1, 0), (32, 2, 0), (36, 2, 8), (38, 2, 12), (64, 3, 8), (99, 7, 9)])
def test_every_row_once_and_each_piece_in_proportion(batch: int, value: float, world: int, micro: int) -> None:
    found, velocity = shares(batch, value, world, micro), math.floor(value * batch)
    assert sorted(itertools.chain.from_iterable(share.rows.tolist() for share in found)) == list(range(batch))
    for share in found:
        assert sum(share.sizes) == len(share.rows)
        for piece, size, n in zip(share.pieces, share.sizes, share.velocity, strict=True):
            kinds = (share.rows[piece] < velocity).tolist()
            assert kinds == [True] * n + [False] * (size - n), "velocity rows first"
            assert n == math.floor(value * size), "as many as the method takes them for"
            assert not micro or size <= micro
    sizes = [len(share.rows) for share in found]
    assert max(sizes) - min(sizes) <= 2 * unit(batch, ratio(value))


def test_one_process_takes_the_batch_as_it_is() -> None:
    """In one piece and in its own order, whatever the ratio: nothing in a training changes."""
    for value in (0.7, 1 / 3, math.pi / 4):
        share = share_of(50, ratio(value))
        assert share.is_whole
        assert torch.equal(share.rows, torch.arange(50))


def test_the_unit_is_the_least_that_keeps_the_proportion() -> None:
    assert [unit(128, ratio(value)) for value in (0.75, 0.5, 1.0, 0.0)] == [4, 2, 1, 1]


def test_what_can_not_be_shared_out_is_refused() -> None:
    with pytest.raises(BenchError, match="batch of 8 rows on 3 processes: it divides into 2 parts of 4 rows, because 3 of 4"):
        share_of(8, ratio(0.75), 0, 3)
    with pytest.raises(BenchError, match="micro_batch = 3: 3 of 4 rows learn the velocity") as caught:
        share_of(32, ratio(0.75), micro_batch=3)
    assert caught.value.allowed == "0, or 4 or more"
    for rank in range(2):
        with pytest.raises(BenchError, match="micro_batch = 4"):
            share_of(38, ratio(0.75), rank, 2, micro_batch=4)  # the last one has two rows more
