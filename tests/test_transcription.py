"""The methods' losses and all their gradients equal the plain transcription of the papers (paper.py), in float64.

On random weights: with adaLN-Zero's zero gates the output is 0 and every bug passes. Adaptive weights with p = 1 make
every loss about 1, so the gradients and the raw square are what discriminates.
"""

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import paper
from bench.dit import DiT
from methods import flow_matching, meanflow, soflow

RELATIVE = 1e-10
NULL = 3  # also the number of classes
N_VELOCITY = {0.0: 0, 0.75: 6, 1.0: 8}  # of 8 rows
DROPS = {"none": [], "some": [1, 5, 7], "all": range(8)}  # rows of both kinds, and with 5 one inside the interval
T = [0.05, 0.97, 0.3, 0.62, 0.88, 0.35, 0.6, 0.91]  # on, in and outside the interval; on both sides of the cutoff


def random_net() -> DiT:
    net = DiT(image_size=4, channels=2, patch=2, width=16, depth=2, heads=2, num_classes=NULL).double()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(0.2 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return net


def batch(drop: str) -> dict[str, Tensor]:
    """Images, noise, labels and dropped rows."""
    generator = torch.Generator().manual_seed(2)
    x0, noise = torch.randn(2, 8, 2, 4, 4, generator=generator, dtype=torch.float64)
    dropped = torch.tensor([i in DROPS[drop] for i in range(8)])
    return {"x0": x0, "e": noise, "y": torch.arange(8) % NULL, "drop": dropped, "t": torch.tensor(T, dtype=torch.float64)}


def earlier(t: Tensor, n: int, *, share: float) -> Tensor:
    """The times share * t, but t itself on the first n rows."""
    return torch.cat([t[:n], share * t[n:]])


def assert_equal_training(net: nn.Module, ours: Tensor, transcribed: Tensor) -> None:
    """Same losses row by row, same gradient of every parameter."""
    assert_close(ours.detach(), transcribed.detach())
    parameters = dict(net.named_parameters())
    mine = torch.autograd.grad(ours.mean(), list(parameters.values()))
    papers = torch.autograd.grad(transcribed.mean(), list(parameters.values()))
    for name, a, b in zip(parameters, mine, papers, strict=True):
        assert b.abs().max() > 1e-7, f"the test sees nothing of {name}"
        assert_close(a, b)


def assert_close(ours: Tensor, expected: Tensor) -> None:
    """Relative to the largest entry: single entries may cancel to nearly nothing."""
    assert ours.shape == expected.shape
    assert (ours - expected).abs().max() <= RELATIVE * expected.abs().max()


def check_flow_matching(module: Any, *, drop: str) -> None:
    net, case = random_net(), batch(drop)
    draw = module.Draw(noise=case["e"], t=case["t"], drop=case["drop"])
    out = module.Method(num_classes=NULL).loss(net, case["x0"], case["y"], draw)
    transcribed = paper.flow_matching(net, **case, null=NULL)
    # t - s is 0 in every call: the first layer of s_embedder sees a constant, yet its gradient is not zero.
    assert_equal_training(net, out["loss"], transcribed)
    assert_close(out["mse"], transcribed.detach())


def check_meanflow(
    module: Any, *, omega: float = 1.5, kappa: float = 0.5, interval: tuple[float, float] = (0.3, 0.6),
    equal_ratio: float = 0.75, p: float = 1.0, drop: str = "some",
) -> None:  # fmt: skip
    net, case = random_net(), batch(drop)
    case["r"] = earlier(case["t"], N_VELOCITY[equal_ratio], share=0.6)
    draw = module.Draw(noise=case["e"], t=case["t"], r=case["r"], drop=case["drop"])
    method = module.Method(
        num_classes=NULL, omega=omega, kappa=kappa, guidance_interval=interval, equal_ratio=equal_ratio, p=p, eps=0.02
    )
    out = method.loss(net, case["x0"], case["y"], draw)
    settings = {"null": NULL, "omega": omega, "kappa": kappa, "interval": interval, "eps": 0.02}
    assert_equal_training(net, out["loss"], paper.meanflow(net, **case, **settings, p=p))
    squares = paper.meanflow(net, **case, **settings, p=0.0)  # with p = 0 the loss is the sum of squares
    assert_close(out["mse"], squares.detach() / case["x0"][0].numel())


def check_soflow(
    module: Any, *, guidance: float = 2.5, mix: float = 0.25, path: str = "linear", parameterization: str = "euler",
    velocity_ratio: float = 0.75, p: float = 1.0, drop: str = "some",
) -> None:  # fmt: skip
    net, case = random_net(), batch(drop)
    n = N_VELOCITY[velocity_ratio]
    times = {"s": earlier(case["t"], n, share=0.2), "l": earlier(case["t"], n, share=0.95)}
    draw = module.Draw(noise=case["e"], t=case["t"], drop=case["drop"], **times)
    shared = {"guidance": guidance, "mix": mix, "path": path, "parameterization": parameterization, "eps": 0.02}
    method = module.Method(num_classes=NULL, velocity_ratio=velocity_ratio, p=p, guidance_cutoff=0.7, **shared)
    out = method.loss(net, case["x0"], case["y"], draw)
    transcribed = paper.soflow(net, **case, **times, null=NULL, n_velocity=n, cutoff=0.7, p=p, **shared)
    assert_equal_training(net, out["loss"], transcribed)


def grid(**axes: tuple[Any, ...]) -> list[Any]:
    """Every combination, and with them the powers p in turn."""
    powers = itertools.cycle([1.0, 0.0, 0.75, 0.0, 1.0])
    cases = [dict(zip(axes, values, strict=True)) | {"p": next(powers)} for values in itertools.product(*axes.values())]
    return [pytest.param(case, id=" ".join(f"{key}={value}" for key, value in case.items())) for case in cases]


RATIOS = (0.0, 0.75, 1.0)
INTERVALS = ((0.0, 1.0), (0.3, 0.6))  # T has rows at both ends, which count as inside
FORMS = ("linear", "trigonometric"), ("euler", "trigonometric")


@pytest.mark.parametrize("drop", DROPS)
def test_flow_matching_equals_the_paper(drop: str) -> None:
    check_flow_matching(flow_matching, drop=drop)


@pytest.mark.parametrize(
    "case", grid(omega=(0.5, 1.0, 2.0), kappa=(0.0, 0.5), interval=INTERVALS, equal_ratio=RATIOS, drop=tuple(DROPS))
)
def test_meanflow_equals_the_paper(case: dict[str, Any]) -> None:
    check_meanflow(meanflow, **case)


@pytest.mark.parametrize(
    "case",
    grid(
        guidance=(1.0, 2.5), mix=(1.0, 0.25), path=FORMS[0], parameterization=FORMS[1],
        velocity_ratio=RATIOS, drop=tuple(DROPS),
    ),
)  # fmt: skip
def test_soflow_equals_the_paper(case: dict[str, Any]) -> None:
    check_soflow(soflow, **case)


@pytest.mark.parametrize("check", [check_meanflow, check_soflow])
@pytest.mark.parametrize("p", [0.0, 0.75, 1.0])
def test_every_power(check: Callable[..., None], p: float) -> None:
    check({check_meanflow: meanflow, check_soflow: soflow}[check], p=p)


def test_soflow_consistency_loss_has_the_gradient_of_the_weighted_square() -> None:
    """The transcription's last line stands for w/2 mean Q^2, times (t - l) / |b|."""
    net, t, l, s = random_net(), *torch.tensor([[0.8], [0.75], [0.3]], dtype=torch.float64)  # noqa: E741
    case, label = batch("none"), torch.tensor([1])
    x_t, v = case["x0"][:1], case["e"][:1]
    form = paper._Form(net, path="linear", parameterization="trigonometric")
    surrogate = form.consistency_loss(x_t, v, (t, l, s), label, p=0.75, eps=0.02)
    with torch.no_grad():
        f_l = form.f(x_t + v * (l - t), l, s, label)
    square = (((form.f(x_t, t, s, label) - f_l) / (t - l)) ** 2).mean()
    weighted = square / (square.detach() + 0.02) ** 0.75 / 2 * (t - l) / torch.sin(torch.pi / 2 * (t - s))
    parameters = list(net.parameters())
    for a, b in zip(torch.autograd.grad(surrogate, parameters), torch.autograd.grad(weighted, parameters), strict=True):
        assert_close(a, b)
