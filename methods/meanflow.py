"""MeanFlow (Geng et al. 2025, arXiv 2505.13447): the average velocity u over [r, t], and its identity.

u(x_t, r, t) = net(x_t, t, r, label). Time runs as in the paper: t = 1 is noise, r <= t.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from methods import _path
from methods._path import Network, adaptive_weight, expand, linear_path, mean_px, null_where, require, sum_px


@dataclass(frozen=True, kw_only=True)
class Draw:
    noise: Tensor  # (B, C, H, W)
    t: Tensor  # (B,) in [0, 1]
    r: Tensor  # (B,) r <= t; r = t on the first rows
    drop: Tensor  # (B,) bool


@dataclass(frozen=True, kw_only=True)
class Method:
    num_classes: int
    equal_ratio: float = 0.75  # share of rows with r = t (Table 1a: 25 % of r < t)
    p: float = 1.0  # power of the adaptive weight (Table 1e)
    eps: float = 0.01  # its floor, beside the SUM of squares over an image
    omega: float = 1.0  # weight of the conditional velocity in the guided one (Table 1f)
    kappa: float = 0.5  # weight of the network's own; effective guidance is omega / (1 - kappa)
    guidance_interval: tuple[float, float] = (0.0, 1.0)  # times t at which the velocity is guided
    label_drop: float = 0.1  # probability that a row is trained without its label
    time: tuple[float, float] = (-0.4, 1.0)  # mean and std of the normal under LN, for both t and r (Table 1d)

    def __post_init__(self) -> None:
        object.__setattr__(self, "guidance_interval", tuple(self.guidance_interval))
        object.__setattr__(self, "time", tuple(self.time))
        require(0 <= self.equal_ratio <= 1, f"equal_ratio = {self.equal_ratio}", "0 <= equal_ratio <= 1")
        require(self.p >= 0, f"p = {self.p}", "p >= 0")
        require(self.eps > 0, f"eps = {self.eps}", "eps > 0")
        require(0 <= self.kappa < 1, f"kappa = {self.kappa}", "0 <= kappa < 1")
        require(0 <= self.label_drop < 1, f"label_drop = {self.label_drop}", "0 <= label_drop < 1")
        interval = self.guidance_interval
        require(len(interval) == 2 and interval[0] <= interval[1], f"guidance_interval = {interval}", "two times a <= b")
        require(len(self.time) == 2 and self.time[1] > 0, f"time = {self.time}", "(mean, std) with std > 0")

    @property
    def cost(self) -> float:
        # Forward 1 + backward 2 on all rows; the null velocity on all; on the r < t rows the conditional velocity
        # and the derivative, which is 2 at best: each matrix product is done for the value and for the tangent.
        jump = 1 - self.equal_ratio
        return 3.0 + (1.0 if self._null_weight else 0.0) + jump * ((1.0 if self.kappa else 0.0) + 2.0)

    @property
    def _null_weight(self) -> float:
        weight = 1 - self.omega - self.kappa
        return 0.0 if math.isclose(weight, 0, abs_tol=1e-9) else weight

    def velocity_rows(self, batch: int) -> int:
        return math.floor(self.equal_ratio * batch)

    def draw(self, x0: Tensor, label: Tensor, generator: torch.Generator, progress: float) -> Draw:
        noise = _path.randn_like(x0, generator)
        first = _path.logit_normal(x0, *self.time, generator)
        second = _path.logit_normal(x0, *self.time, generator)
        t, r = torch.maximum(first, second), torch.minimum(first, second)
        n = self.velocity_rows(len(x0))
        r = torch.cat([t[:n], r[n:]])
        return Draw(noise=noise, t=t, r=r, drop=_path.bernoulli(x0, self.label_drop, generator))

    # The identity (eq. 6): u = v - (t - r) du/dt, with du/dt along (dx, dr, dt) = (v, 0, 1)

    def _identity(self, net: Network, x_t: Tensor, t: Tensor, r: Tensor, label: Tensor, v: Tensor) -> Tensor:
        """The right-hand side v - (t - r) du/dt, without gradient."""
        return v - expand(t - r, v) * _path.time_derivative(net, x_t, t, r, label, v)

    def residual(self, net: Network, x_t: Tensor, v: Tensor, draw: Draw, label: Tensor | None = None) -> Tensor:
        """u - (v - (t - r) du/dt) (eq. 6): zero for the exact u and the MARGINAL velocity v."""
        if label is None:
            label = torch.full((len(x_t),), self.num_classes, device=x_t.device)
        return net(x_t, draw.t, draw.r, label) - self._identity(net, x_t, draw.t, draw.r, label, v)

    def loss(self, net: Network, x0: Tensor, label: Tensor, draw: Draw) -> dict[str, Tensor]:
        """S / sg(S + eps)^p with S = sum_px (u - sg(target))^2: the identity as a regression, adaptively weighted.

        A perfect network's "mse" is not zero: the target holds one sample's velocity, not the marginal one.
        """
        n = self.velocity_rows(len(x0))
        t, r = draw.t, draw.r
        x_t, v = linear_path(x0, draw.noise, t)
        given = null_where(draw.drop, label, self.num_classes)
        u = net(x_t, t, r, given)
        v = self._guide(net, x_t, v, label, draw, u[:n].detach())
        # On the rows r = t the identity is u = v; only the others need the derivative.
        jump = self._identity(net, x_t[n:], t[n:], r[n:], given[n:], v[n:]) if n < len(x0) else v[n:]
        error = u - torch.cat([v[:n], jump]).detach()
        square = sum_px(error.square())
        loss = square * adaptive_weight(square, self.p, self.eps)
        return {"loss": loss, "mse": mean_px(error.detach().square())}

    @torch.no_grad()
    def _guide(self, net: Network, x_t: Tensor, v: Tensor, label: Tensor, draw: Draw, u: Tensor) -> Tensor:
        """v~ = omega v + (1 - omega - kappa) u(x_t, t, t | null) + kappa u(x_t, t, t | label).

        `u` (n, C, H, W) is the network's output on the rows r = t, where it is the conditional velocity already.
        """
        if self._null_weight == 0 and self.kappa == 0:
            return v
        null_rows = len(v) if self._null_weight else 0
        start = len(u) if self.kappa else len(v)
        # One call: the null velocity of all rows, then the conditional one of the rows r < t.
        low, high = self.guidance_interval
        active = (draw.t >= low) & (draw.t <= high) & ~draw.drop
        x, t, needed = (torch.cat([of[:null_rows], of[start:]]) for of in (x_t, draw.t, active))
        null = torch.full_like(label[:null_rows], self.num_classes)
        predicted = _path.velocity_where(needed, net, x, t, torch.cat([null, label[start:]]))
        guided = self.omega * v
        if null_rows:
            guided = guided + self._null_weight * predicted[:null_rows]
        if self.kappa:
            guided = guided + self.kappa * torch.cat([u, predicted[null_rows:]])
        return torch.where(expand(active, v), guided, v)

    @torch.no_grad()
    def sample(self, net: Network, noise: Tensor, label: Tensor, steps: int, renoise: Any = None) -> Tensor:
        """x_r = x_t - (t - r) u(x_t, r, t) (eq. 12), times evenly spaced from 1 to 0."""
        require(steps > 0, f"steps = {steps}", "a positive number of steps")
        x = noise
        for i in range(steps):
            t, r = (torch.full((len(x),), 1 - k / steps, dtype=x.dtype, device=x.device) for k in (i, i + 1))
            x = x - expand(t - r, x) * net(x, t, r, label)
        return x
