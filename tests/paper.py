"""The papers' training losses, transcribed: slow, row by row, one forward pass for every term.

This is the yardstick for `methods/`, which batches calls, shares outputs and skips derivatives that are multiplied by
zero. It is written from the formulas, not from that code, and imports none of it. An image here is a batch of one;
`net(x, t, s, label)` as everywhere. Every function returns the losses of the rows, (B,).
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

Network = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


# Flow Matching (arXiv 2210.02747)


def flow_matching(net: Network, *, x0: Tensor, e: Tensor, y: Tensor, t: Tensor, drop: Tensor, null: int) -> Tensor:
    losses = []
    for i in range(len(x0)):
        x, noise, time = x0[i : i + 1], e[i : i + 1], t[i : i + 1]
        label = torch.tensor([null]) if drop[i] else y[i : i + 1]
        x_t = (1 - time) * x + time * noise
        difference = net(x_t, time, time, label) - (noise - x)
        losses.append((difference**2).mean())
    return torch.stack(losses)


# MeanFlow (arXiv 2505.13447)


def meanflow(
    net: Network, *, x0: Tensor, e: Tensor, y: Tensor, t: Tensor, r: Tensor, drop: Tensor, null: int,
    omega: float, kappa: float, interval: tuple[float, float], p: float, eps: float,
) -> Tensor:  # fmt: skip
    """As published: the derivative of all rows at once, with gradient, then a stop-gradient on the whole target."""
    time, end = t.view(-1, 1, 1, 1), r.view(-1, 1, 1, 1)
    z = (1 - time) * x0 + time * e
    v = e - x0
    with torch.no_grad():
        u_null = net(z, t, t, torch.full_like(y, null))
        u_cond = net(z, t, t, y)
    guided = []
    for i in range(len(x0)):
        inside = interval[0] <= float(t[i]) <= interval[1]
        w, k = (omega, kappa) if inside else (1.0, 0.0)
        guided.append(v[i] if drop[i] else w * v[i] + (1 - w - k) * u_null[i] + k * u_cond[i])
    v_guided = torch.stack(guided)
    label = torch.tensor([null if drop[i] else int(y[i]) for i in range(len(y))])

    def u_function(z: Tensor, r: Tensor, t: Tensor) -> Tensor:
        return net(z, t, r, label)

    tangent = (v_guided, torch.zeros_like(r), torch.ones_like(t))
    with sdpa_kernel(SDPBackend.MATH):  # the fused attention kernels have no forward-mode derivative
        u, du_dt = torch.func.jvp(u_function, (z, r, t), tangent)
    target = (v_guided - (time - end) * du_dt).detach()
    squares = torch.stack([((u[i] - target[i]) ** 2).sum() for i in range(len(x0))])
    return squares / (squares + eps).detach() ** p


# SoFlow (arXiv 2512.15657)


def soflow(
    net: Network, *, x0: Tensor, e: Tensor, y: Tensor, drop: Tensor, null: int,
    t: Tensor, s: Tensor, l: Tensor,  # noqa: E741 (the paper's letter)
    n_velocity: int, guidance: float, mix: float, cutoff: float, path: str, parameterization: str, p: float, eps: float,
) -> Tensor:  # fmt: skip
    """The first `n_velocity` rows have the velocity loss, the others the consistency loss."""
    form = _Form(net, path=path, parameterization=parameterization)
    losses = []
    for i in range(len(x0)):
        row = slice(i, i + 1)
        label = torch.tensor([null]) if drop[i] else y[row]
        x_t, v = form.point(x0[row], e[row], t[row])
        if not drop[i]:
            with torch.no_grad():
                v_null = form.velocity(x_t, t[row], torch.tensor([null]))
                v_own = form.velocity(x_t, t[row], y[row])
            v_g = v + _decay(float(t[i]), cutoff) * (guidance - 1) * (v - v_null)
            v = mix * v_g + (1 - mix) * v_own
        if i < n_velocity:
            losses.append(form.velocity_loss(x_t, v, t[row], label, p=p, eps=eps))
        else:
            losses.append(form.consistency_loss(x_t, v, (t[row], l[row], s[row]), label, p=p, eps=eps))
    return torch.stack(losses)


def _decay(t: float, cutoff: float) -> float:
    """d(t), which takes the guidance away near the noise."""
    if t <= cutoff:
        return 1.0
    q = min((1 - t) / (1 - cutoff), 1 - 1e-6)
    return 1 - math.exp(-0.025 * q / (1 - q))


class _Form:
    """f(x, t, s) = a x + b F for one path and one parameterisation, on a batch of one."""

    def __init__(self, net: Network, *, path: str, parameterization: str) -> None:
        self.net, self.path = net, path
        self.euler = parameterization == "euler"
        self.db = 1.0 if self.euler else math.pi / 2  # d_s b at s = t; d_s a is zero there

    def point(self, x0: Tensor, e: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        if self.path == "linear":
            return (1 - t) * x0 + t * e, e - x0
        angle = math.pi * t / 2
        return angle.cos() * x0 + angle.sin() * e, math.pi / 2 * (angle.cos() * e - angle.sin() * x0)

    def velocity(self, x_t: Tensor, t: Tensor, label: Tensor) -> Tensor:
        return self.db * self.net(x_t, t, t, label)

    def f(self, x: Tensor, t: Tensor, s: Tensor, label: Tensor) -> Tensor:
        if self.euler:
            return x + (s - t) * self.net(x, t, s, label)
        angle = math.pi / 2 * (s - t)
        return angle.cos() * x + angle.sin() * self.net(x, t, s, label)

    def velocity_loss(self, x_t: Tensor, v: Tensor, t: Tensor, label: Tensor, *, p: float, eps: float) -> Tensor:
        square = ((self.velocity(x_t, t, label) - v) ** 2).mean()
        weight = 1 / (abs(self.db) * (square + eps) ** p)
        return weight.detach() * square

    def consistency_loss(
        self, x_t: Tensor, v: Tensor, times: tuple[Tensor, Tensor, Tensor], label: Tensor, *, p: float, eps: float
    ) -> Tensor:
        t, l, s = times  # noqa: E741 (the paper's letter)
        x_l = x_t + v * (l - t)
        quotient = (self.f(x_t, t, s, label) - self.f(x_l, l, s, label)) / (t - l)
        weight = 1 / ((quotient**2).mean() + eps) ** p
        sign = -1.0  # of b(t, s): both (s - t) and sin(pi/2 (s - t)) are negative for s < t
        return sign * (self.net(x_t, t, s, label) * (quotient * weight).detach()).mean()
