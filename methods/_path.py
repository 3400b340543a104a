"""The few formulas the papers share: the linear path, time sampling, weights, and the time derivative.

Convention: t = 0 is data, t = 1 is noise; images are (B, C, H, W), times and masks (B,).
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

Network = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]  # net(x, t, s, label) -> (B, C, H, W)


def require(condition: bool, given: str, allowed: str) -> None:
    """Raise ValueError in two parts (what was given, what is allowed) unless `condition` holds."""
    if not condition:
        raise ValueError(f"{given}; allowed: {allowed}")


# Points on the path


def expand(t: Tensor, x: Tensor) -> Tensor:
    """(B,) -> (B, 1, 1, 1), so that a time multiplies an image."""
    return t.reshape(-1, *[1] * (x.ndim - 1))


def linear_path(x0: Tensor, noise: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """x_t = (1 - t) x0 + t e and its conditional velocity v = e - x0."""
    t = expand(t, x0)
    return (1 - t) * x0 + t * noise, noise - x0


# Draws


def randn_like(x: Tensor, generator: torch.Generator) -> Tensor:
    """Standard normal noise of x's shape and dtype, made on the generator's device."""
    return torch.randn(x.shape, generator=generator, device=generator.device, dtype=x.dtype).to(x.device)


def logit_normal(x: Tensor, mean: float, std: float, generator: torch.Generator) -> Tensor:
    """(B,) times in (0, 1): sigmoid of N(mean, std^2), written LN(mean, std)."""
    normal = torch.randn(len(x), generator=generator, device=generator.device, dtype=x.dtype).to(x.device)
    return torch.sigmoid(mean + std * normal)


def uniform(x: Tensor, generator: torch.Generator) -> Tensor:
    """(B,) times, uniform on [0, 1)."""
    return torch.rand(len(x), generator=generator, device=generator.device, dtype=x.dtype).to(x.device)


def bernoulli(x: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    """(B,) bool, each true with `probability`."""
    return uniform(x, generator) < probability


# Reductions and weights


def mean_px(x: Tensor) -> Tensor:
    """(B, C, H, W) -> (B,): mean over channels and pixels."""
    return x.flatten(1).mean(1)


def sum_px(x: Tensor) -> Tensor:
    """(B, C, H, W) -> (B,): sum over channels and pixels."""
    return x.flatten(1).sum(1)


def adaptive_weight(square: Tensor, p: float, eps: float) -> Tensor:
    """1 / (square + eps)^p, without gradient (MeanFlow's adaptive loss weight)."""
    return (square.detach() + eps).pow(-p)


# The network


def null_where(drop: Tensor, label: Tensor, null: int) -> Tensor:
    """Labels with the dropped rows replaced by the null label."""
    return torch.where(drop, torch.full_like(label, null), label)


@torch.no_grad()
def velocity_where(needed: Tensor, net: Network, x: Tensor, t: Tensor, label: Tensor) -> Tensor:
    """net(x, t, t, label), (B, C, H, W), on the rows where `needed` (B,); what the others hold nobody may use.

    On a CPU those are left out: rows without a label are not guided, a tenth of them. Elsewhere all are computed: a GPU would
    wait for the host to count the rows, and a compiled loss would be compiled for each number of them.
    """
    if x.device.type != "cpu" or torch.compiler.is_compiling() or bool(needed.all()):
        return net(x, t, t, label)
    rows = needed.nonzero().squeeze(1)
    velocity, at = torch.zeros_like(x), t[rows]
    return velocity.index_copy_(0, rows, net(x[rows], at, at, label[rows])) if len(rows) else velocity


_difference_step = 0.0


@contextlib.contextmanager
def central_differences(step: float = 5e-3) -> Iterator[None]:
    """Within, `time_derivative` is (net(t + h) - net(t - h)) / 2h: a check of the other, good to about 1e-3 in float32."""
    global _difference_step
    before, _difference_step = _difference_step, step
    try:
        yield
    finally:
        _difference_step = before


def time_derivative(net: Network, x: Tensor, t: Tensor, s: Tensor, label: Tensor, velocity: Tensor) -> Tensor:
    """d/dt of net(x(t), t, s, label) along dx/dt = velocity, with s fixed; carries no gradient.

    The fused attention kernels have no forward-mode derivative, so this call alone asks torch for its
    written-out attention; the network's other calls keep the backend they were given.
    """
    if _difference_step:
        h = _difference_step
        with torch.no_grad():
            ahead, behind = net(x + h * velocity, t + h, s, label), net(x - h * velocity, t - h, s, label)
        return (ahead - behind) / (2 * h)
    # Clones: torch.compile can not trace a forward-mode derivative at a slice of another tensor.
    primals, tangents = (x.clone(), t.clone()), (velocity.clone(), torch.ones_like(t))
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        derivative: Tensor = torch.func.jvp(lambda x, t: net(x, t, s, label), primals, tangents)[1]
    return derivative.detach()


def fresh_noise(renoise: Any, step: int, noise: Tensor) -> Tensor:
    """Noise number `step` (from 0) of `renoise`: indexable or callable by step; None means `noise` once more."""
    if renoise is None:
        return noise
    fresh: Tensor = renoise(step) if callable(renoise) else renoise[step]
    return fresh
