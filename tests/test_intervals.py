"""Standard errors and tests equal their closed forms and scipy's; what two sides share cancels."""

import math
import random
import statistics
from itertools import pairwise

import pytest
import torch

from bench import metrics
from bench.intervals import BLOCKS, JACKKNIFE, Difference, holm, paired, standard_error, t_probability, t_quantile, welch


def without_each(values: list[float]) -> list[float]:
    return [(sum(values) - value) / (len(values) - 1) for value in values]


def values(count: int, level: float = 0.0, seed: int = 0) -> list[float]:
    draw = random.Random(seed)
    return [draw.gauss(level, 2.0) for _ in range(count)]


@pytest.mark.parametrize("count", [2, 5, 10])
def test_of_a_mean_both_errors_are_s_over_root_n(count: int) -> None:
    parts = values(count)
    expected = statistics.stdev(parts) / math.sqrt(count)
    assert standard_error(without_each(parts), JACKKNIFE) == pytest.approx(expected, rel=1e-12)
    assert standard_error(parts, BLOCKS) == pytest.approx(expected, rel=1e-12)


def test_one_replicate_has_no_error() -> None:
    assert standard_error([1.0], JACKKNIFE) is None
    assert standard_error([], BLOCKS) is None


def test_what_two_sides_share_cancels() -> None:
    """Noise a hundred times the difference, the same on both sides: it leaves neither the value nor the error."""
    ours, theirs = values(10, seed=1), values(10, 0.5, seed=2)
    shift = [100 * v for v in values(10, seed=3)]

    def item(parts: list[float]) -> list[tuple[float, list[float]]]:
        return [(statistics.fmean(parts), without_each(parts))]

    alone = paired(item(ours), item(theirs), JACKKNIFE)
    shifted = [[x + s for x, s in zip(side, shift, strict=True)] for side in (ours, theirs)]
    together = paired(item(shifted[0]), item(shifted[1]), JACKKNIFE)
    assert (together.value, together.error) == pytest.approx((alone.value, alone.error), rel=1e-9)
    differences = [x - y for x, y in zip(ours, theirs, strict=True)]
    assert alone.value == pytest.approx(statistics.fmean(differences))
    assert alone.error == pytest.approx(statistics.stdev(differences) / math.sqrt(10), rel=1e-12)
    assert alone.freedom == 9


def test_equal_networks_are_told_apart_as_rarely_as_promised_by_their_frechet_distances() -> None:
    """Two networks of one distribution, nine tenths of whose features the noises decide: wrong in at most 5 %."""
    draw = torch.Generator().manual_seed(0)
    n, d, tables = 500, 16, 300
    real = metrics.statistics(torch.randn(20_000, d, generator=draw, dtype=torch.float64) * 1.2 + 0.3)
    group, wrong = metrics.consecutive_groups(n), 0
    for _ in range(tables):
        shared, sides = torch.randn(n, d, generator=draw), []
        for _ in range(2):
            moments = metrics.Moments(d, metrics.GROUPS)
            moments.update(0.9**0.5 * shared + 0.1**0.5 * torch.randn(n, d, generator=draw), group)
            value = metrics.frechet_distance(real, moments.statistics())
            sides.append([(value, metrics.frechet_replicates(real, moments))])
        wrong += paired(sides[0], sides[1], JACKKNIFE).distinguishable
    assert 0.01 <= wrong / tables <= 0.08  # not by intervals that are far too wide either


def test_several_sampling_seeds_average() -> None:
    sides = [[(v, [v - 1, v, v + 1]) for v in values(3, seed=s)] for s in (1, 2)]
    sides[1] = [(v, [v - 2, v, v + 5]) for v, _ in sides[1]]
    one = paired(sides[0][:1], sides[1][:1], BLOCKS)
    all_three = paired(sides[0], sides[1], BLOCKS)
    assert all_three.error == pytest.approx(one.error / math.sqrt(3))
    assert all_three.freedom == 6
    assert all_three.value == pytest.approx(statistics.fmean(x[0] - y[0] for x, y in zip(*sides, strict=True)))


@pytest.mark.parametrize(
    ("a", "b"),
    [([], []), ([(1.0, [1.0, 2.0])], []), ([(1.0, [1.0, 2.0])], [(1.0, [1.0, 2.0, 3.0])]), ([(1.0, [1.0])], [(1.0, [2.0])])],
)
def test_what_does_not_pair_is_refused(a: list[tuple[float, list[float]]], b: list[tuple[float, list[float]]]) -> None:
    with pytest.raises(ValueError, match="paired values need"):
        paired(a, b, JACKKNIFE)


@pytest.mark.parametrize(("m", "n"), [(2, 2), (3, 5), (10, 4)])
def test_welch_is_scipys(m: int, n: int) -> None:
    from scipy import stats

    a, b = values(m, seed=1), [3 * v for v in values(n, 1.0, seed=2)]
    found, expected = welch(a, b), stats.ttest_ind(a, b, equal_var=False)
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-9)
    assert found.freedom == pytest.approx(expected.df, rel=1e-9)
    interval = expected.confidence_interval(0.95)
    ends = (found.value - found.half_width, found.value + found.half_width)
    assert ends == pytest.approx((interval.low, interval.high), rel=1e-9)


def test_welch_without_any_spread() -> None:
    assert welch([1.0, 1.0], [1.0, 1.0]).p_value == 1
    assert welch([1.0, 1.0], [2.0, 2.0]).p_value == 0
    with pytest.raises(ValueError, match="at least 2"):
        welch([1.0], [2.0, 3.0])


def test_quantiles_and_the_verdict_agree() -> None:
    assert t_quantile(0.975, 9) == pytest.approx(2.262157, abs=1e-6)  # any table of Student's t
    assert t_probability(t_quantile(0.3, 4.5), 4.5) == pytest.approx(0.3)
    edge = t_quantile(0.975, 9)
    assert Difference(edge * 1.001, 1.0, 9).distinguishable
    assert not Difference(edge * 0.999, 1.0, 9).distinguishable
    assert Difference(-edge, 1.0, 9).p_value == pytest.approx(0.05)


def test_holm() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])  # 3 x 0.01, 2 x 0.03, and 0.04 no less than that
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([0.02]) == [0.02]
    assert holm([]) == []
    draw = random.Random(0)
    given = [draw.random() ** 3 for _ in range(20)]
    found = holm(given)
    assert all(corrected >= p for corrected, p in zip(found, given, strict=True))
    order = [corrected for _, corrected in sorted(zip(given, found, strict=True))]
    assert all(a <= b for a, b in pairwise(order))
