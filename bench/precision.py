"""The precision of the network in training and sampling, one choice for every method of a comparison.

    call = view(net, "bf16")        # what a method gets as its network
    with switched("tf32", device): ...

fp32  whole float32
tf32  matrix products of float32 in TF32 (10 bits of mantissa): NVIDIA GPUs; what SoFlow's own code trains in
bf16  autocast: matrix products and attention in bfloat16; weights, time embeddings, losses and outputs stay float32

bfloat16 keeps 8 bits: of a difference quotient over a small gap nothing would be left. A method asks for `exact` there, which
is float32 (SoFlow: f(x_t) - f(x_l) over t - l, whose rounding grows by (t - s) / (t - l), 500 times at the end of training).
"""

from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

from bench.config import Train
from bench.errors import BenchError
from bench.float32 import products

NAMES = ("fp32", "tf32", "bf16")


class Autocast:
    """The network under bfloat16 autocast; `exact` is the same network without."""

    def __init__(self, net: nn.Module) -> None:
        self.exact = net

    def __call__(self, x: Tensor, t: Tensor, s: Tensor, label: Tensor) -> Tensor:
        with torch.autocast(x.device.type, dtype=torch.bfloat16):
            out: Tensor = self.exact(x, t, s, label)
        return out.float()


def view(net: nn.Module, precision: str) -> nn.Module | Autocast:
    """The network as methods call it."""
    return Autocast(net) if precision == "bf16" else net


def switched(precision: str, device: torch.device) -> AbstractContextManager[None]:
    """Within, float32 products are computed as `precision` says."""
    return products(precision, device.type)


def check(train: Train, device: torch.device) -> None:
    """Raises BenchError for a precision that the device does not have, or not with that attention."""
    if train.precision == "tf32" and device.type != "cuda":
        raise BenchError(f"train.precision = 'tf32' on {device.type}", "fp32 or bf16 there", "TF32 is of NVIDIA GPUs.")
    if train.precision == "bf16" and train.attention in ("flash", "cudnn"):
        given = f"train.attention = {train.attention!r} with train.precision = 'bf16'"
        remedy = "SoFlow's exact pass is in float32, which that kernel does not take: leave train.attention = 'auto'."
        raise BenchError(given, "auto, math, efficient", remedy)
    if train.precision != "fp32" and device.type == "cuda" and torch.cuda.get_device_capability(device) < (8, 0):
        name = torch.cuda.get_device_name(device)  # torch would imitate the one and leave out the other without a word
        raise BenchError(f"train.precision = {train.precision!r} on {name}", "fp32 there", "It has neither TF32 nor bfloat16.")
