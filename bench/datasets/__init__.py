"""Data sets: a file NAME.py in this folder with a class `Dataset` (fields are the options, from bench.toml).

Images are float32 (B, C, H, W), about in [-1, 1]; labels int64 (B,). Batches are addressed by position, so that
resuming is exact. uint8 appears only at the edge, in `to_uint8`. It needs what `Dataset` lists; these are optional:

    varied(index, positions, seed) -> images, labels   what training sees in place of `images`, where that has randomness of
                         its own (a posterior's sample, a flip): image i follows from (index[i], positions[i], seed) alone
    place(device) -> str       brings the data near the device where it fits; a sentence that says where it is. From then on
                         images may come on that device
    decodes: bool              whether `to_uint8` is a network, whose time is measured apart
    conditions: dict[str, Any] what else moves a score (the decoder's weights and precision), JSON; part of the protocol
"""

import contextlib
import contextvars
import dataclasses
import functools
import hashlib
import json
from collections.abc import Callable, Iterator
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


def batch(dataset: Dataset, seed: int, images_seen: int, size: int, rows: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The images at positions images_seen ... + size of the endless stream of shuffled epochs.

    `rows` (b,) int64 in [0, size): only these of them are loaded, for one process of many; equal to batch(...)[rows].
    """
    positions = torch.arange(images_seen, images_seen + size)
    if rows is not None:
        positions = positions[rows]
    epochs, within = positions // dataset.train_images, positions % dataset.train_images
    index = torch.empty_like(positions)
    for epoch in torch.unique(epochs).tolist():
        there = epochs == epoch
        index[there] = _permutation(seed, epoch, dataset.train_images)[within[there]]
    varied: Callable[[Tensor, Tensor, int], tuple[Tensor, Tensor]] | None = getattr(dataset, "varied", None)
    return varied(index, positions, seed) if varied else dataset.images(index)


# What a data set may leave out


def place(dataset: Dataset, device: torch.device) -> str:
    """Bring the data near the device, where the data set can; a sentence that says where it is, "" where it can not."""
    own: Callable[[torch.device], str] | None = getattr(dataset, "place", None)
    return own(device) if own else ""


def decodes(dataset: Dataset) -> bool:
    return bool(getattr(dataset, "decodes", False))


def conditions_of(dataset: Dataset) -> dict[str, Any]:
    return dict(getattr(dataset, "conditions", {}))


def pixels_digest(dataset: Dataset) -> str:
    """sha256 of what its real images are as uint8: of the data, and of the decoder where there is one."""
    conditions = conditions_of(dataset)
    if not conditions:
        return dataset.digest
    return hashlib.sha256(json.dumps([dataset.digest, conditions], sort_keys=True).encode()).hexdigest()
