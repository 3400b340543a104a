"""Scores against closed forms, brute force, numpy and scipy; randomness by purpose and position."""

import itertools
import math

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import Tensor

from bench import metrics, rng
from bench.metrics import Moments, Statistics, accuracy, frechet_distance, kernel_distance, statistics


def normal(seed: int, *size: int) -> Tensor:
    return torch.randn(*size, generator=rng.generator(seed, "test"), dtype=torch.float64)


def covariance(seed: int, dim: int, rank: int | None = None) -> Tensor:
    """A random covariance; of a lower rank if asked."""
    factor = normal(seed, dim, rank or 2 * dim)
    return factor @ factor.T / factor.shape[1]


# Moments


@pytest.mark.parametrize("splits", [[100], [50, 50], [1, 99], [33, 33, 34], [1] * 100])
@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_moments_are_those_of_numpy_for_any_batches(splits: list[int], offset: float) -> None:
    features = (normal(0, 100, 7) * torch.logspace(-2, 2, 7, dtype=torch.float64)) + offset
    moments = Moments(7)
    for part in features.split(splits):
        moments.update(part)
    found = moments.statistics()
    assert found.n == 100
    assert found.mean.dtype == found.covariance.dtype == torch.float64
    np.testing.assert_allclose(found.mean, features.numpy().mean(0), rtol=1e-12)
    # The data itself has an ulp of 1e-10 at 1e6. Without the shift the smallest variance, 1e-4, is lost: squares are 1e12.
    np.testing.assert_allclose(found.covariance, np.cov(features.numpy().T), rtol=1e-7, atol=1e-9)


