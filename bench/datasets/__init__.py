"""Data sets: a file NAME.py in this folder with a class `Dataset` (fields are the options, from bench.toml).

Images are float32 (B, C, H, W), about in [-1, 1]; labels int64 (B,). Batches are addressed by position, so that
resuming is exact. uint8 appears only at the edge, in `to_uint8`.
"""

import contextlib
import contextvars
import dataclasses
import functools
from collections.abc import Iterator
from typing import Any, Protocol

import torch
from torch import Tensor

from bench import plugins, rng
from bench.errors import BenchError, suggestion


class Dataset(Protocol):
    name: str
    shape: tuple[int, int, int]  # (C, H, W)
    num_classes: int
    train_images: int
    extractor: str  # the feature extractor that `bench eval` uses unless told otherwise

    @property
    def digest(self) -> str:
        """sha256 of the content: images, labels and how they were prepared."""
        ...

    def images(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """The images (len(index), C, H, W) and labels of these positions in [0, train_images)."""
        ...

    def to_uint8(self, x0: Tensor) -> Tensor:
        """(B, C, H, W) from the space that is trained in to uint8 pixels, (B, channels, height, width)."""
        ...


def names() -> list[str]:
    import bench.datasets as package

    return plugins.plugin_names(package)


def dataset_class(name: str) -> type[Any]:
    import bench.datasets as package

    return plugins.plugin_class(package, name, "Dataset", "data set")


def load(name: str, **options: Any) -> Dataset:
    """The data set `name`. Raises BenchError for an unknown name or option, and for data that can not be read."""
    cls = dataset_class(name)
    allowed = [f.name for f in dataclasses.fields(cls) if f.init]
    for key in options:
        if key not in allowed:
            raise BenchError(
                f"Unknown option {key!r} of data set {name}{suggestion(key, allowed)}",
                ", ".join(allowed) or "no options",
                f"Correct [datasets.{name}] in bench.toml.",
            )
    dataset: Dataset = cls(**options)
    return dataset


def pixel_shape(dataset: Dataset) -> tuple[int, int, int]:
    """(channels, height, width) of its uint8 images."""
    x0, _ = dataset.images(torch.arange(1))
    channels, height, width = dataset.to_uint8(x0).shape[1:]
    return channels, height, width


# Pixels

QUANTISER = "127.5x+128"  # ADM's and SoFlow's: the nearest level
OFFSETS = {QUANTISER: 128.0, "127.5x+127.5": 127.5}  # the latter truncates, half a level lower: torchmetrics, some ports
_offset: contextvars.ContextVar[float] = contextvars.ContextVar("offset", default=OFFSETS[QUANTISER])


def quantise(x: Tensor) -> Tensor:
    """[-1, 1] -> uint8: 127.5 x + 128, clamped to [0, 255], truncated; another offset inside `quantising`."""
    return (x.float() * 127.5 + _offset.get()).clamp(0, 255).to(torch.uint8)


@contextlib.contextmanager
def quantising(name: str) -> Iterator[None]:
    """Within, generated images become pixels by this rule of OFFSETS, whatever the data set. For evaluation alone."""
    token = _offset.set(OFFSETS[name])
    try:
        yield
    finally:
        _offset.reset(token)


@functools.lru_cache(maxsize=4)
def _permutation(seed: int, epoch: int, count: int) -> Tensor:
    return torch.randperm(count, generator=rng.generator(seed, "order", epoch))


def batch(dataset: Dataset, seed: int, images_seen: int, size: int) -> tuple[Tensor, Tensor]:
    """The images at positions images_seen ... + size of the endless stream of shuffled epochs."""
    positions = torch.arange(images_seen, images_seen + size)
    epochs, within = positions // dataset.train_images, positions % dataset.train_images
    parts = [
        _permutation(seed, e, dataset.train_images)[within[epochs == e]] for e in range(int(epochs[0]), int(epochs[-1]) + 1)
    ]
    return dataset.images(torch.cat(parts))
