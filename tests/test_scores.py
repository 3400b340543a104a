"""Scores in-stream: the same for any batches and processes; uncertainty by leaving groups out; what can not be had is said."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed
import torch.multiprocessing
from torch import Tensor

from bench import datasets, dist, metrics, references, rng, sample, scores
from bench.config import Eval
from bench.errors import BenchError
from bench.estimates import METRICS
from bench.evaluate import make_judges, score
from toy_scores import ALL, N, Toy, echo, pictures, toy_judge, toy_reference, toy_scores


def few_scores(world: int) -> float:
    """Of so few images that one process has a single one more than another."""
    return toy_scores(5, 2 * world - 1, ("frechet_distance",))[0].value


# Batches and processes


def worker(rank: int, world: int, folder: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=world)
    digits = datasets.load("digits")
    request = sample.Request(samples=N, batch=19, seed=3, part=rank, parts=world)
    batches = list(sample.generate(echo(), digits, request, 2))
    index = torch.cat([b.index for b in batches])
    found: dict[str, Any] = {"images": dist.gathered(index, torch.cat([b.images for b in batches]).flatten(1))}
    found["scores"] = {batch: {s.metric: (s.value, s.replicates) for s in toy_scores(batch)} for batch in (19, 64)}
    found["few"] = few_scores(world)
    real = references.of_dataset(digits, Toy(), Path(folder))
    found["reference"] = float(real.statistics.covariance.sum())
    torch.save(found, f"{folder}/{rank}.pt")
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module", params=[2, 3])
def processes(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("gloo")
    torch.multiprocessing.spawn(worker, (request.param, str(folder)), nprocs=request.param)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(request.param)]


def all_values(found: dict[str, Any]) -> dict[tuple[str, int], float]:
    flat = {}
    for metric, (value, replicates) in found.items():
        flat |= {(metric, i): v for i, v in enumerate((value, *replicates))}
    return flat


def test_any_number_of_processes_scores_the_same_images_the_same(processes: list[dict[str, Any]]) -> None:
    whole = list(sample.generate(echo(), datasets.load("digits"), sample.Request(samples=N, batch=N, seed=3), 2))
    one = all_values({s.metric: (s.value, s.replicates) for s in toy_scores(N)})
    assert len(one) == len(ALL) + 40, "replicates too"
    for found in processes:
        assert torch.equal(found["images"], whole[0].images.flatten(1))
        for of_batch in found["scores"].values():
            several = all_values(of_batch)
            assert several.keys() == one.keys()
            for key, value in one.items():
                assert several[key] == pytest.approx(value, rel=1e-9, abs=1e-12), key
    assert [found["few"] for found in processes] == [pytest.approx(few_scores(len(processes)), rel=1e-9)] * len(processes)
    real = float(metrics.statistics(Toy().features(all_digits())).covariance.sum())
    assert [found["reference"] for found in processes] == [pytest.approx(real, rel=1e-9)] * len(processes)


def all_digits() -> Tensor:
    digits = datasets.load("digits")
    return digits.to_uint8(digits.images(torch.arange(digits.train_images))[0])


@pytest.mark.parametrize("batch", [1, 17, 100])
def test_batches_do_not_move_a_score(batch: int) -> None:
    for one, other in zip(toy_scores(N), toy_scores(batch), strict=True):
        assert other.value == pytest.approx(one.value, rel=1e-9, abs=1e-12), one.metric
        assert other.replicates == pytest.approx(one.replicates, rel=1e-9, abs=1e-12), one.metric


def test_padding_is_dropped() -> None:
    images = pictures("made", 30)
    exact, padded = (scores.Scorer(Toy(), toy_reference(), ("frechet_distance", "kernel_distance"), 30) for _ in range(2))
    exact.update(torch.arange(30), images)
    padded.update(torch.arange(28), images[:28])
    padded.update(torch.tensor([28, 30, 29, 31]), torch.cat([images[28:29], images[:1], images[29:], images[:1]]))
    assert [s.value for s in padded.scores()] == pytest.approx([s.value for s in exact.scores()], rel=1e-12)


def test_images_that_never_came_are_noticed() -> None:
    scorer = scores.Scorer(Toy(), toy_reference(), ("frechet_distance",), 31)
    scorer.update(torch.arange(30), pictures("made", 30))
    with pytest.raises(AssertionError, match="30 images, 31 were promised"):
        scorer.scores()


def test_frechet_alone_keeps_no_features() -> None:
    scorer = scores.Scorer(Toy(), toy_reference(), ("frechet_distance", "frechet_distance_infinite"), N)
    for rows in torch.arange(N).split(50):
        scorer.update(rows, pictures("made", N)[rows])
    assert not any(scorer.keeps.values())
    assert not any(scorer.kept.values())
    kept = scores.Scorer(Toy(), toy_reference(), ("frechet_distance", "precision"), N)
    assert kept.keeps["features"]


# Frechet distance: factors and few features


def test_the_low_rank_form_is_the_distance() -> None:
    x = torch.randn(30, 50, generator=rng.generator(0, "x"), dtype=torch.float64)
    y = torch.randn(400, 50, generator=rng.generator(0, "y"), dtype=torch.float64) * 2 + 1
    real = metrics.statistics(y)
    expected = metrics.frechet_distance(real, metrics.statistics(x))
    assert metrics.frechet_distance_from_features(real, x) == pytest.approx(expected, rel=1e-7)
    singular = metrics.statistics(y[:20])  # no Cholesky factor
    expected = metrics.frechet_distance(metrics.statistics(x), singular)
    assert metrics.frechet_distance_from_features(singular, x) == pytest.approx(expected, rel=1e-7)


def test_moments_about_another_point_are_the_same() -> None:
    x = torch.randn(90, 4, generator=rng.generator(0, "x"), dtype=torch.float64) + 100
    group = torch.arange(90) * 3 // 90
    moments = metrics.Moments(4, 3)
    moments.update(x, group)
    moments.shifted_to(torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64))
    for groups in (None, [0, 2]):
        rows = torch.ones(90, dtype=torch.bool) if groups is None else group != 1
        found, expected = moments.statistics(groups), metrics.statistics(x[rows])
        torch.testing.assert_close(found.mean, expected.mean, rtol=1e-12, atol=0)
        torch.testing.assert_close(found.covariance, expected.covariance, rtol=1e-8, atol=1e-9)


# What can not be had


def test_auto_leaves_out_and_says_so(digits: Any, tmp_path: Path) -> None:
    (judge,) = make_judges(digits, [Toy()], Eval(samples=20), tmp_path)  # type: ignore[list-item]
    assert "frechet_distance_infinite" not in judge.metrics
    assert any("frechet_distance_infinite is left out: 20 images; it needs 30" in remark for remark in judge.remarks)
    (judge,) = make_judges(digits, [Toy()], Eval(samples=5), tmp_path)  # type: ignore[list-item]
    assert any("covariance is singular" in remark for remark in judge.remarks)


@pytest.mark.parametrize(
    ("metric", "n", "given"),
    [
        ("kernel_distance_subsets", 999, "999 images; it needs 1,000"),
        ("precision", 3, "3 images; it needs 4"),
        ("inception_score", 9, "9 images; it needs 10"),
        ("frechet_distance_infinite", 29, "29 images; it needs 30"),
    ],
)
def test_a_metric_asked_for_by_name_needs_its_images(metric: str, n: int, given: str) -> None:
    class Every(Toy):
        metrics = tuple(METRICS)

    with pytest.raises(BenchError) as caught:
        scores.choose((metric,), Every(), toy_reference(), n)  # type: ignore[arg-type]
    assert given in caught.value.given
    assert "--samples" in caught.value.remedy


def test_statistics_alone_allow_no_kernel_distance() -> None:
    bare = dataclasses.replace(toy_reference(), load_features=None, spatial=None)
    chosen, remarks = scores.choose(("auto",), Toy(), bare, N)  # type: ignore[arg-type]
    gone = {"kernel_distance", "precision", "recall", "spatial_frechet_distance"}
    assert set(chosen) == set(ALL) - gone
    assert all(any(remark.startswith(metric) for remark in remarks) for metric in gone)
    for metric in gone:
        with pytest.raises(BenchError, match="the reference toy"):
            scores.choose((metric,), Toy(), bare, N)  # type: ignore[arg-type]


def test_an_unknown_metric_names_those_there_are() -> None:
    with pytest.raises(BenchError) as caught:
        scores.choose(("fid",), Toy(), toy_reference(), N)  # type: ignore[arg-type]
    assert "frechet_distance" in caught.value.allowed


def test_several_protocols_score_the_same_samples(digits: Any) -> None:
    both = [toy_judge(("frechet_distance",)), toy_judge(("kernel_distance", "frechet_distance"))]
    first, second = score(echo(), digits, both, Eval(samples=40), 1, seed=0)
    assert first[0] == second[1]


def test_the_quantiser_is_half_a_level() -> None:
    x = torch.linspace(-1, 1, 1001)
    usual = datasets.quantise(x).int()
    with datasets.quantising("127.5x+127.5"):
        lower = datasets.quantise(x).int()
    assert torch.equal(datasets.quantise(x).int(), usual)
    assert set((usual - lower).tolist()) == {0, 1}
    assert float((usual - lower).double().mean()) == pytest.approx(0.5, abs=0.02)
