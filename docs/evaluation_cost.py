"""What scoring costs, each as a ratio measured in this run: `python docs/evaluation_cost.py`. About ten minutes on two cores.

Prints the Frechet term at 2,048 dimensions against scipy.linalg.sqrtm, the cost of in-stream scoring against the network's bare
forward pass, the memory of scoring few and many images, and generation and features alone against both together, on a GPU
where there is one. Random weights and features: the cost does not depend on them.
"""

import contextlib
import io
import resource
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import numpy as np
import scipy.linalg
import torch
from torch import Tensor

from bench import config, datasets, dist, evaluate, extractors, metrics, overlap, references, sample, scores
from bench.extractors import Outputs, inception
from bench.metrics import Statistics
from bench.protocol import Protocol
from bench.references import Reference
from bench.speed.clock import synchronise
from bench.speed.work import fresh_model

DIM = 2048


def seconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def real_like(n: int, seed: int) -> Tensor:
    """(n, 2048) features with a power-law spectrum, as Inception's have: ReLU of a random mixture."""
    generator = torch.Generator().manual_seed(seed)
    mixture = torch.randn(DIM, DIM, generator=torch.Generator().manual_seed(0)) / torch.arange(1, DIM + 1).sqrt()[:, None]
    return (torch.randn(n, DIM, generator=generator) @ mixture).relu() / 8


def by_sqrtm(a: Statistics, b: Statistics) -> float:
    """As clean-fid and ADM take it, without their jitter."""
    root = scipy.linalg.sqrtm(a.covariance.numpy() @ b.covariance.numpy())
    trace = float(a.covariance.trace() + b.covariance.trace())
    return float((a.mean - b.mean).square().sum()) + trace - 2 * float(np.trace(root).real)


def frechet(rounds: int = 3, n: int = 5000) -> None:
    a, b = metrics.statistics(real_like(n, 1)), metrics.statistics(real_like(n, 2) * 1.02)
    times: dict[str, list[float]] = {"scipy.linalg.sqrtm": [], "ours, first": [], "ours, factor kept": []}
    for _ in range(rounds):
        times["scipy.linalg.sqrtm"].append(seconds(lambda: by_sqrtm(a, b)))
        fresh = Statistics(a.n, a.mean, a.covariance)
        times["ours, first"].append(seconds(lambda fresh=fresh: metrics.frechet_distance(fresh, b)))
        times["ours, factor kept"].append(seconds(lambda fresh=fresh: metrics.frechet_distance(fresh, b)))
    ours, theirs = metrics.frechet_distance(a, b), by_sqrtm(a, b)
    print(
        f"Frechet distance, {DIM} dimensions, {n:,} features: {ours:.10f}, sqrtm {theirs:.10f}, apart {abs(ours - theirs):.1e}"
    )
    reference = statistics.median(times["scipy.linalg.sqrtm"])
    for name, found in times.items():
        print(
            f"  {name:20} {statistics.median(found):7.2f} s  {reference / statistics.median(found):5.1f} times as fast as sqrtm"
        )
    few = real_like(1000, 3)
    low = seconds(lambda: metrics.frechet_distance_from_features(a, few))
    print(f"  1,000 features, through their singular values: {low:.2f} s")


def random_inception() -> inception.Extractor:
    """The extractor, on weights that were drawn: as it is, but for the file."""
    net = inception.network_class()
    file = io.BytesIO()
    torch.save({}, file)
    made = object.__new__(inception.Extractor)
    state = type("Unread", (net,), {"load_state_dict": lambda *_, **__: None})
    file.seek(0)
    made.net, made.device, made.digest, made.title = (
        state("inception-v3-compat", ["2048", "logits_unbiased"], file),
        "cpu",
        "",
        "",
    )
    return made


