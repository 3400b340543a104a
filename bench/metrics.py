"""Scores from features: streaming float64 moments, the Frechet distance, KID and accuracy. Pure tensor functions."""

import functools
import math
from dataclasses import dataclass

import torch
from torch import Tensor

GROUPS = 10  # of images, for the delete-group jackknife
INFINITE_MIN = 2.4  # images a dimension, below which a Frechet distance is not yet linear in 1/n (5,000 for 2,048)
INFINITE_PARTS = (1, 2, 5, 10)  # the images are split into this many disjoint sets


@dataclass(frozen=True)
class Statistics:
    """Mean (d,) and covariance (d, d) of n features, float64. The covariance divides by n - 1."""

    n: int
    mean: Tensor
    covariance: Tensor

    @functools.cached_property
    def factor(self) -> Tensor:
        """F (d, r) with covariance = F F^T: Cholesky's where there is one, else by eigenvalues, those above 0. Kept."""
        factor: Tensor
        factor, refused = torch.linalg.cholesky_ex(self.covariance)
        if int(refused):
            values, vectors = torch.linalg.eigh(self.covariance)
            kept = values > 0
            factor = vectors[:, kept] * values[kept].sqrt()
        return factor

    def to(self, device: torch.device) -> "Statistics":
        """The same on a device; made once for it, so that its factor is kept there."""
        if self.mean.device.type == device.type:
            return self
        if device not in self._elsewhere:
            self._elsewhere[device] = Statistics(self.n, self.mean.to(device), self.covariance.to(device))
        return self._elsewhere[device]

    @functools.cached_property
    def _elsewhere(self) -> "dict[torch.device, Statistics]":
        return {}


class Moments:
    """Sums of features, one batch at a time, in float64: of each group of images, so that any group can be left out.

    Features are shifted by the first batch's mean before they are squared: variances far below the mean keep their digits.
    Memory: 8 groups d^2 bytes (336 MB for 10 groups of 2,048 dimensions), whatever the number of features.
    """

    def __init__(self, dim: int, groups: int = 1, device: torch.device | str = "cpu") -> None:
        self.count = torch.zeros(groups, dtype=torch.int64, device=device)
        self.shift = torch.zeros(dim, dtype=torch.float64, device=device)
        self.sum = torch.zeros(groups, dim, dtype=torch.float64, device=device)
        self.outer = torch.zeros(groups, dim, dim, dtype=torch.float64, device=device)
        self.empty = True  # known here: `n` would wait for the device

    @property
    def n(self) -> int:
        return int(self.count.sum())

    def update(self, features: Tensor, group: Tensor | None = None) -> None:
        """Add (B, d) features; `group` (B,) int64 on the CPU says of which group each is, else all are of the first."""
        x = features.detach().to(self.sum.device, torch.float64)
        if self.empty and len(x):
            self.shift, self.empty = x.mean(0), False
        x = x - self.shift
        for g in [0] if group is None else sorted(set(group.tolist())):
            part = x if group is None else x[_positions(group == g, x.device)]
            self.count[g] += len(part)
            self.sum[g] += part.sum(0)
            self.outer[g] += part.T @ part

    def shifted_to(self, shift: Tensor) -> None:
        """The same sums about another point: those of several processes can then be added."""
        step = shift - self.shift
        n = self.count.double()[:, None, None]
        mixed = self.sum[:, :, None] * step
        self.outer += n * torch.outer(step, step) - mixed - mixed.transpose(1, 2)
        self.sum -= n[:, :, 0] * step
        self.shift = shift

    def statistics(self, groups: list[int] | None = None) -> Statistics:
        """Of all features, or of these groups. Raises ValueError below two features: there is no covariance."""
        rows = slice(None) if groups is None else groups
        n = int(self.count[rows].sum())
        if n < 2:
            raise ValueError(f"{n} features; a covariance needs at least 2")
        mean = self.sum[rows].sum(0) / n
        covariance = (self.outer[rows].sum(0) - n * torch.outer(mean, mean)) / (n - 1)
        return Statistics(n, mean + self.shift, covariance)


def _positions(mask: Tensor, device: torch.device) -> Tensor | slice:
    """Where `mask` (B,) on the CPU is true, for an index on `device`: a mask there would be counted, and that waited for."""
    if bool(mask.all()):
        return slice(None)
    found = mask.nonzero().flatten()
    return found.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else found


def consecutive_groups(n: int, groups: int = GROUPS) -> Tensor:
    """(n,) the group of each of n images: consecutive ones, so that labels that go round stay about balanced in each."""
    return torch.arange(n) * groups // max(n, 1)


def dealt_groups(label: Tensor | None, n: int, groups: int = GROUPS) -> Tensor:
    """(n,) groups for images in any order: dealt out class by class where there are labels (n,), else at random.

    Labels that are balanced in the whole stay so in each group: else leaving one out would unbalance what is left.
    """
    order = torch.randperm(n, generator=torch.Generator().manual_seed(0))
    if label is not None:
        order = order[label[order].argsort(stable=True)]
    found = torch.empty(n, dtype=torch.int64)
    found[order] = torch.arange(n) % groups
    return found


def least_for_infinite(dim: int) -> int:
    """Images that `frechet_distance_infinite` needs: enough in each half."""
    return INFINITE_PARTS[1] * math.ceil(INFINITE_MIN * dim)


