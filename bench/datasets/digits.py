"""The embedded default: the 1,797 handwritten digits (8x8, 10 classes) that scikit-learn ships.

Source: the test set of "Optical Recognition of Handwritten Digits" (Alpaydin & Kaynak 1998, UCI). Pixels are 0 ... 16.
"""

import hashlib
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from bench.datasets import quantise


@dataclass
class Dataset:
    name: str = field(default="digits", init=False)
    shape: tuple[int, int, int] = field(default=(1, 8, 8), init=False)
    num_classes: int = field(default=10, init=False)
    train_images: int = field(default=1797, init=False)
    extractor: str = field(default="digits", init=False)

    @cached_property
    def _all(self) -> tuple[Tensor, Tensor]:
        from sklearn.datasets import load_digits

        pixels, labels = load_digits(return_X_y=True)
        x0 = torch.from_numpy(pixels).float().reshape(-1, 1, 8, 8) / 8 - 1  # [-1, 1]
        return x0, torch.from_numpy(labels).long()

    @cached_property
    def digest(self) -> str:
        x0, label = self._all
        return hashlib.sha256(x0.numpy().tobytes() + label.numpy().tobytes()).hexdigest()

    def images(self, index: Tensor) -> tuple[Tensor, Tensor]:
        x0, label = self._all
        return x0[index], label[index]

    def to_uint8(self, x0: Tensor) -> Tensor:
        return quantise(x0)
