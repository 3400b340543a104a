"""How float32 sums are computed: whole, whatever the process chose, or in TF32.

    with exact_float32("cuda"):     # of an extractor: no autocast, no TF32, no bfloat16 inside
        features = net(images)
    with products("tf32", "cuda"):  # of training and sampling
        step(...)

A feature of Inception moves by 0.5 under bfloat16 autocast, and cuDNN computes convolutions in TF32 unless told not to.
"""

import contextlib
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import backends

_CPU = [getattr(backends.mkldnn, name, None) for name in ("matmul", "conv", "rnn")]  # has no TF32
_LOCK = threading.RLock()  # the switches belong to the process: one forward at a time, or another's exit would flip them


@contextlib.contextmanager
def exact_float32(device: str) -> Iterator[None]:
    """Within, float32 is float32 on `device`; after, every switch is as it was. Holds a lock: one thread at a time."""
    with _LOCK, torch.autocast(torch.device(device).type, enabled=False):
        restore = _switch("highest", False, "ieee")
        try:
            yield
        finally:
            restore()


@contextlib.contextmanager
def products(precision: str, device: str) -> Iterator[None]:
    """Within, matrix products and convolutions of float32 on a GPU are in TF32, or not at all; the CPU has none."""
    if torch.device(device).type != "cuda":
        yield
        return
    restore = _switch("high", True, "tf32") if precision == "tf32" else _switch("highest", False, "ieee")
    try:
        yield
    finally:
        restore()


def _switch(matmul: str, cudnn: bool, newer: str) -> Callable[[], None]:
    """Set every switch. Gives what restores them.

    torch 2.9 has a second set of switches (fp32_precision) and refuses to read the first where the two disagree, in its own
    matrix products too. So both are set, the newer after the older, which writes it as well.
    """
    old = _legacy()
    new = [(module, module.fp32_precision) for module in _modules()]
    with _quiet():
        _set_legacy(matmul, cudnn)
    for module, _ in new:
        if newer == "ieee" or module not in _CPU:
            module.fp32_precision = newer

    def restore() -> None:
        with _quiet():
            _set_legacy(*old)
        for module, precision in new:
            module.fp32_precision = precision

    return restore


def _modules() -> list[Any]:
    """What holds a switch `fp32_precision`; nothing before torch 2.9."""
    if not hasattr(backends.cuda.matmul, "fp32_precision"):
        return []
    cudnn, mkldnn = backends.cudnn, backends.mkldnn
    return [backends.cuda.matmul, cudnn.conv, cudnn.rnn, mkldnn.matmul, mkldnn.conv, mkldnn.rnn]  # type: ignore[attr-defined]


def _legacy() -> tuple[str, bool]:
    """The older switches, of matrix products and cuDNN; torch's defaults where it refuses to tell: only the newer were used."""
    matmul, cudnn = "highest", True
    with _quiet():
        with contextlib.suppress(RuntimeError):
            matmul = torch.get_float32_matmul_precision()
        with contextlib.suppress(RuntimeError):
            cudnn = backends.cudnn.allow_tf32
    return matmul, cudnn


def _set_legacy(matmul: str, cudnn: bool) -> None:
    torch.set_float32_matmul_precision(matmul)
    backends.cudnn.allow_tf32 = cudnn


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without torch's advice to use the newer switches: they are used."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Please use the new API settings", UserWarning)
        yield
