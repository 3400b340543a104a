"""The linear layer: torch's values and derivatives, a product less, and one graph when it is compiled."""

from typing import Any

import pytest
import torch
import torch._dynamo
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from bench.linear import Linear, torch_linear

IN, OUT, ROWS = 5, 7, 3


def pair() -> tuple[Linear, nn.Linear]:
    torch.manual_seed(0)
    ours, theirs = Linear(IN, OUT).double(), nn.Linear(IN, OUT).double()
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


def derivative(layer: nn.Module, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    found: tuple[Tensor, Tensor] = torch.func.jvp(lambda x: layer(x).square(), (x,), (v,))
    return found


def test_values_gradients_and_derivatives_are_torchs() -> None:
    ours, theirs = pair()
    x, v = torch.randn(2, ROWS, IN, dtype=torch.float64)
    assert torch.equal(ours(x), theirs(x))
    assert all(torch.equal(a, b) for a, b in zip(derivative(ours, x, v), derivative(theirs, x, v), strict=True))
    for layer in (ours, theirs):
        layer(x).square().sum().backward()
    assert torch.equal(ours.weight.grad, theirs.weight.grad)  # type: ignore[arg-type]


def test_the_derivative_is_two_products_and_torchs_three() -> None:
    ours, theirs = pair()
    x, v = torch.randn(2, ROWS, IN, dtype=torch.float64)

    def products(layer: nn.Module) -> float:
        with FlopCounterMode(display=False) as counter:
            derivative(layer, x, v)
        return counter.get_total_flops() / (2 * ROWS * IN * OUT)

    assert products(ours) == 2
    assert products(theirs) == 3
    with torch_linear():
        assert products(ours) == 3


def test_a_weight_that_has_a_tangent_keeps_it() -> None:
    ours, _ = pair()
    x, v = torch.randn(ROWS, IN, dtype=torch.float64), torch.randn(OUT, IN, dtype=torch.float64)

    def call(weight: Tensor) -> Tensor:
        out: Tensor = torch.func.functional_call(ours, {"weight": weight, "bias": ours.bias}, (x,))
        return out

    assert torch.allclose(torch.func.jvp(call, (ours.weight,), (v,))[1], x @ v.T)


def test_the_derivatives_gradient_is_torchs() -> None:
    ours, theirs = pair()
    x, v = torch.randn(2, ROWS, IN, dtype=torch.float64)
    for layer in (ours, theirs):
        derivative(layer, x, v)[1].sum().backward()
    assert torch.allclose(ours.weight.grad, theirs.weight.grad)  # type: ignore[arg-type]


def test_a_loss_with_a_derivative_is_one_graph_when_compiled() -> None:
    """A call outside the derivative, before it: then Dynamo once cut the loss in seven, without a word."""
    ours, _ = pair()
    x = torch.randn(ROWS, IN, dtype=torch.float64)

    def loss(x: Tensor) -> Tensor:
        out: Tensor = ours(x) - torch.func.jvp(ours, (x.clone(),), (torch.ones_like(x),))[1]
        return out

    torch._dynamo.reset()
    compiled: Any = torch.compile(loss, backend="aot_eager", fullgraph=True)
    assert torch.allclose(compiled(x), loss(x))


@pytest.fixture(autouse=True)
def _quiet() -> None:
    import bench.step  # noqa: F401  silences what torch.func.jvp says at its first use
