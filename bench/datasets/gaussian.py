"""Independent Gaussian pixels: the data set whose every answer is known in closed form. For tests and for debugging a method.

With y = x - (1 - t) mean and sig(t)^2 = (1 - t)^2 std^2 + t^2, on the linear path x_t = (1 - t) x0 + t e:

    velocity          v(x, t)    = -mean + (t - (1 - t) std^2) / sig(t)^2 y
    solution          f(x, t, s) = (1 - s) mean + sig(s) / sig(t) y
    average velocity  u(x, t, r) = (x - f(x, t, r)) / (t - r)
"""

import hashlib
import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from bench import rng
from bench.datasets import quantise
from bench.errors import BenchError


@dataclass
class Dataset:
    """Pixels N(mean, std^2), one class. By default 0.13 % of them lie outside [-1, 1], where `to_uint8` clips.

    Raises BenchError for an option out of its range. Times in the closed forms are (B,) in [0, 1]; any float type.
    """

    mean: float = 0.25  # in [-1, 1]
    std: float = 0.25  # in (0, 1]
    size: int = 4  # height and width, pixels
    channels: int = 1  # 1 or 3
    train_images: int = 2048  # drawn once, from a fixed seed; >= 2
    name: str = field(default="gaussian", init=False)
    shape: tuple[int, int, int] = field(init=False)
    num_classes: int = field(default=1, init=False)
    extractor: str = field(default="pixels", init=False)

    def __post_init__(self) -> None:
        _require("mean", self.mean, _real(self.mean) and -1 <= self.mean <= 1, "a number in [-1, 1]")
        _require("std", self.std, _real(self.std) and 0 < self.std <= 1, "a number in (0, 1]")
        _require("size", self.size, _whole(self.size) and 1 <= self.size <= 256, "a whole number from 1 to 256")
        _require("channels", self.channels, _whole(self.channels) and self.channels in (1, 3), "1 or 3")
        _require("train_images", self.train_images, _whole(self.train_images) and self.train_images >= 2, "a whole number >= 2")
        self.shape = (self.channels, self.size, self.size)

    @cached_property
    def _all(self) -> Tensor:
        noise = torch.randn(self.train_images, *self.shape, generator=rng.generator(0, "gaussian"))
        return self.mean + self.std * noise

    @cached_property
    def digest(self) -> str:
        return hashlib.sha256(self._all.numpy().tobytes()).hexdigest()

    def images(self, index: Tensor) -> tuple[Tensor, Tensor]:
        return self._all[index], torch.zeros(len(index), dtype=torch.int64)

    def to_uint8(self, x0: Tensor) -> Tensor:
        return quantise(x0)

    # Closed forms

    def velocity(self, x: Tensor, t: Tensor) -> Tensor:
        """E[e - x0 | x_t = x], (B, C, H, W)."""
        return self.average_velocity(x, t, t)

    def solution(self, x: Tensor, t: Tensor, s: Tensor) -> Tensor:
        """Where the flow through x at time t is at time s, (B, C, H, W)."""
        t, s = _column(t, x), _column(s, x)
        return (1 - s) * self.mean + self._deviation(s) / self._deviation(t) * (x - (1 - t) * self.mean)

    def average_velocity(self, x: Tensor, t: Tensor, r: Tensor) -> Tensor:
        """The mean of the velocity along the flow between r and t, (B, C, H, W); at r = t the velocity."""
        t, r = _column(t, x), _column(r, x)
        # sig(t)^2 - sig(r)^2 has the factor t - r. Cancelled by hand, nothing is lost to rounding as r approaches t.
        variance = self.std**2
        slope = ((t + r) * (1 + variance) - 2 * variance) / (self._deviation(t) * (self._deviation(t) + self._deviation(r)))
        return -self.mean + slope * (x - (1 - t) * self.mean)

    def _deviation(self, t: Tensor) -> Tensor:
        """sig(t), the standard deviation of x_t's pixels."""
        return ((1 - t).square() * self.std**2 + t.square()).sqrt()


def _column(t: Tensor, x: Tensor) -> Tensor:
    """Times (B,) as (B, 1, 1, 1), to go with `x`."""
    return t.reshape(-1, *[1] * (x.ndim - 1))


def _real(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _require(option: str, value: Any, holds: bool, allowed: str) -> None:
    if not holds:
        raise BenchError(f"gaussian: {option} = {value!r}", allowed, "Correct [datasets.gaussian] in bench.toml.")
