"""The losses in the structure of the public codes: the numbers are those of `methods/`, the network calls are theirs."""

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

import methods
from bench import dit, linear
from bench.errors import BenchError
from bench.shares import Share, share_of
from bench.speed import published
from conftest import tiny_run

ROWS, CLASSES, SHAPE = 16, 3, (1, 4, 4)
TRIGONOMETRIC = {"parameterization": "trigonometric"}

CASES: list[tuple[str, dict[str, Any]]] = [
    ("flow_matching", {}),
    ("meanflow", {}),  # omega = 1, kappa = 0.5
    ("meanflow", {"omega": 0.8, "kappa": 0.5}),
    ("meanflow", {"omega": 0.5, "kappa": 0.5}),  # the null velocity has no weight
    ("meanflow", {"omega": 2.0, "kappa": 0.0}),
    ("meanflow", {"omega": 1.0, "kappa": 0.0}),  # no guidance
    ("meanflow", {"equal_ratio": 0.5, "guidance_interval": (0.3, 0.6), "p": 0.5}),
    ("meanflow", {"equal_ratio": 0.0, "kappa": 0.3}),
    ("meanflow", {"equal_ratio": 1.0}),
    ("soflow", {}),  # guidance = 3, mix = 0.25
    ("soflow", TRIGONOMETRIC),
    ("soflow", TRIGONOMETRIC | {"path": "trigonometric", "velocity_ratio": 0.5, "p": 0.5}),
    ("soflow", {"guidance_cutoff": 0.4, "velocity_ratio": 0.25}),
    ("soflow", {"velocity_ratio": 0.0}),
    ("soflow", {"velocity_ratio": 1.0}),
    ("soflow", {"mix": 1.0}),
    ("soflow", {"guidance": 1.0}),  # the mixture alone
    ("soflow", {"guidance": 1.0, "mix": 1.0}),
]


