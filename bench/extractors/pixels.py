"""Coarse pixels as features: no network, no weights, any image. Not FID.

The Frechet distance of these sees the mean and covariance of blurred images: it tells noise from pictures and finds a
method that does not learn; it does not rank good generators. It is the stand-in where no feature network is at hand.
"""

import hashlib

import torch
from torch import Tensor
from torch.nn import functional as F

RULE = "pixels: uint8 / 127.5 - 1; adaptive average pooling to min(8, H) x min(8, W); flattened C, H, W; float32"
SIDE = 8


class Extractor:
    """dim = C min(8, H) min(8, W): 192 for colour images of 8x8 and more."""

    name = "pixels"
    digest = hashlib.sha256(RULE.encode()).hexdigest()

    def __init__(self, shape: tuple[int, int, int], device: str = "cpu") -> None:
        channels, height, width = shape
        self.grid = (min(SIDE, height), min(SIDE, width))
        self.dim = channels * self.grid[0] * self.grid[1]
        self.device = device

    @torch.inference_mode()
    def features(self, images: Tensor) -> Tensor:
        x = images.to(self.device).float() / 127.5 - 1
        return F.adaptive_avg_pool2d(x, self.grid).flatten(1)

    def logits(self, images: Tensor) -> None:
        return None
