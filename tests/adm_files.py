"""Files of statistics as ADM publishes them, for tests, and an extractor that has all that they are of."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from bench import references, stats
from bench.extractors import Outputs
from sources import grey_images

DIM = 64
GREY = (1, 8, 8)
MAKING = stats.Making(device="cpu")


class Eyes:
    """Coarse pixels, and some of them as features that keep their place."""

    name, dim, spatial_dim, digest = "eyes", DIM, 10, "0" * 64
    metrics = ("frechet_distance", "spatial_frechet_distance", "kernel_distance", "precision")

    def outputs(self, batch: Tensor) -> Outputs:
        features = self.features(batch)
        return Outputs(features, None, features[:, :10])

    def features(self, batch: Tensor) -> Tensor:
        return batch.float().mean(1).flatten(1) / 255

    def logits(self, batch: Tensor) -> None:
        return None


class Counting(Eyes):
    """How many images it saw."""

    seen = 0

    def features(self, batch: Tensor) -> Tensor:
        self.seen += len(batch)
        return super().features(batch)


def covariance(dim: int, seed: int = 0) -> np.ndarray[Any, Any]:
    x = np.random.default_rng(seed).normal(size=(2 * dim, dim))
    return np.cov(x, rowvar=False)


def adm(path: Path, **other: Any) -> Path:
    """A file as ADM publishes them, of 8x8 images; `other` replaces arrays, None leaves one out."""
    numbers = np.random.default_rng(1)
    arrays = {
        "arr_0": grey_images(30, seed=5).permute(0, 2, 3, 1).numpy(),
        "mu": numbers.normal(size=DIM),
        "sigma": covariance(DIM),
        "mu_s": numbers.uniform(size=10),
        "sigma_s": covariance(10),
    } | other
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return path


def spoil(path: Path, member: str, at: float = 0.5) -> Path:
    """Flip a byte in the content of a stored array."""
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo(f"{member}.npy")
    place = info.header_offset + 200 + int(at * (info.compress_size - 200))
    data = bytearray(path.read_bytes())
    data[place] ^= 0xFF
    path.write_bytes(bytes(data))
    return path


def of_file(path: Path, extractor: Any, folder: Path) -> references.Reference:
    return references.origin(str(path), folder).reference(extractor)
