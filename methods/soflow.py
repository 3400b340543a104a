"""SoFlow (Luo et al. 2025, arXiv 2512.15657): the solution function f(x_t, t, s) of the flow's ODE, learnt directly.

f(x_t, t, s) = a(t, s) x_t + b(t, s) F(x_t, t, s) with F = net(x_t, t, s, label).
Time runs as in the paper: t = 1 is noise, s <= l < t.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from methods import _path
from methods._path import Network, adaptive_weight, expand, linear_path, mean_px, null_where, require

HALF_PI = math.pi / 2
GAP = 1e-4  # smallest t - s and t - l
SCHEDULES = ("exponential", "linear", "cosine", "constant")


@dataclass(frozen=True, kw_only=True)
class Draw:
    noise: Tensor  # (B, C, H, W)
    t: Tensor  # (B,) start of the jump
    s: Tensor  # (B,) its end; s = t on the first rows
    l: Tensor  # (B,) s <= l < t, close to t; l = t on the first rows
    drop: Tensor  # (B,) bool


@dataclass(frozen=True, kw_only=True)
class Method:
    num_classes: int
    velocity_ratio: float = 0.75  # share of rows that learn the velocity; the rest learn the jump
    p: float = 1.0  # power of the adaptive weight
    eps: float = 0.01  # its floor, beside the MEAN of squares over an image
    r_init: float = 0.1  # (t - l) / (t - s) at the start of training
    r_end: float = 0.002  # and at its end
    schedule: str = "exponential"  # exponential | linear | cosine | constant (r_init throughout)
    guidance: float = 3.0  # w of the guided velocity; 1 is off
    mix: float = 0.25  # m: weight of the guided velocity, against the network's own
    guidance_cutoff: float = 0.8  # c: guidance fades out for t > c
    label_drop: float = 0.1  # probability that a row is trained without its label
    path: str = "linear"  # linear | trigonometric
    parameterization: str = "euler"  # euler: a = 1, b = s - t | trigonometric: cos, sin of pi/2 (s - t)
    velocity_time: tuple[float, float] = (-0.2, 1.0)  # LN(mean, std) of t on the velocity rows
    start_time: tuple[float, float] = (0.2, 0.8)  # of t on the others
    end_time: tuple[float, float] = (-1.0, 0.8)  # of s

    def __post_init__(self) -> None:
        require(0 <= self.velocity_ratio <= 1, f"velocity_ratio = {self.velocity_ratio}", "0 <= velocity_ratio <= 1")
        require(self.p >= 0, f"p = {self.p}", "p >= 0")
        require(self.eps > 0, f"eps = {self.eps}", "eps > 0")
        ratios = f"r_init = {self.r_init}, r_end = {self.r_end}"
        require(0 < self.r_end <= 1 and 0 < self.r_init <= 1, ratios, "both above 0 and at most 1")
        require(self.schedule in SCHEDULES, f"schedule = {self.schedule!r}", ", ".join(SCHEDULES))
        require(self.guidance >= 0, f"guidance = {self.guidance}", "a number >= 0 (1 is off)")
        require(0 < self.mix <= 1, f"mix = {self.mix}", "0 < mix <= 1 (1 is off)")
        require(0 <= self.guidance_cutoff <= 1, f"guidance_cutoff = {self.guidance_cutoff}", "a time in [0, 1]")
        require(0 <= self.label_drop < 1, f"label_drop = {self.label_drop}", "0 <= label_drop < 1")
        require(self.path in ("linear", "trigonometric"), f"path = {self.path!r}", "linear, trigonometric")
        kinds = ("euler", "trigonometric")
        require(self.parameterization in kinds, f"parameterization = {self.parameterization!r}", ", ".join(kinds))
        for name in ("velocity_time", "start_time", "end_time"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
            pair = getattr(self, name)
            require(len(pair) == 2 and pair[1] > 0, f"{name} = {pair}", "(mean, std) with std > 0")

    @property
    def cost(self) -> float:
        # Forward 1 + backward 2 on all rows; the null velocity on all; on the jump rows the conditional one and f(x_l, l, s).
        jump = 1 - self.velocity_ratio
        return 3.0 + (1.0 if self.guidance != 1 else 0.0) + jump * ((1.0 if self.mix != 1 else 0.0) + 1.0)

    def velocity_rows(self, batch: int) -> int:
        return math.floor(self.velocity_ratio * batch)

    def gap_ratio(self, progress: float) -> float:
        """rho = (t - l) / (t - s) after the share `progress` of training."""
        a, b = self.r_init, self.r_end
        if self.schedule == "exponential":
            return a * math.pow(b / a, progress)
        if self.schedule == "linear":
            return a + (b - a) * progress
        if self.schedule == "cosine":
            return b + (a - b) * (1 + math.cos(math.pi * progress)) / 2
        return a

    def draw(self, x0: Tensor, label: Tensor, generator: torch.Generator, progress: float) -> Draw:
        n = self.velocity_rows(len(x0))
        noise = _path.randn_like(x0, generator)
        t_velocity = _path.logit_normal(x0[:n], *self.velocity_time, generator)
        t = _path.logit_normal(x0[n:], *self.start_time, generator).clamp(min=GAP)
        s = torch.minimum(_path.logit_normal(x0[n:], *self.end_time, generator), t - GAP)
        l = torch.minimum(t + (s - t) * self.gap_ratio(progress), t - GAP)
        drop = _path.bernoulli(x0, self.label_drop, generator)
        t, s, l = (torch.cat([t_velocity, jump]) for jump in (t, s, l))
        return Draw(noise=noise, t=t, s=s, l=l, drop=drop)

    # The path and the parameterisation

    def point(self, x0: Tensor, noise: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """x_t and its conditional velocity v = dx_t/dt."""
        if self.path == "linear":
            return linear_path(x0, noise, t)
        cos, sin = torch.cos(HALF_PI * expand(t, x0)), torch.sin(HALF_PI * expand(t, x0))
        return cos * x0 + sin * noise, HALF_PI * (cos * noise - sin * x0)

    def coefficients(self, t: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
        """a(t, s) and b(t, s): a = 1 and b = 0 at s = t, so that f(x, t, t) = x."""
        if self.parameterization == "euler":
            return torch.ones_like(t), s - t
        return torch.cos(HALF_PI * (s - t)), torch.sin(HALF_PI * (s - t))

    @property
    def slope(self) -> float:
        """d_s b at s = t (d_s a is 0 there), so the velocity that f predicts is slope * F(x_t, t, t)."""
        return 1.0 if self.parameterization == "euler" else HALF_PI

    def solution(self, net: Network, x: Tensor, t: Tensor, s: Tensor, label: Tensor) -> Tensor:
        """f(x_t, t, s): where the flow takes x_t at time s."""
        a, b = self.coefficients(t, s)
        return expand(a, x) * x + expand(b, x) * net(x, t, s, label)

    def _quotient(self, net: Network, f_t: Tensor, x_t: Tensor, v: Tensor, draw: Draw, label: Tensor) -> Tensor:
        """Q = (f(x_t, t, s) - sg f(x_l, l, s)) / (t - l), x_l = x_t + v (l - t): zero to first order in t - l."""
        x_l = x_t + v * expand(draw.l - draw.t, v)
        with torch.no_grad():
            f_l = self.solution(net, x_l, draw.l, draw.s, label)
        gap = expand(draw.t - draw.l, v)
        return (f_t - f_l) / torch.where(gap == 0, torch.ones_like(gap), gap)  # `residual` has rows with l = t: no 0 / 0

    def residual(self, net: Network, x_t: Tensor, v: Tensor, draw: Draw, label: Tensor | None = None) -> Tensor:
        """Velocity rows (l = t): f's velocity minus v. The others: Q, which vanishes with t - l at the exact solution."""
        if label is None:
            label = torch.full((len(x_t),), self.num_classes, device=x_t.device)
        is_velocity = expand(draw.l == draw.t, x_t)
        output = net(x_t, draw.t, draw.s, label)
        a, b = self.coefficients(draw.t, draw.s)
        f_t = expand(a, x_t) * x_t + expand(b, x_t) * output
        return torch.where(is_velocity, self.slope * output - v, self._quotient(net, f_t, x_t, v, draw, label))

    # The loss

    def loss(self, net: Network, x0: Tensor, label: Tensor, draw: Draw) -> dict[str, Tensor]:
        """Velocity loss on the first rows, solution-consistency loss on the rest; "mse" is the raw square of either."""
        n = self.velocity_rows(len(x0))
        given = null_where(draw.drop, label, self.num_classes)
        x_t, v = self.point(x0, draw.noise, draw.t)
        exact = getattr(net, "exact", net)  # where the suite runs `net` in bfloat16: the same network in float32
        output = self._output(net, exact, x_t, draw, given, n)
        v = self._guide(net, x_t, v, label, draw, self.slope * output[:n].detach())
        velocity, velocity_mse = self._velocity_loss(output[:n], v[:n])
        if n == len(x0):
            return {"loss": velocity, "mse": velocity_mse}
        rest = Draw(noise=draw.noise[n:], t=draw.t[n:], s=draw.s[n:], l=draw.l[n:], drop=draw.drop[n:])
        jump, jump_mse = self._consistency_loss(exact, output[n:], x_t[n:], v[n:], rest, given[n:])
        return {"loss": torch.cat([velocity, jump]), "mse": torch.cat([velocity_mse, jump_mse])}

    def _output(self, net: Network, exact: Network, x_t: Tensor, draw: Draw, label: Tensor, n: int) -> Tensor:
        """F of both kinds of rows: the pass that carries gradient. One, unless the quotient needs more precision."""
        if exact is net or n == len(x_t):
            return net(x_t, draw.t, draw.s, label)
        velocity = net(x_t[:n], draw.t[:n], draw.s[:n], label[:n])
        return torch.cat([velocity, exact(x_t[n:], draw.t[n:], draw.s[n:], label[n:])])

    def _velocity_loss(self, output: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """mean_px D^2 / (|d_s b| sg(mean_px D^2 + eps)^p) with D = slope F - v."""
        square = mean_px((self.slope * output - v).square())
        return square * adaptive_weight(square, self.p, self.eps) / self.slope, square.detach()

    def _consistency_loss(
        self, net: Network, output: Tensor, x_t: Tensor, v: Tensor, draw: Draw, label: Tensor
    ) -> tuple[Tensor, Tensor]:
        """sign(b) mean_px(F sg(Q w)), w = 1 / (mean_px Q^2 + eps)^p: the gradient of w Q^2 / 2 up to |b| / (t - l)."""
        a, b = self.coefficients(draw.t, draw.s)
        f_t = expand(a, x_t) * x_t + expand(b, x_t) * output.detach()
        quotient = self._quotient(net, f_t, x_t, v, draw, label)
        square = mean_px(quotient.square())
        direction = quotient * expand(adaptive_weight(square, self.p, self.eps), quotient)
        return torch.sign(b) * mean_px(output * direction), square

    def guidance_decay(self, t: Tensor) -> Tensor:
        """d(t): 1 up to the cutoff c, then 1 - exp(-0.025 q / (1 - q)) with q = (1 - t) / (1 - c)."""
        if self.guidance_cutoff == 1:
            return torch.ones_like(t)
        q = ((1 - t) / (1 - self.guidance_cutoff)).clamp(0, 1 - 1e-6)
        return torch.where(t <= self.guidance_cutoff, torch.ones_like(t), 1 - torch.exp(-0.025 * q / (1 - q)))

    @torch.no_grad()
    def _guide(self, net: Network, x_t: Tensor, v: Tensor, label: Tensor, draw: Draw, v_pred: Tensor) -> Tensor:
        """v~ = m v_g + (1 - m) v_pred(label), v_g = v + d(t) (w - 1) (v - v_null); dropped rows keep v.

        `v_pred` (n, C, H, W) is the network's own velocity on the velocity rows, known already.
        """
        null_rows = len(v) if self.guidance != 1 else 0
        own_rows = len(v) - len(v_pred) if self.mix != 1 else 0
        if self.guidance == 1 and self.mix == 1:
            return v
        # One call: the null velocity of all rows, then the conditional one of the jump rows.
        start = len(v) - own_rows
        x, t, labelled = (torch.cat([of[:null_rows], of[start:]]) for of in (x_t, draw.t, ~draw.drop))
        null = torch.full_like(label[:null_rows], self.num_classes)
        predicted = self.slope * _path.velocity_where(labelled, net, x, t, torch.cat([null, label[start:]]))
        guided = v
        if null_rows:
            guided = v + expand(self.guidance_decay(draw.t) * (self.guidance - 1), v) * (v - predicted[:null_rows])
        if self.mix != 1:
            guided = self.mix * guided + (1 - self.mix) * torch.cat([v_pred, predicted[null_rows:]])
        return torch.where(expand(draw.drop, v), v, guided)

    @torch.no_grad()
    def sample(self, net: Network, noise: Tensor, label: Tensor, steps: int, renoise: Any = None) -> Tensor:
        """f(e, 1, 0); with more steps, fresh noise goes back to t_i = 1 - i / steps and f jumps again."""
        require(steps > 0, f"steps = {steps}", "a positive number of steps")
        end = torch.zeros(len(noise), dtype=noise.dtype, device=noise.device)
        x0 = self.solution(net, noise, torch.ones_like(end), end, label)
        for i in range(1, steps):
            t = torch.full_like(end, 1 - i / steps)
            x_t, _ = self.point(x0, _path.fresh_noise(renoise, i - 1, noise), t)
            x0 = self.solution(net, x_t, t, end, label)
        return x0
