"""Fashion-MNIST (Xiao, Rasul and Vollgraf 2017, arXiv 1708.07747): 60,000 training images of 28x28, grey, ten classes.

    apt-get install dataset-fashion-mnist      # on Debian: /usr/share/datasets/fashion-mnist
    bench run soflow --dataset fashion_mnist

Reads the two IDX files of the training images, compressed by gzip or not.
"""

import gzip
import hashlib
import struct
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bench.datasets import quantise
from bench.errors import BenchError

CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
DEBIAN = "/usr/share/datasets/fashion-mnist"  # where the package dataset-fashion-mnist puts its files
PUBLISHED = {  # sha256 of the unpacked files: packing them again changes the packed ones
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
}
HELD = f"a folder that holds {' and '.join(PUBLISHED)}, packed (.gz) or not"
REMEDY = "Set [datasets.fashion_mnist] folder; on Debian, apt-get install dataset-fashion-mnist needs no folder."

Bytes = npt.NDArray[np.uint8]


@dataclass
class Dataset:
    """Grey images in [-1, 1]. Raises BenchError for files that are not the published ones."""

    folder: str = ""  # that holds the IDX files; "": where Debian's package puts them
    name: str = field(default="fashion_mnist", init=False)
    classes: tuple[str, ...] = field(default=CLASSES, init=False)
    shape: tuple[int, int, int] = field(init=False)
    num_classes: int = field(default=10, init=False)
    train_images: int = field(init=False)
    digest: str = field(init=False)
    extractor: str = field(default="pixels", init=False)

    def __post_init__(self) -> None:
        root = Path(self.folder or DEBIAN).expanduser()
        pixels, labels = (read_idx(root, name) for name in PUBLISHED)
        if pixels.ndim != 3 or labels.shape != pixels.shape[:1] or labels.max() >= len(CLASSES):
            raise BenchError(f"fashion_mnist: {pixels.shape} pixels and {labels.shape} labels in {root}", HELD, REMEDY)
        self._pixels, self._labels = pixels[:, None], torch.from_numpy(labels.astype(np.int64))
        self.shape, self.train_images = (1, pixels.shape[1], pixels.shape[2]), len(labels)
        self.digest = hashlib.sha256(pixels.tobytes() + labels.tobytes()).hexdigest()

    def images(self, index: Tensor) -> tuple[Tensor, Tensor]:
        return torch.from_numpy(self._pixels[index.numpy()]).float() / 127.5 - 1, self._labels[index]

    def to_uint8(self, x0: Tensor) -> Tensor:
        return quantise(x0)


def read_idx(root: Path, name: str) -> Bytes:
    """The array of bytes in root/name or root/name.gz, once its sha256 is the published one. Raises BenchError.

    IDX: two zero bytes, 8 for bytes, the number of dimensions, their sizes as 32-bit big-endian numbers, the content.
    """
    path = next((path for path in (root / name, root / f"{name}.gz") if path.is_file()), None)
    if path is None:
        what = f"holds no {name}" if root.is_dir() else "does not exist"
        raise BenchError(f"fashion_mnist: {root} {what}", HELD, REMEDY)
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise BenchError(f"fashion_mnist: {path} can not be unpacked ({error})", HELD, "Restore it.") from error
    found = hashlib.sha256(content).hexdigest()
    if found != PUBLISHED[name]:
        given = f"fashion_mnist: {path} unpacks to sha256 {found[:12]}...: another file, or a damaged one"
        raise BenchError(given, f"the published file, sha256 {PUBLISHED[name][:12]}...", "Restore it.")
    dimensions = content[3]
    shape = struct.unpack_from(f">{dimensions}I", content, 4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions).reshape(shape)