def in_stream(rounds: int = 5, batch: int = 16) -> None:
    extractor = random_inception()
    images = torch.randint(256, (batch, 3, 256, 256), dtype=torch.uint8)
    real = metrics.statistics(real_like(4000, 1))
    reference = Reference(
        "random", "", 4000, real, Statistics(4000, torch.zeros(2023), torch.eye(2023)), lambda: real_like(10, 0)
    )
    every = ("frechet_distance", "spatial_frechet_distance", "inception_score", "precision")
    scorer = scores.Scorer(extractor, reference, every, 10**6)
    bare, scored = [], []
    for i in range(rounds + 1):
        bare.append(seconds(lambda: extractor.outputs(images)))
        index = torch.arange(i * batch, (i + 1) * batch)
        scored.append(seconds(lambda index=index: scorer.update(index, images)))
    ratios = [b / a for a, b in zip(bare[1:], scored[1:], strict=True)]  # the first round warms up
    print(
        f"in-stream scoring, batch {batch} at 256 px: {statistics.median(scored[1:]):.2f} s, bare forward pass "
        f"{statistics.median(bare[1:]):.2f} s, ratio {statistics.median(ratios):.3f} (median of {rounds} alternating rounds)"
    )


class Projection:
    """2,048 features of a 1x16x16 image, at the cost of one product."""

    name, dim, digest, device, metrics = "projection", DIM, "", "cpu", ("frechet_distance",)
    weight = torch.randn(256, DIM, generator=torch.Generator().manual_seed(0)) / 16

    def outputs(self, images: Tensor) -> Outputs:
        return Outputs((images.flatten(1).float() / 255) @ self.weight)


def memory(counts: tuple[int, ...] = (5_000, 50_000)) -> None:
    reference = Reference("random", "", 5000, metrics.statistics(real_like(5000, 1)))
    for n in counts:
        scorer = scores.Scorer(Projection(), reference, ("frechet_distance",), n)  # type: ignore[arg-type]
        for index in torch.arange(n).split(500):
            scorer.update(index, torch.randint(256, (len(index), 1, 16, 16), dtype=torch.uint8))
        scorer.scores()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"frechet_distance alone, {n:,} images: peak resident memory so far {peak:,.0f} MiB")


@contextlib.contextmanager
def other_way(device: torch.device) -> Iterator[None]:
    """Within, what this device does not do by itself: on a GPU all one after the other, on a CPU noise on a thread."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.object(sample, "depth", return_value=0 if device.type == "cuda" else 2))
        if device.type == "cuda":
            stack.enter_context(mock.patch.object(overlap, "lanes", return_value=contextlib.nullcontext(overlap.InLine())))
        yield


def together(net: str = "T/2", rounds: int = 7, n: int = 1000, batch: int = 250) -> None:
    """Digits in one step, their features by the digits' extractor; each round takes every way once."""
    device, digits = dist.pick_device("auto"), datasets.load("digits")
    run = config.load(config.SHIPPED, {"run": {"methods": ("soflow",), "net": net}}).runs()[0]
    model, extractor = fresh_model(run, digits, device), extractors.load("digits", digits.shape, str(device))
    real = extractors.outputs(extractor, digits.to_uint8(digits.images(torch.arange(500))[0])).features.cpu()
    reference = references.Reference("digits", "", 500, metrics.statistics(real))
    judge = evaluate.Judge(extractor, reference, Protocol("cost", {}), ("frechet_distance",))
    settings = config.Eval(samples=n, batch=batch)
    made = list(sample.generate(model, digits, sample.Request(samples=n, batch=batch), 1))

    def features() -> None:
        scorer = judge.scorer(n)
        for part in made:
            scorer.update(part.index, part.images, part.label)
        synchronise(device)

    def both() -> None:
        evaluate.score(model, digits, [judge], settings, 1, 0)

    def both_the_other_way() -> None:
        with other_way(device):
            both()

    other = "both, nothing overlaps" if device.type == "cuda" else "both, noise on a thread"
    ways = {
        "generation": lambda: evaluate.score(model, digits, [], settings, 1, 0),
        "features": features,
        "both": both,
        other: both_the_other_way,
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds + 1):  # the first warms up
        for name, work in ways.items():
            times[name].append(seconds(work))
    print(f"{n:,} digits in one step of {net}, {dist.device_label(device)}: median of {rounds} alternating rounds, to both")
    for name, found in times.items():
        ratio = statistics.median(a / b for a, b in zip(found[1:], times["both"][1:], strict=True))
        print(f"  {name:24} {1e3 * statistics.median(found[1:]) / n:8.4f} ms an image  {ratio:5.2f}")


if __name__ == "__main__":
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, scipy {scipy.__version__}")
    memory()
    in_stream()
    together()
    frechet()
