"""An extractor, a method and images of arithmetic so plain that every score of them is known to the bit."""

from typing import Any

import torch
from torch import Tensor

from bench import datasets, metrics, rng, sample
from bench.config import Eval
from bench.estimates import METRICS, Score
from bench.evaluate import Judge, score
from bench.extractors import Outputs
from bench.protocol import Protocol
from bench.references import Reference
from conftest import tiny_run

N, DIM, CLASSES, PLACES = 203, 6, 10, 4
ALL = tuple(metric for metric in METRICS if metric != "kernel_distance_subsets")  # which takes 1,000 images


class Toy:
    """Features that depend on one image alone, to the bit: products of two pixels, summed one after the other."""

    name, dim, digest, metrics, device = "toy", DIM, "0" * 64, ALL, "cpu"

    def outputs(self, images: Tensor) -> Outputs:
        x = images.flatten(1).float() / 255
        features = torch.stack([x[:, i] * x[:, i + 1] + x[:, 2 * i] for i in range(DIM)], 1)
        logits = torch.stack([3 * x[:, 6 * i + 1] - x[:, i] for i in range(CLASSES)], 1)
        return Outputs(features, logits, features[:, :PLACES].clamp(min=0.3))

    def features(self, images: Tensor) -> Tensor:
        return self.outputs(images).features

    def logits(self, images: Tensor) -> Tensor | None:
        return self.outputs(images).logits


class Echo:
    """A method whose image is its noise: what reaches the scorer is known to the bit."""

    def sample(self, net: Any, noise: Tensor, label: Tensor, steps: int, renoise: Any = None) -> Tensor:
        return noise / 2 + label[:, None, None, None] / 20 + (0 if steps == 1 else renoise[0] / 8)


def pictures(purpose: str, count: int) -> Tensor:
    return torch.randint(256, (count, 1, 8, 8), dtype=torch.uint8, generator=rng.generator(0, purpose))


def toy_reference(extractor: Any = None, images: Tensor | None = None) -> Reference:
    images = pictures("real", 150) // 2 + 40 if images is None else images
    found = (extractor or Toy()).outputs(images)
    spatial = metrics.statistics(found.spatial) if found.spatial is not None else None
    return Reference("toy", "1" * 64, len(images), metrics.statistics(found.features), spatial, lambda: found.features)


def toy_judge(wanted: tuple[str, ...] = ALL) -> Judge:
    return Judge(Toy(), toy_reference(), Protocol("toy", {}), wanted)


def echo() -> sample.Model:
    net: Any = torch.nn.Identity()
    return sample.Model(Echo(), net, tiny_run(), (1, 8, 8), 10, 0, torch.device("cpu"))  # type: ignore[arg-type]


def toy_scores(batch: int, n: int = N, wanted: tuple[str, ...] = ALL) -> list[Score]:
    return score(echo(), datasets.load("digits"), [toy_judge(wanted)], Eval(samples=n, batch=batch), 2, seed=3)[0]
