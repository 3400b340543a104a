"""Floating-point operations of a training step and of sampling, counted without computing anything.

    training_flops(methods.load("meanflow", num_classes=1000), "XL/2", (4, 32, 32), 1000, batch=128)    # Flops, per image

The method's own loss and its backward pass run on torch's meta device, where tensors have shapes and no numbers, and torch's
counter adds up matrix products, convolutions and attention, 2 a multiply-add, wherever they happen: in the pass with gradient,
without, in a forward-mode derivative (value and tangent) and backward. Left out, as usual: norms, activations, embeddings, the
loss, optimiser, average; and the scores that a fused attention computes a second time in its backward pass.
"""

import functools
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, flop_registry

import methods
from bench import dit, linear
from bench.step import Objective


@dataclass(frozen=True)
class Flops:
    """Of one image's share of a training step."""

    executed: float
    by_zero: float  # of those executed: products with a matrix of zeros

    @property
    def needed(self) -> float:
        return self.executed - self.by_zero


def training_flops(method: methods.Method, net: str, shape: tuple[int, int, int], num_classes: int, batch: int) -> Flops:
    """Of one step of `method` on `batch` images of `shape` (C, H, W), divided by their number: forward and backward.

    In a forward-mode derivative torch executes three products for a layer: of the value, of the tangent, and of the weight's
    tangent, which it fills with zeros. The last is `by_zero`; bench.linear leaves it out, unless told not to.
    (Attention needs all three: both its factors have tangents.) Raises ValueError for a net that does not fit.
    """
    arguments: tuple[Any, ...] = (method, net, shape, num_classes, batch, linear._zero_products)
    return _counted(*arguments)


@functools.cache  # seconds for XL/2, and asked for again by every column
def _counted(
    method: methods.Method, net: str, shape: tuple[int, int, int], num_classes: int, batch: int, zero_products: bool
) -> Flops:
    del zero_products  # part of the key: the network looks at it itself
    x0, label = torch.zeros(batch, *shape), torch.zeros(batch, dtype=torch.int64)
    draw = method.draw(x0, label, torch.Generator().manual_seed(0), 0.5)
    draw = methods.each(draw, lambda field: field.to("meta"))
    with torch.device("meta"):
        objective = Objective(method, dit.build(net, shape, num_classes))
    # Written-out attention: the count must not depend on which kernels torch would choose here, and knows formulas for.
    with FlopCounterMode(display=False) as counter, _ZeroProducts() as by_zero, dit.attention_backend("math"):
        objective(x0.to("meta"), label.to("meta"), draw)["loss"].mean().backward()
    return Flops(counter.get_total_flops() / batch, by_zero.flops / batch)


def flops_per_image(method: methods.Method, net: str, shape: tuple[int, int, int], num_classes: int, batch: int) -> float:
    """What one image's share of a training step executes, products with zeros included."""
    return training_flops(method, net, shape, num_classes, batch).executed


def sampling_flops(net: str, shape: tuple[int, int, int], num_classes: int, steps: int) -> float:
    """Of one image made in `steps` evaluations of the network; without a decoder."""
    return 2.0 * dit.forward_macs(net, shape, num_classes) * steps


class _ZeroProducts(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the operations of products one of whose factors torch made of a single zero.

    A tangent that is not there becomes one zero, expanded to the shape: every stride is 0. Numbers laid out like that come
    from nowhere else in these networks (a test looks at the numbers).
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flops = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        formula = flop_registry.get(func._overloadpacket)
        if formula and any(isinstance(a, Tensor) and a.numel() > 1 and not any(a.stride()) for a in args):
            self.flops += formula(*args, **(kwargs or {}), out_val=out)
        return out
