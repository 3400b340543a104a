"""Which images the networks trained on photographs take: colour, or grey three times over."""

import torch
from torch import Tensor

from bench.errors import BenchError


def check_shape(name: str, shape: tuple[int, int, int]) -> dict[str, str]:
    """What the protocol says of grey images. Raises BenchError unless `shape` (C, H, W) is a grey or a colour image."""
    channels, height, width = shape
    if channels not in (1, 3) or min(height, width) < 1:
        raise BenchError(
            f"Extractor {name} on images of {'x'.join(map(str, shape))} (channels x height x width)",
            "3 channels, or 1, which is repeated; of any size",
            "Use --set eval.extractor=pixels, which takes any image.",
        )
    return {"grey": "repeated to 3 channels"} if channels == 1 else {}


def colour(images: Tensor, device: str) -> Tensor:
    """uint8 (B, 1 or 3, H, W) -> uint8 (B, 3, H, W) on `device`. Raises TypeError for anything else: quantising is not ours."""
    if images.dtype != torch.uint8:
        raise TypeError(f"images of {images.dtype}; extractors take uint8")
    return images.to(device).expand(-1, 3, -1, -1)