def test_moments_accumulate_in_float64() -> None:
    features = normal(1, 20_000, 3).float() + 1000
    moments = Moments(3)
    for part in features.split(100):
        moments.update(part)
    np.testing.assert_allclose(moments.statistics().covariance, np.cov(features.double().numpy().T), rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("count", [0, 1])
def test_no_covariance_below_two_features(count: int) -> None:
    with pytest.raises(ValueError, match=f"{count} features; a covariance needs at least 2"):
        statistics(torch.zeros(count, 3))


# Frechet distance


def gaussian(mean: Tensor, cov: Tensor) -> Statistics:
    return Statistics(1000, mean, cov)


def test_frechet_of_diagonal_gaussians() -> None:
    m1, m2 = normal(2, 6), normal(3, 6)
    v1, v2 = normal(4, 6).square(), normal(5, 6).square()
    expected = float((m1 - m2).square().sum() + (v1.sqrt() - v2.sqrt()).square().sum())
    assert frechet_distance(gaussian(m1, v1.diag()), gaussian(m2, v2.diag())) == pytest.approx(expected, rel=1e-12)


def test_frechet_of_commuting_covariances() -> None:
    turn = torch.linalg.qr(normal(6, 8, 8)).Q
    v1, v2 = normal(7, 8).square(), normal(8, 8).square()
    zero = torch.zeros(8, dtype=torch.float64)
    found = frechet_distance(gaussian(zero, turn @ v1.diag() @ turn.T), gaussian(zero, turn @ v2.diag() @ turn.T))
    assert found == pytest.approx(float((v1.sqrt() - v2.sqrt()).square().sum()), rel=1e-10)


@pytest.mark.parametrize("rank", [None, 5])
def test_frechet_of_identical_statistics_is_zero(rank: int | None) -> None:
    same = gaussian(normal(9, 20), covariance(10, 20, rank))
    assert abs(frechet_distance(same, same)) < 1e-6  # of a trace of 20; 1e-8 a null direction is the root of an ulp


def test_frechet_is_symmetric_and_agrees_with_scipy() -> None:
    a, b = gaussian(normal(11, 24), covariance(12, 24)), gaussian(normal(13, 24), covariance(14, 24))
    root = np.real(scipy.linalg.sqrtm((a.covariance @ b.covariance).numpy()))
    trace = float(a.covariance.trace() + b.covariance.trace()) - 2 * float(np.trace(root))
    expected = float((a.mean - b.mean).square().sum()) + trace
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(b, a) == pytest.approx(frechet_distance(a, b), rel=1e-9)


def test_frechet_of_fewer_features_than_dimensions() -> None:
    """Singular covariances: tr (A^1/2 B A^1/2)^1/2 is the sum of singular values of the centred features' product."""
    x, y = normal(15, 12, 40), normal(16, 10, 40) + 1
    centred_x, centred_y = (x - x.mean(0)) / math.sqrt(11), (y - y.mean(0)) / math.sqrt(9)
    nuclear = torch.linalg.svdvals(centred_x @ centred_y.T).sum()
    trace = centred_x.square().sum() + centred_y.square().sum() - 2 * nuclear
    expected = float((x.mean(0) - y.mean(0)).square().sum() + trace)
    assert frechet_distance(statistics(x), statistics(y)) == pytest.approx(expected, rel=1e-7)


# KID


def brute_force(x: Tensor, y: Tensor) -> float:
    def kernel(a: Tensor, b: Tensor) -> float:
        return (sum(float(p) * float(q) for p, q in zip(a, b, strict=True)) / len(a) + 1) ** 3

    def within(z: Tensor) -> float:
        pairs = [kernel(z[i], z[j]) for i, j in itertools.permutations(range(len(z)), 2)]
        return sum(pairs) / len(pairs)

    across = [kernel(a, b) for a in x for b in y]
    return within(x) + within(y) - 2 * sum(across) / len(across)


def test_kid_equals_the_double_loop() -> None:
    x, y = normal(17, 9, 4), normal(18, 7, 4) * 1.5
    assert kernel_distance(x, y) == pytest.approx(brute_force(x, y), rel=1e-12)


def test_kid_is_unbiased_and_positive_for_different_sets() -> None:
    draws = torch.tensor([kernel_distance(normal(100 + i, 20, 3), normal(5000 + i, 20, 3)) for i in range(800)])
    error = float(draws.std()) / math.sqrt(len(draws))
    # The biased estimate would be above zero by about 2 (E k(x, x) - E k(x, y)) / 20 = 0.8, many errors away.
    assert abs(float(draws.mean())) < 3.5 * error
    assert error < 0.05
    assert kernel_distance(normal(19, 200, 3), normal(20, 200, 3) + 1) > 1


def test_kid_uses_every_feature_of_every_block() -> None:
    x, y = normal(21, 60, 3), normal(22, 90, 3)
    before = kernel_distance(x, y, block=20)
    for row in (0, 30, 59):
        changed = x.clone()
        changed[row] += 5
        assert kernel_distance(changed, y, block=20) != before
    for row in (0, 45, 89):
        changed = y.clone()
        changed[row] += 5
        assert kernel_distance(x, changed, block=20) != before


def test_kid_does_not_depend_on_the_order_of_the_features() -> None:
    """Real features come sorted by class from a folder: consecutive blocks would compare one class with all of them."""
    classes = torch.arange(4, dtype=torch.float64).repeat_interleave(300)[:, None] / 2
    x, y = normal(23, 1200, 3) + classes, normal(24, 1200, 3) + classes
    mixed = y[torch.randperm(1200, generator=rng.generator(0, "test"))]
    whole = kernel_distance(x, mixed, block=1200)
    assert kernel_distance(x, mixed, block=300) == pytest.approx(whole, abs=0.5)  # 7.2 in consecutive blocks


def test_kid_of_two_sets_in_one_order_is_unbiased() -> None:
    """Equally many, sorted by class: shuffled alike, each block would compare the same classes on both sides (-1.4)."""
    means = 2 * normal(26, 10, 64)
    label = torch.arange(2000) * 10 // 2000
    x, y = means[label] + normal(27, 2000, 64), means[label] + normal(28, 2000, 64)
    blocks = metrics.kernel_distances(x, y, block=200)
    error = float(blocks.std()) / math.sqrt(len(blocks))
    assert abs(float(blocks.mean())) < 4 * error


def test_kid_needs_two_features() -> None:
    with pytest.raises(ValueError, match="KID of 1 and 5 features; it needs at least 2"):
        kernel_distance(normal(25, 1, 3), normal(26, 5, 3))


# Accuracy


def test_accuracy_is_the_share_of_right_rows() -> None:
    logits = torch.tensor([[1.0, 2.0, 0.0], [3.0, 2.0, 1.0], [0.0, 0.0, 1.0], [0.0, 5.0, 1.0]])
    assert accuracy(logits, torch.tensor([1, 0, 2, 0])) == 0.75
    assert accuracy(-logits, torch.tensor([1, 0, 0, 1])) == 0.25


# Randomness


def test_derived_seeds_never_change() -> None:
    """Fixed values: results of different versions and machines depend on them."""
    assert rng.derive(0, "train", 0) == 3081527524151965971
    assert rng.derive(1, "train", 0) == 2064939839190351003
    assert rng.derive(0, "noise", 12, 3) == 1865149907115224262


def test_derived_seeds_differ_by_purpose_and_position() -> None:
    keys = [(s, p, *q) for s in range(3) for p in ("train", "noise", "label") for q in ((), (1,), (11,), (1, 1), (1, 2))]
    seeds = {rng.derive(seed, str(purpose), *position) for seed, purpose, *position in keys}
    assert len(seeds) == len(keys)
    assert all(0 <= seed < 2**63 for seed in seeds)
    draws = {purpose: torch.randn(4, generator=rng.generator(0, purpose, 0)).sum().item() for purpose in ("train", "noise")}
    assert draws["train"] != draws["noise"]


def test_noise_of_an_image_does_not_depend_on_its_batch() -> None:
    shape = (2, 3, 3)
    whole = rng.image_noise(5, "noise", range(12), shape)
    for size in (1, 5, 12):
        parts = [rng.image_noise(5, "noise", range(i, min(i + size, 12)), shape) for i in range(0, 12, size)]
        assert torch.equal(torch.cat(parts), whole)
    assert torch.equal(rng.image_noise(5, "noise", [7, 2], shape), whole[[7, 2]])
    assert not torch.equal(rng.image_noise(6, "noise", range(12), shape), whole)
    assert not torch.equal(rng.image_noise(5, "noise", range(12), shape, 1), whole)
    assert len(whole.flatten(1).unique(dim=0)) == 12


def test_labels_by_rule() -> None:
    balanced = rng.image_labels(0, range(100), 10, "balanced")
    assert torch.bincount(balanced).tolist() == [10] * 10
    drawn = rng.image_labels(0, range(2000), 10, "random")
    assert drawn.dtype == balanced.dtype == torch.int64
    counts = torch.bincount(drawn, minlength=10)
    assert len(counts) == 10
    assert float(((counts - 200) ** 2 / 200).sum()) < 27.9  # chi-squared, 9 degrees of freedom, p = 0.001
    assert torch.equal(rng.image_labels(0, range(50, 70), 10, "random"), drawn[50:70])
    assert metrics.accuracy(torch.eye(10)[drawn], drawn) == 1
