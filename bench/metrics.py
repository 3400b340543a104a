"""Scores from features: streaming float64 moments, the Frechet distance, KID and accuracy. Pure tensor functions."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Statistics:
    """Mean (d,) and covariance (d, d) of n features, float64. The covariance divides by n - 1."""

    n: int
    mean: Tensor
    covariance: Tensor


class Moments:
    """Sums of features, one batch at a time, in float64.

    Features are shifted by the first batch's mean before they are squared: variances far below the mean keep their digits.
    """

    def __init__(self, dim: int) -> None:
        self.n = 0
        self.shift = torch.zeros(dim, dtype=torch.float64)
        self.sum = torch.zeros(dim, dtype=torch.float64)
        self.outer = torch.zeros(dim, dim, dtype=torch.float64)

    def update(self, features: Tensor) -> None:
        """Add (B, d) features."""
        x = features.detach().to("cpu", torch.float64)
        if self.n == 0:
            self.shift = x.mean(0)
        x = x - self.shift
        self.n += len(x)
        self.sum += x.sum(0)
        self.outer += x.T @ x

    def statistics(self) -> Statistics:
        """Raises ValueError below two features: there is no covariance."""
        if self.n < 2:
            raise ValueError(f"{self.n} features; a covariance needs at least 2")
        mean = self.sum / self.n
        covariance = (self.outer - self.n * torch.outer(mean, mean)) / (self.n - 1)
        return Statistics(self.n, mean + self.shift, covariance)


def statistics(features: Tensor) -> Statistics:
    """The statistics of (n, d) features at once."""
    moments = Moments(features.shape[1])
    moments.update(features)
    return moments.statistics()


def frechet_distance(a: Statistics, b: Statistics) -> float:
    """|m_a - m_b|^2 + tr(A + B - 2 (A^1/2 B A^1/2)^1/2), by two symmetric eigenvalue problems in float64.

    Exact for singular covariances; no matrix square root of a product, no jitter on a diagonal.
    """
    values, vectors = torch.linalg.eigh(a.covariance)
    factor = vectors * values.clamp(min=0).sqrt()  # A = factor factor^T
    cross = torch.linalg.eigvalsh(factor.T @ b.covariance @ factor).clamp(min=0).sqrt().sum()
    trace = torch.trace(a.covariance) + torch.trace(b.covariance)
    return float((a.mean - b.mean).square().sum() + trace - 2 * cross)


def kernel_distance(x: Tensor, y: Tensor, block: int = 1000) -> float:
    """KID: the unbiased squared MMD under the kernel (x.y / d + 1)^3, the mean over disjoint blocks (arXiv 1801.01401).

    As many blocks as the smaller set has `block` features, at least one; the larger set is thinned to four times that
    a block. The order of the features does not matter: real ones come sorted by class.
    """
    blocks = max(1, min(len(x), len(y)) // block)
    most = 4 * max(block, min(len(x), len(y)) // blocks) * blocks
    pairs = zip(_shuffled(x)[:most].tensor_split(blocks), _shuffled(y)[:most].tensor_split(blocks), strict=True)
    return float(torch.stack([_unbiased_mmd(a, b) for a, b in pairs]).mean())


def _shuffled(x: Tensor) -> Tensor:
    """In a fixed random order, so that every block holds all classes."""
    return x.double()[torch.randperm(len(x), generator=torch.Generator().manual_seed(0))]


def _unbiased_mmd(x: Tensor, y: Tensor) -> Tensor:
    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return (a @ b.T / a.shape[1] + 1) ** 3

    n, m = len(x), len(y)
    if n < 2 or m < 2:
        raise ValueError(f"KID of {n} and {m} features; it needs at least 2 of each")
    xx, yy = kernel(x, x), kernel(y, y)
    within = (xx.sum() - xx.trace()) / (n * (n - 1)) + (yy.sum() - yy.trace()) / (m * (m - 1))
    return within - 2 * kernel(x, y).mean()


def accuracy(logits: Tensor, label: Tensor) -> float:
    """Share of rows whose largest logit is their label, in [0, 1]."""
    return float((logits.argmax(1) == label).double().mean())
