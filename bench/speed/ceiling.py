"""What this device reaches in a large matrix product, measured now: what utilisation is a share of.

    peak = measure(torch.device("cuda"), "bf16", seconds=1.0)
    flops / seconds / peak.flops_per_second

A data sheet's number belongs to clocks that the device may not hold. Factors are random: a product of zeros switches fewer
transistors, so the clock stays higher.
"""

import statistics
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from bench.errors import BenchError
from bench.float32 import products
from bench.speed.clock import seconds as seconds_of
from bench.speed.clock import time_rounds

GPU_SIZES = (4096, 8192, 16384)  # which is fastest differs between GPUs and precisions
FIRST_SIZE, LAST_SIZE = 256, 8192  # on a CPU: doubled until
LONG_ENOUGH = 0.05  # seconds of one product; the next size takes eight times as long


@dataclass(frozen=True)
class Ceiling:
    """The fastest of the sizes tried."""

    precision: str  # fp32 | tf32 | bf16
    flops_per_second: float  # at the median of the rounds
    size: int  # of the square matrices
    rounds: list[float]  # seconds of each product of that size
    tried: dict[int, float]  # size -> FLOP/s


def measure(device: torch.device, precision: str, seconds: float) -> Ceiling:
    """`seconds`: for all sizes together, beyond the few products that each needs.

    Raises BenchError for TF32 on a device without it.
    """
    if precision == "tf32" and device.type != "cuda":
        raise BenchError(f"precision tf32 on {device.type}", "fp32 or bf16 there", "TF32 is of NVIDIA GPUs.")
    kind = torch.bfloat16 if precision == "bf16" else torch.float32
    with products(precision, device.type):
        sizes = _sizes(device, kind)
        found = {size: time_rounds(_product(size, device, kind), device, seconds / len(sizes)) for size in sizes}
    rates = {size: 2 * size**3 / statistics.median(rounds) for size, rounds in found.items()}
    best = max(rates, key=lambda size: rates[size])
    return Ceiling(precision, rates[best], best, found[best], rates)


def _sizes(device: torch.device, kind: torch.dtype) -> list[int]:
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return [size for size in GPU_SIZES if 3 * size**2 * kind.itemsize < free // 2] or [FIRST_SIZE]
    size = FIRST_SIZE
    while size < LAST_SIZE and _warm_seconds(size, device, kind) < LONG_ENOUGH:
        size *= 2
    return [size]


def _warm_seconds(size: int, device: torch.device, kind: torch.dtype) -> float:
    work = _product(size, device, kind)
    work()
    return seconds_of(work, device)


def _product(size: int, device: torch.device, kind: torch.dtype) -> Callable[[], Tensor]:
    generator = torch.Generator(device).manual_seed(0)
    a, b = (torch.randn(size, size, device=device, generator=generator).to(kind) for _ in range(2))
    out = torch.empty_like(a)
    return lambda: torch.mm(a, b, out=out)