class Watched(nn.Module):
    """A network that writes down how it is called."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.calls: list[tuple[str, int, str]] = []  # kind, rows, labels
        self.fused: list[bool] = []  # may attention run fused
        self.torchs: list[bool] = []  # are the linear layers torch's own

    def forward(self, x: Tensor, t: Tensor, s: Tensor, label: Tensor) -> Tensor:
        kind = "derivative" if forward_ad.unpack_dual(x).tangent is not None else "value"
        nulls = int((label == CLASSES).sum())
        labels = "null" if nulls == len(label) else "both" if nulls else "label"
        self.calls.append((kind + " with gradient" * torch.is_grad_enabled(), len(x), labels))
        self.fused.append(torch.backends.cuda.flash_sdp_enabled())
        self.torchs.append(linear._zero_products)
        out: Tensor = self.net(x, t, s, label)
        return out


def network() -> nn.Module:
    """At random weights: at the initial ones all outputs are zero, and any mistake passes."""
    net = dit.build("N/2", SHAPE, CLASSES).double()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in net.parameters():
            size = 0.1 if parameter.dim() == 1 else parameter[0].numel() ** -0.5
            parameter.copy_(size * torch.randn(parameter.shape, generator=generator))
    return net


def batch_of(method: Any) -> tuple[Tensor, Tensor, Any]:
    generator = torch.Generator().manual_seed(1)
    x0 = torch.randn(ROWS, *SHAPE, generator=generator, dtype=torch.float64)
    label = torch.arange(ROWS) % CLASSES
    return x0, label, method.draw(x0, label, generator, 0.5)


def both(name: str, given: dict[str, Any]) -> tuple[Any, Any]:
    """The method with our structure, and with the published one."""
    return methods.load(name, num_classes=CLASSES, **given), published.load(name, num_classes=CLASSES, **given)


def gradient_loss_and_squares(method: Any, net: nn.Module, share: Share) -> tuple[Tensor, Tensor, Tensor]:
    """Of a batch in pieces, as a step takes it."""
    net.zero_grad()
    x0, label, draw = batch_of(method)
    rows = [share.rows[piece] for piece in share.pieces]
    outs = [method.loss(net, x0[i], label[i], methods.take(draw, i)) for i in rows]
    for out, size in zip(outs, share.sizes, strict=True):
        (out["loss"].mean() * size / ROWS).backward()
        assert not out["mse"].requires_grad
    gradient = torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None])
    loss, square = (torch.cat([out[key].detach() for out in outs]) for key in ("loss", "mse"))
    return gradient, loss, square


def assert_same(found: Tensor, expected: Tensor, relative: float) -> None:
    assert found.shape == expected.shape
    assert expected.norm() > 0
    assert (found - expected).norm() <= relative * expected.norm()


# The losses


@pytest.mark.parametrize("micro_batch", [0, 8])
@pytest.mark.parametrize(("name", "given"), CASES)
def test_losses_and_gradients_are_those_of_methods(name: str, given: dict[str, Any], micro_batch: int) -> None:
    ours, theirs = both(name, {"label_drop": 0.3} | given)
    net = network()
    share = share_of(ROWS, ours.velocity_rows, micro_batch=micro_batch)
    assert len(share.sizes) == (2 if micro_batch else 1)
    expected = gradient_loss_and_squares(ours, net, share)
    for a, b in zip(gradient_loss_and_squares(theirs, net, share), expected, strict=True):
        assert_same(a, b, 1e-10)


GRADIENT, VALUE, BOTH_WAYS, DERIVATIVE = "value with gradient", "value", "derivative with gradient", "derivative"
CALLS: list[tuple[str, dict[str, Any], list[tuple[str, int, str]], list[tuple[str, int, str]]]] = [
    # method, hyperparameters, our calls, the public code's
    ("flow_matching", {}, [(GRADIENT, 16, "label")], [(GRADIENT, 16, "label")]),
    (
        "meanflow", {},
        [(GRADIENT, 16, "label"), (VALUE, 20, "both"), (DERIVATIVE, 4, "label")],
        [(VALUE, 16, "null"), (VALUE, 16, "label"), (BOTH_WAYS, 16, "label")],
    ),
    (
        "meanflow", {"omega": 0.5},  # weight 0, and yet called
        [(GRADIENT, 16, "label"), (VALUE, 4, "label"), (DERIVATIVE, 4, "label")],
        [(VALUE, 16, "null"), (VALUE, 16, "label"), (BOTH_WAYS, 16, "label")],
    ),
    (
        "meanflow", {"omega": 2.0, "kappa": 0.0},
        [(GRADIENT, 16, "label"), (VALUE, 16, "null"), (DERIVATIVE, 4, "label")],
        [(VALUE, 16, "null"), (BOTH_WAYS, 16, "label")],
    ),
    ("meanflow", {"kappa": 0.0}, [(GRADIENT, 16, "label"), (DERIVATIVE, 4, "label")], [(BOTH_WAYS, 16, "label")]),
    (
        "soflow", {},
        [(GRADIENT, 16, "label"), (VALUE, 20, "both"), (VALUE, 4, "label")],
        [(GRADIENT, 12, "label"), (VALUE, 12, "null"), (VALUE, 4, "null"), (VALUE, 4, "label"),
         (GRADIENT, 4, "label"), (VALUE, 4, "label")],
    ),
    (
        "soflow", {"mix": 1.0},
        [(GRADIENT, 16, "label"), (VALUE, 16, "null"), (VALUE, 4, "label")],
        [(GRADIENT, 12, "label"), (VALUE, 12, "null"), (VALUE, 4, "null"), (GRADIENT, 4, "label"), (VALUE, 4, "label")],
    ),
    (
        "soflow", {"guidance": 1.0, "mix": 1.0},
        [(GRADIENT, 16, "label"), (VALUE, 4, "label")],
        [(GRADIENT, 12, "label"), (GRADIENT, 4, "label"), (VALUE, 4, "label")],
    ),
]  # fmt: skip
FORWARDS = {GRADIENT: 3, VALUE: 1, BOTH_WAYS: 4, DERIVATIVE: 2}  # a row's cost in forward passes, at best


@pytest.mark.parametrize(("name", "given", "our_calls", "their_calls"), CALLS)
def test_network_calls_and_their_count(name: str, given: dict[str, Any], our_calls: Any, their_calls: Any) -> None:
    for method, expected in zip(both(name, given | {"label_drop": 0.0}), (our_calls, their_calls), strict=True):
        net = Watched(network())
        method.loss(net, *batch_of(method))
        assert net.calls == expected
        assert method.cost == sum(FORWARDS[kind] * rows for kind, rows, _ in expected) / ROWS


def test_only_the_differentiated_call_of_meanflow_is_kept_from_what_is_fast() -> None:
    net, method = Watched(network()), both("meanflow", {})[1]
    method.loss(net, *batch_of(method))
    assert net.fused == [True, True, False]
    assert net.torchs == [False, False, True]  # of the calls without a tangent, the two ways are one
    assert torch.backends.cuda.flash_sdp_enabled()
    for name in methods.names():
        ours, theirs = both(name, {})
        assert published.attention_needed(ours) == ""
        assert published.attention_needed(theirs) == ("math" if name == "meanflow" else "")


def test_soflow_asks_for_the_exact_network_where_methods_does() -> None:
    _, method = both("soflow", {"label_drop": 0.0})
    net, exact = Watched(network()), Watched(network())
    net.exact = exact
    method.loss(net, *batch_of(method))
    assert exact.calls == [(GRADIENT, 4, "label"), (VALUE, 4, "label")]
    assert len(net.calls) == 4


# Loading


def test_the_rest_of_a_method_is_as_it_was() -> None:
    for name in published.NAMES:
        ours, theirs = both(name, {"label_drop": 0.25})
        assert isinstance(theirs, methods.method_class(name))
        assert dataclasses.asdict(theirs) == dataclasses.asdict(ours)
        assert theirs.velocity_rows(ROWS) == ours.velocity_rows(ROWS)
        fields = zip(dataclasses.astuple(batch_of(ours)[2]), dataclasses.astuple(batch_of(theirs)[2]), strict=True)
        assert all(torch.equal(a, b) for a, b in fields)


def test_a_method_without_a_public_code_is_refused() -> None:
    with pytest.raises(BenchError) as mistake:
        published.load("soflows", num_classes=CLASSES)
    assert "'soflows' (did you mean 'soflow'?)" in mistake.value.given
    assert mistake.value.allowed == "flow_matching, meanflow, soflow"
    assert "optimised" in mistake.value.remedy
    run = tiny_run().model_copy(update={"method": "mine"})
    with pytest.raises(BenchError, match="'mine'"):
        published.load_method(run, CLASSES)
    with pytest.raises(ValueError, match=r"kapa.*did you mean 'kappa'"):
        published.load("meanflow", num_classes=CLASSES, kapa=0.5)
