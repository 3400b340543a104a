"""The largest batch on a given memory: against memory functions whose answer is known."""

import gc
import weakref
from collections.abc import Callable

import pytest
import torch

from bench.speed.max_batch import TOLERANCE, largest_batch

MEGA = 1_000_000


def line(fixed: int, each: int) -> Callable[[int], int]:
    return lambda batch: fixed + each * batch


@pytest.mark.parametrize("unit", [1, 4, 48])
@pytest.mark.parametrize(("fixed", "each", "memory"), [(0, 1, 1000), (500, 3, 12_345), (7_000, 11, 1_000_000)])
def test_within_three_per_cent_below_the_true_answer(fixed: int, each: int, memory: int, unit: int) -> None:
    """A line: the true answer is (memory - fixed) / each, in whole units."""
    found = largest_batch(line(fixed, each), memory, unit, 1 << 20)
    true = (memory - fixed) // each // unit * unit
    assert true - max(unit, TOLERANCE * true) <= found.batch <= true
    assert found.batch % unit == 0
    assert found.bytes == fixed + each * found.batch <= memory
    assert (found.batch, found.bytes) in found.tried


def test_nothing_far_beyond_the_memory_is_tried() -> None:
    """From the third size on, the line through two: at most three per cent or a unit more than what fits."""
    found = largest_batch(line(MEGA, 1000), 10 * MEGA, 4, 1 << 20)
    assert 8700 <= found.batch <= 9000
    assert max(batch for batch, _ in found.tried) <= 9000 * (1 + TOLERANCE) + 4
    assert len(found.tried) <= 16


def test_a_curve_that_bends_upwards() -> None:
    """Quadratic: the line allows too much, and the interval is halved."""
    found = largest_batch(lambda b: b * b, MEGA, 1, 1 << 20)
    assert 970 <= found.batch <= 1000
    assert found.bytes == found.batch**2


def test_a_size_that_ran_out_is_final() -> None:
    """Memory ends at 300 rows whatever is allowed: by None, and by torch's own error in between."""
    seen: list[int] = []

    def attempt(batch: int) -> int | None:
        assert not [b for b in seen if b > 300 and batch >= b], "a larger one is not tried again"
        seen.append(batch)
        if batch > 400:
            return None
        if batch > 300:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return 1000 + batch // 100  # hardly rises: nothing warns

    found = largest_batch(attempt, 10**12, 4, 1 << 20)
    assert 291 - 4 <= found.batch <= 300
    assert [used for batch, used in found.tried if batch > 300] == [None] * sum(b > 300 for b in seen)
    assert seen == [batch for batch, _ in found.tried]


def test_what_an_attempt_held_is_gone_before_the_next() -> None:
    """Tensors in the frames of the error, and in a circle that only the collector undoes."""
    held: list[weakref.ref[torch.Tensor]] = []

    def attempt(batch: int) -> int | None:
        assert all(ref() is None for ref in held)
        if batch > 16:
            block, circle = torch.zeros(8), [torch.zeros(8)]
            circle.append(circle)  # type: ignore[arg-type]
            held.extend([weakref.ref(block), weakref.ref(circle[0])])
            raise torch.OutOfMemoryError("CUDA out of memory")
        return 1

    gc.disable()
    try:
        assert largest_batch(attempt, 100, 1, 1000).batch == 16
    finally:
        gc.enable()
    assert len(held) >= 4


def test_the_answer_was_measured_where_memory_is_not_monotone() -> None:
    """A kernel that needs more between 50 and 60: the answer lies below or above it, and fits by its own measurement."""
    found = largest_batch(lambda b: 200 if 50 <= b < 60 else b, 100, 1, 1 << 20)
    assert found.bytes == found.batch <= 100
    assert not 50 <= found.batch < 60


def test_limits() -> None:
    assert largest_batch(line(1, 0), 10, 4, 1000).batch == 1000, "everything fits: the limit"
    assert largest_batch(line(1, 0), 10, 4, 1002).batch == 1000, "in whole units"
    nothing = largest_batch(line(99, 0), 10, 4, 1000)
    assert (nothing.batch, nothing.bytes, nothing.tried) == (0, 0, [(4, 99)])
    assert largest_batch(line(1, 0), 10, 48, 40).tried == []


def test_other_errors_are_not_memory() -> None:
    def attempt(batch: int) -> int | None:
        raise ValueError(f"another mistake at {batch}")

    with pytest.raises(ValueError, match="another mistake at 4"):
        largest_batch(attempt, 10, 4, 1000)
