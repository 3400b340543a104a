"""Stability as the training log has it: extremes, spikes, and what is not finite."""

import math

from reports.papers.stability import Reading, spikes, steadiness
from training_logs import log


def test_stability_is_that_of_the_log() -> None:
    found = steadiness("a", log([1, 9, 1, 1, 1.1, 3.2, 1], [5, 0.5, 2, 4, 3, 1, 1.5]), {"sessions": [{}, {}, {}]}, ["x failed"])
    assert (found.final, found.lowest, found.highest) == (Reading(1.5, 7.0), Reading(0.5, 2.0), Reading(5.0, 1.0))
    assert found.norm == Reading(9.0, 2.0)
    assert found.spikes == (Reading(3.2, 6.0),)  # above 3 x the median of 1, 9, 1, 1, 1.1; the second line is too early
    assert (found.resumed, found.lines, found.reasons) == (2, 7, ("x failed",))


def test_what_is_not_finite_is_counted_and_in_no_extreme() -> None:
    found = steadiness("a", log([1, math.inf, 1], [2, math.nan, 3]), {}, ())
    assert [reading.epoch for reading in found.not_finite] == [2.0]
    assert found.highest == Reading(3.0, 3.0)
    assert found.norm == Reading(1.0, 1.0)
    assert steadiness("a", [], {}, ()).final is None
    assert steadiness("a", [{"images": 1, "epoch": None, "mse": "x", "grad_norm": True}], {}, ()).norm is None


def test_a_steady_fall_has_no_spike() -> None:
    assert spikes([Reading(10 / i, float(i)) for i in range(1, 50)]) == []
    assert [s.epoch for s in spikes([Reading(0.0, 0.0)] * 5 + [Reading(1.0, 5.0)])] == []  # nothing to compare with