def statistics(features: Tensor) -> Statistics:
    """The statistics of (n, d) features at once."""
    moments = Moments(features.shape[1])
    moments.update(features)
    return moments.statistics()


# Frechet distance


def frechet_distance(a: Statistics, b: Statistics) -> float:
    """|m_a - m_b|^2 + tr(A + B - 2 (F^T B F)^1/2) with A = F F^T, by one symmetric eigenvalue problem in float64.

    F is kept with `a`: give the reference first. Exact for singular covariances; no matrix square root of a product, no
    jitter on a diagonal. The roots of rounded zeros are its error where a covariance is singular: see `from_features`.
    """
    cross = torch.linalg.eigvalsh(a.factor.T @ b.covariance @ a.factor).clamp(min=0).sqrt().sum()
    trace = torch.trace(a.covariance) + torch.trace(b.covariance)
    return float((a.mean - b.mean).square().sum() + trace - 2 * cross)


def frechet_distance_from_features(a: Statistics, features: Tensor) -> float:
    """The same for (n, d) features, n <= d, through the n singular values of X F: no rounded zeros, and far cheaper."""
    x = features.to(a.mean.device, torch.float64)
    mean = x.mean(0)
    x = (x - mean) / (len(x) - 1) ** 0.5
    cross = torch.linalg.svdvals(x @ a.factor).sum()
    return float((a.mean - mean).square().sum() + torch.trace(a.covariance) + x.square().sum() - 2 * cross)


def frechet_replicates(reference: Statistics, moments: Moments) -> tuple[float, ...]:
    """The distance with each group left out; none where a group is empty, or too few would be left."""
    groups = range(len(moments.count))
    if int(moments.count.min()) == 0 or len(groups) < 2 or moments.n - int(moments.count.max()) < 2:
        return ()
    return tuple(frechet_distance(reference, moments.statistics([g for g in groups if g != left])) for left in groups)


def infinite_sizes(n: int, dim: int) -> list[int]:
    """Into how many disjoint sets n images can be split for `frechet_distance_infinite`; empty where n is too small."""
    parts = [parts for parts in INFINITE_PARTS if n // parts >= INFINITE_MIN * dim]
    return parts if len(parts) > 1 else []


def frechet_distance_infinite(reference: Statistics, moments: Moments) -> float:
    """The distance that infinitely many images would have: a line through it against 1/n (Chong & Forsyth, arXiv 1911.07023).

    Each size is the mean over disjoint sets made of whole groups. Raises ValueError where `infinite_sizes` is empty.
    """
    groups, n = len(moments.count), moments.n
    splits = infinite_sizes(n, len(moments.shift))
    if not splits or groups % max(splits):
        raise ValueError(f"{n} features of {len(moments.shift)} dimensions in {groups} groups; too few to extrapolate")
    inverse, values = [], []
    for parts in splits:
        sets = torch.arange(groups).tensor_split(parts)
        found = [frechet_distance(reference, moments.statistics(chosen.tolist())) for chosen in sets]
        inverse.append(parts / n)
        values.append(sum(found) / parts)
    x = torch.tensor([[1.0, i] for i in inverse], dtype=torch.float64)
    return float(torch.linalg.lstsq(x, torch.tensor(values, dtype=torch.float64)[:, None]).solution[0])


# Kernel distance


def kernel_distances(x: Tensor, y: Tensor, block: int = 1000) -> Tensor:
    """KID of each of the disjoint blocks, (blocks,): the unbiased squared MMD under the kernel (x.y / d + 1)^3
    (arXiv 1801.01401).

    As many blocks as the smaller set has `block` features, at least one; the larger set is thinned to four times that
    a block. Both are shuffled, each in an order of its own: real ones come sorted by class, and two sets in one order would
    pair what should be independent.
    """
    blocks = max(1, min(len(x), len(y)) // block)
    most = 4 * max(block, min(len(x), len(y)) // blocks) * blocks
    pairs = zip(_shuffled(x, most, 0).tensor_split(blocks), _shuffled(y, most, 1).tensor_split(blocks), strict=True)
    return torch.stack([_unbiased_mmd(a, b) for a, b in pairs])


def kernel_distance(x: Tensor, y: Tensor, block: int = 1000) -> float:
    """The mean of `kernel_distances`."""
    return float(kernel_distances(x, y, block).mean())


def block_size(n: int, m: int) -> int:
    """Of `kernel_distances` for n and m features: 1,000, less where that would make fewer than ten blocks, at least 2."""
    return max(2, min(1000, min(n, m) // 10))


def _shuffled(x: Tensor, most: int, seed: int) -> Tensor:
    """At most so many, in a fixed random order."""
    return x[torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))[:most]]


def _unbiased_mmd(x: Tensor, y: Tensor) -> Tensor:
    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return (a @ b.T / a.shape[1] + 1) ** 3

    x, y = x.double(), y.double()
    n, m = len(x), len(y)
    if n < 2 or m < 2:
        raise ValueError(f"KID of {n} and {m} features; it needs at least 2 of each")
    xx, yy = kernel(x, x), kernel(y, y)
    within = (xx.sum() - xx.trace()) / (n * (n - 1)) + (yy.sum() - yy.trace()) / (m * (m - 1))
    return within - 2 * kernel(x, y).mean()


def accuracy(logits: Tensor, label: Tensor) -> float:
    """Share of rows whose largest logit is their label, in [0, 1]."""
    return float((logits.argmax(1) == label).double().mean())
