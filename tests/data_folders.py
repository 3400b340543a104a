"""Small folders with the form of real data sets: CIFAR-10's two layouts, Fashion-MNIST's IDX files."""

import gzip
import hashlib
import pickle
import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from bench import rng
from bench.datasets import cifar10, fashion_mnist

Bytes = npt.NDArray[np.uint8]


def numbers(count: int, *shape: int) -> Bytes:
    return np.random.default_rng(rng.derive(0, "folder")).integers(0, 256, (count, *shape), dtype=np.uint8)


def labels_of(count: int) -> Bytes:
    return (np.arange(count) % 10).astype(np.uint8)


# CIFAR-10


def save_cifar10(
    root: Path, monkeypatch: pytest.MonkeyPatch, *, layout: str = cifar10.BINARY, pixels: Bytes | None = None
) -> Path:
    """Five files of four images; their MD5 counts as published."""
    pixels = numbers(20, cifar10.PIXELS) if pixels is None else pixels
    names = [name for name in cifar10.PUBLISHED if name.startswith(f"{layout}/")]
    for i, name in enumerate(names):
        part, labels = pixels[4 * i : 4 * i + 4], labels_of(20)[4 * i : 4 * i + 4]
        binary = np.concatenate([labels[:, None], part], axis=1).tobytes()
        write(root / name, binary if layout == cifar10.BINARY else python2_pickle(part, labels.tolist()), monkeypatch)
    return root


def write(path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    key = f"{path.parent.name}/{path.name}"
    monkeypatch.setitem(cifar10.PUBLISHED, key, hashlib.md5(content, usedforsecurity=False).hexdigest())


def python2_pickle(pixels: Bytes, labels: list[int]) -> bytes:
    """{"data": array, "labels": labels} as Python 2 and the numpy of its time wrote it, in which strings are bytes."""

    def text(value: bytes) -> bytes:
        return pickle.BINSTRING + struct.pack("<i", len(value)) + value

    def whole(value: int) -> bytes:
        return pickle.BININT + struct.pack("<i", value)

    kind = b"cnumpy\ndtype\n" + pickle.MARK + text(b"u1") + whole(0) + whole(1) + pickle.TUPLE + pickle.REDUCE
    state = [whole(3), text(b"|"), pickle.NONE, pickle.NONE, pickle.NONE, whole(-1), whole(-1), whole(0)]
    kind += pickle.MARK + b"".join(state) + pickle.TUPLE + pickle.BUILD
    array = b"cnumpy.core.multiarray\n_reconstruct\n" + pickle.MARK + b"cnumpy\nndarray\n"
    array += whole(0) + pickle.TUPLE1 + text(b"b") + pickle.TUPLE + pickle.REDUCE
    shape = whole(pixels.shape[0]) + whole(pixels.shape[1]) + pickle.TUPLE2
    array += pickle.MARK + whole(1) + shape + kind + pickle.NEWFALSE + text(pixels.tobytes()) + pickle.TUPLE + pickle.BUILD
    listed = pickle.EMPTY_LIST + pickle.MARK + b"".join(whole(label) for label in labels) + pickle.APPENDS
    items = text(b"data") + array + text(b"labels") + listed + text(b"batch_label") + text(b"training batch 1 of 5")
    return pickle.PROTO + b"\x02" + pickle.EMPTY_DICT + pickle.MARK + items + pickle.SETITEMS + pickle.STOP


# Fashion-MNIST


def save_fashion_mnist(
    root: Path, monkeypatch: pytest.MonkeyPatch, *, packed: bool = True, pixels: Bytes | None = None
) -> Path:
    """20 images; the digests of their files count as published."""
    pixels = numbers(20, 28, 28) if pixels is None else pixels
    root.mkdir(parents=True, exist_ok=True)
    for name, array in zip(fashion_mnist.PUBLISHED, (pixels, labels_of(20)), strict=True):
        content = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()
        path = root / (f"{name}.gz" if packed else name)
        path.write_bytes(gzip.compress(content) if packed else content)
        monkeypatch.setitem(fashion_mnist.PUBLISHED, name, hashlib.sha256(content).hexdigest())
    return root
