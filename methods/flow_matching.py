"""Flow Matching (Lipman et al. 2023, arXiv 2210.02747; rectified flow, arXiv 2209.03003): the many-step reference.

Linear path x_t = (1 - t) x0 + t e, velocity v = e - x0. (Lipman et al. write time the other way round.)
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from methods import _path
from methods._path import Network, linear_path, mean_px, null_where, require


@dataclass(frozen=True, kw_only=True)
class Draw:
    noise: Tensor  # (B, C, H, W)
    t: Tensor  # (B,) in [0, 1]
    drop: Tensor  # (B,) bool


@dataclass(frozen=True, kw_only=True)
class Method:
    num_classes: int
    label_drop: float = 0.1  # probability that a row is trained without its label
    time: str = "uniform"  # how t is drawn: uniform | logit_normal
    time_mean: float = 0.0  # of logit_normal (SD3, arXiv 2403.03206)
    time_std: float = 1.0
    sampler: str = "euler"  # euler: one evaluation a step | heun: two
    guidance: float = 1.0  # w of classifier-free guidance when sampling; 1 is off, else it doubles the evaluations

    def __post_init__(self) -> None:
        require(0 <= self.label_drop < 1, f"label_drop = {self.label_drop}", "0 <= label_drop < 1")
        require(self.time in ("uniform", "logit_normal"), f"time = {self.time!r}", "uniform, logit_normal")
        require(self.time_std > 0, f"time_std = {self.time_std}", "a positive number")
        require(self.sampler in ("euler", "heun"), f"sampler = {self.sampler!r}", "euler, heun")
        require(self.guidance >= 0, f"guidance = {self.guidance}", "a number >= 0 (1 is off)")

    @property
    def cost(self) -> float:
        return 3.0  # one forward and one backward pass

    def velocity_rows(self, batch: int) -> int:
        return batch

    def draw(self, x0: Tensor, label: Tensor, generator: torch.Generator, progress: float) -> Draw:
        noise = _path.randn_like(x0, generator)
        if self.time == "uniform":
            t = _path.uniform(x0, generator)
        else:
            t = _path.logit_normal(x0, self.time_mean, self.time_std, generator)
        return Draw(noise=noise, t=t, drop=_path.bernoulli(x0, self.label_drop, generator))

    def residual(self, net: Network, x_t: Tensor, v: Tensor, draw: Draw, label: Tensor | None = None) -> Tensor:
        """F(x_t, t) - v (arXiv 2210.02747 eq. 5 with the marginal velocity)."""
        if label is None:
            label = torch.full((len(x_t),), self.num_classes, device=x_t.device)
        return net(x_t, draw.t, draw.t, label) - v

    def loss(self, net: Network, x0: Tensor, label: Tensor, draw: Draw) -> dict[str, Tensor]:
        """Conditional flow matching (arXiv 2210.02747 eq. 9): mean_px (F(x_t, t) - (e - x0))^2."""
        x_t, v = linear_path(x0, draw.noise, draw.t)
        label = null_where(draw.drop, label, self.num_classes)
        mse = mean_px(self.residual(net, x_t, v, draw, label).square())
        return {"loss": mse, "mse": mse.detach()}

    # Sampling: the ODE dx/dt = F(x, t) from t = 1 to 0

    def _velocity(self, net: Network, x: Tensor, t: float, label: Tensor) -> Tensor:
        times = torch.full((len(x),), t, dtype=x.dtype, device=x.device)
        if self.guidance == 1:
            return net(x, times, times, label)
        twice = torch.cat([times, times])
        null = torch.full_like(label, self.num_classes)
        v, v_null = net(torch.cat([x, x]), twice, twice, torch.cat([label, null])).chunk(2)
        return v_null + self.guidance * (v - v_null)

    @torch.no_grad()
    def sample(self, net: Network, noise: Tensor, label: Tensor, steps: int, renoise: Any = None) -> Tensor:
        """`steps` counts every evaluation: Heun spends two a step, and guidance doubles either."""
        per_step = (2 if self.sampler == "heun" else 1) * (2 if self.guidance != 1 else 1)
        allowed = f"a positive multiple of {per_step} (sampler {self.sampler}, guidance {self.guidance:g})"
        require(steps > 0 and steps % per_step == 0, f"steps = {steps}", allowed)
        count = steps // per_step
        x = noise
        for i in range(count):
            t, r = 1 - i / count, 1 - (i + 1) / count
            v = self._velocity(net, x, t, label)
            ahead = x - (t - r) * v
            if self.sampler == "heun":
                ahead = x - (t - r) * (v + self._velocity(net, ahead, r, label)) / 2
            x = ahead
        return x
