"""Gaussian data in closed form: what a perfect network outputs, for any point and time.

With x0 ~ N(m, s0^2) a pixel and x_t = alpha x0 + beta e, the marginal is N(mu, sig^2): mu = alpha m and
sig^2 = alpha^2 s0^2 + beta^2. The flow carries marginals into each other affinely, so every quantity is explicit.
`std=0` is point-mass data. The networks ignore the label.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

HALF_PI = math.pi / 2


def column(t: Tensor) -> Tensor:
    """(B,) -> (B, 1, 1, 1)."""
    return t[:, None, None, None]


@dataclass(frozen=True, kw_only=True)
class Gaussian:
    mean: float = 0.7
    std: float = 0.5
    path: str = "linear"

    def coefficients(self, t: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """alpha, beta and their derivatives in t."""
        if self.path == "linear":
            return 1 - t, t, -torch.ones_like(t), torch.ones_like(t)
        cos, sin = torch.cos(HALF_PI * t), torch.sin(HALF_PI * t)
        return cos, sin, -HALF_PI * sin, HALF_PI * cos

    def moments(self, t: Tensor) -> tuple[Tensor, Tensor]:
        alpha, beta, _, _ = self.coefficients(t)
        return alpha * self.mean, (alpha**2 * self.std**2 + beta**2).sqrt()

    def velocity(self, x: Tensor, t: Tensor) -> Tensor:
        """The marginal velocity E[d x_t / dt | x_t = x] = mu' + (sig'/sig) (x - mu)."""
        alpha, beta, d_alpha, d_beta = self.coefficients(column(t))
        mean, std = self.moments(column(t))
        return d_alpha * self.mean + (alpha * d_alpha * self.std**2 + beta * d_beta) / std**2 * (x - mean)

    def solution(self, x: Tensor, t: Tensor, s: Tensor) -> Tensor:
        """Where the flow carries x from time t to time s."""
        (mean_t, std_t), (mean_s, std_s) = self.moments(column(t)), self.moments(column(s))
        return mean_s + std_s / std_t * (x - mean_t)

    # Perfect networks, net(x, t, s, label)

    def velocity_net(self, x: Tensor, t: Tensor, s: Tensor, label: Tensor) -> Tensor:
        assert torch.equal(t, s), "Flow Matching calls the network with s = t"
        return self.velocity(x, t)

    def average_velocity_net(self, x: Tensor, t: Tensor, s: Tensor, label: Tensor) -> Tensor:
        """MeanFlow's u = (x - f(x, t, r)) / (t - r); at r = t its limit, the velocity."""
        gap = column(t - s)
        safe = torch.where(gap == 0, torch.ones_like(gap), gap)
        return torch.where(gap == 0, self.velocity(x, t), (x - self.solution(x, t, s)) / safe)

    def euler_net(self, x: Tensor, t: Tensor, s: Tensor, label: Tensor) -> Tensor:
        """SoFlow's F with f = x + (s - t) F: the same average velocity."""
        return self.average_velocity_net(x, t, s, label)

    def trigonometric_net(self, x: Tensor, t: Tensor, s: Tensor, label: Tensor) -> Tensor:
        """SoFlow's F with f = cos(pi/2 (s - t)) x + sin(pi/2 (s - t)) F."""
        angle = HALF_PI * column(s - t)
        safe = torch.where(angle == 0, torch.ones_like(angle), torch.sin(angle))
        jump = (self.solution(x, t, s) - torch.cos(angle) * x) / safe
        return torch.where(angle == 0, self.velocity(x, t) / HALF_PI, jump)


def points(t: Tensor, *, seed: int = 0) -> Tensor:
    """(B, 2, 3, 3) float64 test points: anything will do, the identities hold everywhere."""
    return torch.randn(len(t), 2, 3, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def slope(sizes: list[float], errors: list[float]) -> float:
    """The order of convergence: least-squares slope of log error on log size."""
    x, y = (torch.tensor(v, dtype=torch.float64).log() for v in (sizes, errors))
    x, y = x - x.mean(), y - y.mean()
    return float((x * y).sum() / (x * x).sum())
