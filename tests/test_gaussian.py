"""The Gaussian's closed forms against a numerical solution of the flow, a regression and their definitions."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from bench import datasets, rng
from bench.datasets.gaussian import Dataset as Gaussian
from bench.errors import BenchError

F64 = torch.float64
GAUSSIAN = Gaussian(mean=0.25, std=0.4, size=2)


def points(count: int = 5) -> Tensor:
    return torch.randn(count, 1, 2, 2, dtype=F64, generator=rng.generator(0, "points"))


def times(value: float, count: int = 5) -> Tensor:
    return torch.full((count,), value, dtype=F64)


def integrate(function: Callable[[Tensor, Tensor], Tensor], x: Tensor, start: float, stop: float, steps: int = 400) -> Tensor:
    """Runge-Kutta of fourth order for dx/dt = function(x, t)."""
    step = (stop - start) / steps
    for i in range(steps):
        t = times(start + i * step, len(x))
        k1 = function(x, t)
        k2 = function(x + step / 2 * k1, t + step / 2)
        k3 = function(x + step / 2 * k2, t + step / 2)
        k4 = function(x + step * k3, t + step)
        x = x + step / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return x


@pytest.mark.parametrize(("start", "stop"), [(1.0, 0.0), (0.9, 0.3), (0.2, 0.8)])
def test_solution_solves_the_ode(start: float, stop: float) -> None:
    x = points()
    expected = integrate(GAUSSIAN.velocity, x, start, stop)
    torch.testing.assert_close(GAUSSIAN.solution(x, times(start), times(stop)), expected, rtol=0, atol=1e-9)


def test_solutions_compose() -> None:
    x, t, l, s = points(), times(0.9), times(0.5), times(0.1)  # noqa: E741
    torch.testing.assert_close(
        GAUSSIAN.solution(GAUSSIAN.solution(x, t, l), l, s), GAUSSIAN.solution(x, t, s), rtol=1e-13, atol=0
    )
    torch.testing.assert_close(GAUSSIAN.solution(x, t, t), x, rtol=0, atol=1e-15)


def test_solution_at_data_has_the_data_distribution() -> None:
    noise = torch.randn(50_000, 1, 2, 2, dtype=F64, generator=rng.generator(1, "points"))
    x0 = GAUSSIAN.solution(noise, times(1, 50_000), times(0, 50_000))
    assert float(x0.mean()) == pytest.approx(0.25, abs=0.005)
    assert float(x0.std()) == pytest.approx(0.4, abs=0.005)


def test_average_velocity_is_the_displacement_over_the_time() -> None:
    x, t, r = points(), torch.linspace(0.6, 1, 5, dtype=F64), torch.linspace(0, 0.5, 5, dtype=F64)
    u = GAUSSIAN.average_velocity(x, t, r)
    torch.testing.assert_close((t - r)[:, None, None, None] * u, x - GAUSSIAN.solution(x, t, r), rtol=0, atol=1e-14)


def test_average_velocity_goes_to_the_velocity() -> None:
    x, t = points(), torch.linspace(0, 1, 5, dtype=F64)
    v = GAUSSIAN.velocity(x, t)
    assert torch.equal(GAUSSIAN.average_velocity(x, t, t), v)
    # In float32 too: a difference divided by t - r would have lost all digits at 1e-6.
    near = GAUSSIAN.average_velocity(x.float(), t.float(), (t - 1e-6).float())
    torch.testing.assert_close(near, v.float(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("t", [0.1, 0.5, 0.9])
def test_velocity_is_the_conditional_mean(t: float) -> None:
    """Regression of e - x0 on x_t, which is linear for Gaussians."""
    generator = rng.generator(2, "points")
    e, z = torch.randn(2, 400_000, dtype=F64, generator=generator)
    x0 = 0.25 + 0.4 * z
    x_t, v = (1 - t) * x0 + t * e, e - x0
    slope = float(torch.cov(torch.stack([x_t, v]))[0, 1] / x_t.var())
    at = torch.tensor([0.0, 1.0], dtype=F64)[:, None, None, None]
    low, high = GAUSSIAN.velocity(at, times(t, 2)).flatten().tolist()
    assert high - low == pytest.approx(slope, abs=0.01)
    assert low == pytest.approx(float(v.mean()) - slope * float(x_t.mean()), abs=0.01)


def test_gaussian_images_have_the_moments_asked_for() -> None:
    x0, _ = Gaussian(mean=-0.5, std=0.1, channels=3).images(torch.arange(2048))
    assert float(x0.mean()) == pytest.approx(-0.5, abs=0.003)
    assert float(x0.std()) == pytest.approx(0.1, abs=0.003)
    assert x0.shape == (2048, 3, 4, 4)


@pytest.mark.parametrize(
    ("option", "value", "allowed"),
    [
        ("std", 0, "a number in (0, 1]"),
        ("std", "0.4", "a number in (0, 1]"),
        ("mean", float("nan"), "a number in [-1, 1]"),
        ("size", 0, "a whole number from 1 to 256"),
        ("size", 4.0, "a whole number from 1 to 256"),
        ("size", True, "a whole number from 1 to 256"),
        ("channels", 2, "1 or 3"),
        ("train_images", 1, "a whole number >= 2"),
        ("train_images", True, "a whole number >= 2"),
    ],
)
def test_gaussian_options(option: str, value: Any, allowed: str) -> None:
    with pytest.raises(BenchError) as caught:
        datasets.load("gaussian", **{option: value})
    assert caught.value.given == f"gaussian: {option} = {value!r}"
    assert caught.value.allowed == allowed
    assert "[datasets.gaussian]" in caught.value.remedy
