"""Randomness by purpose and position: nothing depends on what was drawn before, on batch sizes or on process counts.

generator(seed, "train", images_seen)       # the draws of one training batch
image_noise(seed, "noise", range(64), shape)  # one generator an image
"""

import hashlib
from collections.abc import Iterable

import torch
from torch import Tensor


def derive(seed: int, purpose: str, *position: int) -> int:
    """A 63-bit seed from (seed, purpose, position), by SHA-256."""
    text = ":".join([str(seed), purpose, *map(str, position)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, purpose: str, *position: int) -> torch.Generator:
    """A CPU generator for one purpose at one position: the same numbers on every device."""
    return torch.Generator().manual_seed(derive(seed, purpose, *position))


def image_noise(seed: int, purpose: str, images: Iterable[int], shape: tuple[int, int, int], *position: int) -> Tensor:
    """(len(images), C, H, W) standard normal, image i from its own generator."""
    numbers = list(images)
    found, own = torch.empty(len(numbers), *shape), torch.Generator()
    for row, i in zip(found.unbind(), numbers, strict=True):  # one generator, seeded anew: as many of them cost a fifth more
        row.normal_(generator=own.manual_seed(derive(seed, purpose, i, *position)))
    return found


def image_labels(seed: int, images: Iterable[int], num_classes: int, rule: str) -> Tensor:
    """(len(images),) int64. "random": uniform, from image i's own generator; "balanced": i modulo the classes."""
    if rule == "balanced":
        return torch.tensor([i % num_classes for i in images])
    return torch.tensor([int(torch.randint(num_classes, (), generator=generator(seed, "label", i))) for i in images])
