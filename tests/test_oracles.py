"""The methods against Gaussian and point-mass data, where the perfect network is known in closed form.

The checks take the method's module, so that test_mutants.py can show that they fail when they should.
"""

from typing import Any

import pytest
import torch
from torch import Tensor

from closed_form import Gaussian, points, slope
from methods import flow_matching, meanflow, soflow

EXACT = 1e-12  # float64
T = torch.tensor([0.3, 0.6, 0.95, 0.5, 1.0, 0.8], dtype=torch.float64)
R = torch.tensor([0.0, 0.5, 0.1, 0.5, 0.3, 0.8], dtype=torch.float64)  # two rows with r = t
KEEP = torch.zeros(len(T), dtype=torch.bool)
LABEL = torch.zeros(len(T), dtype=torch.int64)
FORMS = [(path, form) for path in ("linear", "trigonometric") for form in ("euler", "trigonometric")]


def solution_net(data: Gaussian, parameterization: str) -> Any:
    return data.euler_net if parameterization == "euler" else data.trigonometric_net


# The closed forms themselves


@pytest.mark.parametrize("path", ["linear", "trigonometric"])
def test_velocity_is_the_conditional_mean(path: str) -> None:
    """Regression of alpha' x0 + beta' e on x_t over random draws, within four standard errors."""
    data, t, n = Gaussian(path=path), torch.tensor(0.6, dtype=torch.float64), 200_000
    noise0, e = torch.randn(2, n, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    alpha, beta, d_alpha, d_beta = data.coefficients(t)
    x0 = data.mean + data.std * noise0
    x_t, v = alpha * x0 + beta * e, d_alpha * x0 + d_beta * e
    error = v - data.velocity(x_t.view(-1, 1, 1, 1), t.expand(n)).flatten()
    assert error.mean().abs() < 4 * error.std() / n**0.5
    assert (error * x_t).mean().abs() < 4 * (error * x_t).std() / n**0.5


@pytest.mark.parametrize("path", ["linear", "trigonometric"])
def test_solution_solves_the_ode(path: str) -> None:
    """df/ds = v(f, s), f(x, t, t) = x, and jumping by way of l changes nothing."""
    data, x, s = Gaussian(path=path), points(T), R
    f, df_ds = torch.func.jvp(lambda s: data.solution(x, T, s), (s,), (torch.ones_like(s),))
    torch.testing.assert_close(df_ds, data.velocity(f, s), rtol=0, atol=EXACT)
    torch.testing.assert_close(data.solution(x, T, T), x, rtol=0, atol=EXACT)
    middle = (T + s) / 2
    torch.testing.assert_close(data.solution(data.solution(x, T, middle), middle, s), f, rtol=0, atol=EXACT)


def test_linear_path_equals_the_designs_formulas() -> None:
    data, x, t, s = Gaussian(), points(T), T[:, None, None, None], R[:, None, None, None]
    m, s0 = data.mean, data.std
    velocity = -m + (t - (1 - t) * s0**2) / ((1 - t) ** 2 * s0**2 + t**2) * (x - (1 - t) * m)
    ratio = ((1 - s) ** 2 * s0**2 + s**2).sqrt() / ((1 - t) ** 2 * s0**2 + t**2).sqrt()
    torch.testing.assert_close(data.velocity(x, T), velocity, rtol=0, atol=EXACT)
    torch.testing.assert_close(data.solution(x, T, R), (1 - s) * m + ratio * (x - (1 - t) * m), rtol=0, atol=EXACT)


# Residuals: zero at the perfect network and the marginal velocity


def check_flow_matching_residual(module: Any) -> None:
    data, x = Gaussian(), points(T)
    draw = module.Draw(noise=x, t=T, drop=KEEP)
    residual = module.Method(num_classes=3).residual(data.velocity_net, x, data.velocity(x, T), draw)
    assert residual.shape == x.shape
    assert residual.abs().max() < EXACT


def check_meanflow_residual(module: Any) -> None:
    data, x = Gaussian(), points(T)
    draw = module.Draw(noise=x, t=T, r=R, drop=KEEP)
    residual = module.Method(num_classes=3).residual(data.average_velocity_net, x, data.velocity(x, T), draw)
    assert residual.shape == x.shape
    assert residual.abs().max() < EXACT


def check_soflow_quotient(module: Any, *, path: str = "linear", parameterization: str = "euler") -> None:
    """Q vanishes with t - l to first order (a wrong sign leaves a constant); velocity rows are exact."""
    data, x = Gaussian(path=path), points(T)
    net, v = solution_net(data, parameterization), data.velocity(x, T)
    method = module.Method(num_classes=3, path=path, parameterization=parameterization)
    draw = module.Draw(noise=x, t=T, s=T, l=T, drop=KEEP)
    assert method.residual(net, x, v, draw).abs().max() < EXACT
    gaps, errors = [0.08 / 2**i for i in range(6)], []
    for gap in gaps:
        draw = module.Draw(noise=x, t=T, s=R / 2, l=T - gap, drop=KEEP)
        errors.append(float(method.residual(net, x, v, draw).abs().mean()))
    assert 0.9 < slope(gaps, errors) < 1.1
    assert errors[-1] < 0.05


def test_flow_matching_residual_is_zero() -> None:
    check_flow_matching_residual(flow_matching)


def test_meanflow_residual_is_zero() -> None:
    check_meanflow_residual(meanflow)


@pytest.mark.parametrize(("path", "parameterization"), FORMS)
def test_soflow_quotient_vanishes_with_the_gap(path: str, parameterization: str) -> None:
    check_soflow_quotient(soflow, path=path, parameterization=parameterization)


# Point-mass data: conditional and marginal velocity agree, so the perfect network's training loss is zero


def check_point_mass(module: Any, *, net: str, **hyperparameters: Any) -> None:
    """With the papers' guidance too: a network that ignores the label is its own guided velocity."""
    data = Gaussian(std=0.0)
    method = module.Method(num_classes=3, **hyperparameters)
    x0 = torch.full((16, 2, 3, 3), data.mean, dtype=torch.float64)
    label = torch.arange(16) % 3
    draw = method.draw(x0, label, torch.Generator().manual_seed(0), 0.0)
    out = method.loss(getattr(data, net), x0, label, draw)
    assert out["mse"].max() < 1e-18
    assert out["loss"].abs().max() < 1e-10  # SoFlow's is linear in Q / eps


@pytest.mark.parametrize(
    ("module", "net", "hyperparameters"),
    [
        (flow_matching, "velocity_net", {}),
        (meanflow, "average_velocity_net", {}),
        (soflow, "euler_net", {}),
        (soflow, "trigonometric_net", {"parameterization": "trigonometric"}),
    ],
)
def test_loss_is_zero_on_point_mass_data(module: Any, net: str, hyperparameters: dict[str, Any]) -> None:
    check_point_mass(module, net=net, **hyperparameters)


def test_perfect_meanflow_network_has_a_loss_on_spread_data() -> None:
    """Documented trap: the target holds one image's velocity, so the training loss does not fall to zero."""
    data, x0 = Gaussian(), Gaussian().mean + Gaussian().std * points(T)
    method = meanflow.Method(num_classes=3, omega=1.0, kappa=0.0)
    draw = method.draw(x0, LABEL, torch.Generator().manual_seed(0), 0.0)
    assert method.loss(data.average_velocity_net, x0, LABEL, draw)["mse"].mean() > 0.1


# Samplers


def check_meanflow_sampler(module: Any) -> None:
    data, noise = Gaussian(), points(T)
    expected = data.solution(noise, torch.ones_like(T), torch.zeros_like(T))
    for steps in (1, 2, 4):
        ours = module.Method(num_classes=3).sample(data.average_velocity_net, noise, LABEL, steps)
        torch.testing.assert_close(ours, expected, rtol=0, atol=EXACT)


def check_soflow_sampler(module: Any, *, path: str = "linear", parameterization: str = "euler") -> None:
    """Jump to 0, put the given noise back to t = 1 - i / n, jump again."""
    data, noise, zero = Gaussian(path=path), points(T), torch.zeros_like(T)
    renoise = [points(T, seed=i) for i in (1, 2, 3)]
    method = module.Method(num_classes=3, path=path, parameterization=parameterization)
    net = solution_net(data, parameterization)
    for steps in (1, 2, 4):
        expected = data.solution(noise, torch.ones_like(T), zero)
        for i in range(1, steps):
            t = torch.full_like(T, 1 - i / steps)
            alpha, beta, _, _ = data.coefficients(t[0])
            expected = data.solution(alpha * expected + beta * renoise[i - 1], t, zero)
        for given in (renoise, renoise.__getitem__):
            torch.testing.assert_close(method.sample(net, noise, LABEL, steps, given), expected, rtol=0, atol=EXACT)


def check_ode_order(module: Any, *, sampler: str, order: int) -> None:
    data, noise = Gaussian(), points(T)
    expected = data.solution(noise, torch.ones_like(T), torch.zeros_like(T))
    method, counts = module.Method(num_classes=3, sampler=sampler), [16, 32, 64, 128]
    errors = [
        float((method.sample(data.velocity_net, noise, LABEL, order * count) - expected).abs().mean()) for count in counts
    ]
    assert abs(-slope(counts, errors) - order) < 0.1


def check_guided_sampling(module: Any) -> None:
    """One Euler step of a constant field: x - (v_null + w (v - v_null))."""

    def net(x: Tensor, _t: Tensor, _s: Tensor, label: Tensor) -> Tensor:
        return (1.0 + label)[:, None, None, None] * torch.ones_like(x)  # 1 for label 0, 4 for the null label

    noise = points(T)
    ours = module.Method(num_classes=3, guidance=2.5).sample(net, noise, LABEL, 2)
    torch.testing.assert_close(ours, noise - (4 + 2.5 * (1 - 4)), rtol=0, atol=EXACT)


def check_evaluations(module: Any, *, net: str, steps: int, **hyperparameters: Any) -> None:
    """`steps` is what is paid: rows through the network per image, a guided call on 2B rows counting two."""
    rows = []

    def counted(x: Tensor, t: Tensor, s: Tensor, label: Tensor) -> Tensor:
        rows.append(len(x))
        assert len(x) == len(t) == len(s) == len(label)
        return getattr(Gaussian(), net)(x, t, s, label)

    module.Method(num_classes=3, **hyperparameters).sample(counted, points(T), LABEL, steps)
    assert sum(rows) == steps * len(T)


def test_meanflow_sampler_is_exact() -> None:
    check_meanflow_sampler(meanflow)


@pytest.mark.parametrize(("path", "parameterization"), FORMS)
def test_soflow_sampler_is_exact(path: str, parameterization: str) -> None:
    check_soflow_sampler(soflow, path=path, parameterization=parameterization)


@pytest.mark.parametrize(("sampler", "order"), [("euler", 1), ("heun", 2)])
def test_flow_matching_order_of_convergence(sampler: str, order: int) -> None:
    check_ode_order(flow_matching, sampler=sampler, order=order)


def test_guided_sampling() -> None:
    check_guided_sampling(flow_matching)


FLOW_SAMPLERS = [{}, {"guidance": 2.0}, {"sampler": "heun"}, {"sampler": "heun", "guidance": 2.0}]


@pytest.mark.parametrize("hyperparameters", FLOW_SAMPLERS)
def test_flow_matching_evaluations(hyperparameters: dict[str, Any]) -> None:
    check_evaluations(flow_matching, net="velocity_net", steps=8, **hyperparameters)


@pytest.mark.parametrize(("module", "net"), [(meanflow, "average_velocity_net"), (soflow, "euler_net")])
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_one_step_evaluations(module: Any, net: str, steps: int) -> None:
    check_evaluations(module, net=net, steps=steps)


@pytest.mark.parametrize("hyperparameters", FLOW_SAMPLERS[1:])
def test_steps_that_can_not_be_spent_are_refused(hyperparameters: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="positive multiple of"):
        check_evaluations(flow_matching, net="velocity_net", steps=3, **hyperparameters)
