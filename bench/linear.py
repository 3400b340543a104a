"""A linear layer whose forward-mode derivative is no dearer than it must be.

torch multiplies the tangent by the weight, and the input by the weight's own tangent, which it fills with zeros where the
weight has none. docs/step_parts.md has what MeanFlow's derivative gains without that product.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn import functional as F

_unpack: Any = forward_ad.unpack_dual
_make: Any = forward_ad.make_dual
_zero_products = False


@contextlib.contextmanager
def torch_linear() -> Iterator[None]:
    """Within, derivatives take torch's own way: what other code bases pay. Not for compiled code: it keeps what it traced."""
    global _zero_products
    before, _zero_products = _zero_products, True
    try:
        yield
    finally:
        _zero_products = before


class Linear(nn.Linear):
    """torch's in every respect but the cost of its forward-mode derivative."""

    def forward(self, x: Tensor) -> Tensor:
        if not torch.compiler.is_compiling() and getattr(forward_ad, "_current_level", 0) < 0:
            return super().forward(x)  # no derivative is being taken: spares the calls below
        # Level 0, the only one that torch has: asked for the current one, torch.compile cuts the loss into pieces.
        value, tangent = _unpack(x, level=0)
        if tangent is None or _zero_products or _unpack(self.weight, level=0).tangent is not None:
            return super().forward(x)
        out: Tensor = _make(super().forward(value), F.linear(tangent, self.weight), level=0)
        return out
