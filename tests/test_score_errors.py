"""The uncertainty of a score: replicates, standard errors, the extrapolation to infinitely many images, groups."""

import pytest
import torch

from bench import metrics, rng, scores
from bench.estimates import Score
from toy_scores import DIM, N, Toy, pictures, toy_reference, toy_scores


def of(found: list[Score], metric: str) -> Score:
    return next(s for s in found if s.metric == metric)


def test_replicates_are_the_scores_without_each_group() -> None:
    images, label = pictures("made", N), torch.arange(N) % 5
    scorer = scores.Scorer(Toy(), toy_reference(), ("frechet_distance", "spatial_frechet_distance", "class_accuracy"), N)
    scorer.update(torch.arange(N), images, label)
    found = scorer.scores()
    group = torch.arange(N) * 10 // N
    assert torch.bincount(group).min() >= 20
    real, outputs = toy_reference(), Toy().outputs(images)
    for g in range(10):
        rows = group != g
        expected = metrics.frechet_distance(real.statistics, metrics.statistics(outputs.features[rows]))
        assert of(found, "frechet_distance").replicates[g] == pytest.approx(expected, rel=1e-9)
        assert outputs.logits is not None
        right = (outputs.logits[rows].argmax(1) == label[rows]).double().mean()
        assert of(found, "class_accuracy").replicates[g] == pytest.approx(float(right))
    blocks = of(toy_scores(N), "kernel_distance")
    assert len(blocks.replicates) == 10
    assert blocks.value == pytest.approx(sum(blocks.replicates) / 10)


@pytest.mark.parametrize(("metric", "n"), [("frechet_distance", 400), ("class_accuracy", 400), ("kernel_distance", 400)])
def test_the_standard_error_is_the_scatter_of_new_images(metric: str, n: int) -> None:
    """Forty independent sets: their scatter against the error that one set claims."""
    values, errors = [], []
    for i in range(40):
        # The blocks of KID are of both sides: its error holds the real images' part, too.
        real = toy_reference(images=pictures(f"real {i if metric == 'kernel_distance' else 0}", 1000))
        scorer = scores.Scorer(Toy(), real, (metric,), n)
        images = pictures(f"set {i}", n) // 2 + 60
        scorer.update(torch.arange(n), images, torch.arange(n) % 5)
        (found,) = scorer.scores()
        values.append(found.value)
        errors.append(found.standard_error or 0.0)
    scatter = float(torch.tensor(values).std())
    claimed = float(torch.tensor(errors).square().mean().sqrt())
    assert 0.7 < claimed / scatter < 1.5  # 40 sets know the scatter to 11 %


def test_the_infinite_distance_has_lost_the_bias() -> None:
    """Gaussian features: the distance of finite samples of the reference itself is about c/n; of infinitely many, 0."""
    real = metrics.Statistics(10**6, torch.zeros(20, dtype=torch.float64), torch.eye(20, dtype=torch.float64))
    plain, infinite = [], []
    for i in range(30):
        moments = metrics.Moments(20, 10)
        x = torch.randn(1000, 20, generator=rng.generator(i, "test"), dtype=torch.float64)
        moments.update(x, metrics.consecutive_groups(1000))
        plain.append(metrics.frechet_distance(real, moments.statistics()))
        infinite.append(metrics.frechet_distance_infinite(real, moments))
    bias, left = float(torch.tensor(plain).mean()), float(torch.tensor(infinite).mean())
    assert bias > 0.1
    assert abs(left) < 0.05 * bias


def test_the_infinite_distance_needs_enough_images() -> None:
    assert metrics.infinite_sizes(50_000, 2048) == [1, 2, 5, 10]
    assert metrics.infinite_sizes(10_000, 2048) == [1, 2]
    assert metrics.infinite_sizes(5_000, 2048) == []
    for dim in (6, 64, 1280, 2048):
        least = metrics.least_for_infinite(dim)
        assert metrics.infinite_sizes(least, dim) == [1, 2]
        assert metrics.infinite_sizes(least - 1, dim) == []
    with pytest.raises(ValueError, match="too few to extrapolate"):
        metrics.frechet_distance_infinite(toy_reference().statistics, metrics.Moments(DIM, 10))


@pytest.mark.parametrize("known", [True, False])
def test_groups_are_dealt_whatever_the_order(known: bool) -> None:
    """Balanced classes one after the other, as in a sorted file: consecutive groups would leave a whole class out."""
    label = torch.arange(1000) // 100
    group = metrics.dealt_groups(label if known else None, 1000)
    assert torch.bincount(group).tolist() == [100] * 10
    counts = torch.stack([torch.bincount(label[group == g], minlength=10) for g in range(10)])
    assert (counts == 10).all() if known else (counts.min() > 0 and counts.max() < 30)


def test_the_reference_keeps_its_factor() -> None:
    real = toy_reference()
    scorer = scores.Scorer(Toy(), real, ("frechet_distance",), N)
    scorer.update(torch.arange(N), pictures("made", N))
    scorer.scores()
    kept = real.statistics.__dict__["factor"]
    assert real.statistics.to(torch.device("cpu")).factor is kept
