"""What the networks trained on photographs share: the antialiased bicubic resize, and the reading of their files."""

import contextlib
import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from bench.errors import BenchError
from bench.weights import Weights

RESIZE = "bicubic, antialiased, in float32, clamped to [0, 255], not rounded"  # the name of `clamped_bicubic` in a protocol


def bicubic(images: Tensor, side: int) -> Tensor:
    """uint8 (B, 3, H, W) -> float32 (B, 3, side, side): the whole image, neither clamped nor rounded.

    antialias=True also where it enlarges: without it torch takes another cubic (a = -0.75, not Pillow's -0.5).
    """
    return F.interpolate(images.float(), (side, side), mode="bicubic", antialias=True, align_corners=False)


def clamped_bicubic(images: Tensor, side: int) -> Tensor:
    """`bicubic`, its overshoot at edges cut off: in [0, 255]."""
    return bicubic(images, side).clamp(0, 255)


@contextlib.contextmanager
def reading(weights: Weights, path: Path) -> Iterator[None]:
    """Within, whatever a file raises that is not this network's becomes a BenchError: its digest was the user's own."""
    try:
        yield
    except Exception as error:
        raise BenchError(
            f"{path} holds no weights of this network ({type(error).__name__}: {str(error).strip()[:300]})",
            f"a file laid out as {weights.file_names[0]}",
            f"Correct {weights.option} in bench.toml.",
        ) from error


def timm(extractor: str) -> Any:
    """The package timm. Raises BenchError where it, or the torchvision that it imports, does not load."""
    try:
        return importlib.import_module("timm")
    except (ImportError, RuntimeError, OSError, AttributeError) as error:  # torchvision is compiled against one torch
        raise BenchError(
            f"Extractor {extractor} needs the package timm, which does not import here ({type(error).__name__}: {error})",
            "timm 1.0 or newer, and the torchvision made for the torch that is installed",
            'Run pip install -e ".[natural]", or use --set eval.extractor=pixels.',
        ) from error
