"""Images that the suite did not make, for tests: blobs of grey or of colour, and folders of them."""

from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F


def grey_images(count: int, seed: int = 0, side: int = 8) -> Tensor:
    """uint8 (count, 1, side, side)."""
    return blobs(count, 1, seed, side)


def blobs(count: int, channels: int, seed: int = 0, side: int = 8) -> Tensor:
    """uint8 (count, channels, side, side): 4x4 random levels, enlarged."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand((count, channels, 4, 4), generator=generator)
    images = F.interpolate(coarse, (side, side), mode="bilinear", align_corners=False)
    return (images * 255).round().byte()


def save_folder(root: Path, images: Tensor, prefix: str = "") -> Path:
    """uint8 (n, 1 or 3, H, W) as PNG files root/<n modulo 3>/<number>.png, grey or in colour."""
    for i, image in enumerate(images):
        (root / str(i % 3)).mkdir(parents=True, exist_ok=True)
        pixels = image[0] if len(image) == 1 else image.permute(1, 2, 0)
        Image.fromarray(pixels.numpy()).save(root / str(i % 3) / f"{prefix}{i:04}.png")
    return root
