"""Fashion-MNIST: IDX files, packed or not; other files are refused."""

from pathlib import Path

import numpy as np
import pytest
import torch

from bench.datasets import fashion_mnist
from bench.datasets.fashion_mnist import Dataset
from bench.errors import BenchError
from data_folders import labels_of, numbers, save_fashion_mnist


def test_packed_or_not_the_same_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = numbers(20, 28, 28)
    packed = Dataset(str(save_fashion_mnist(tmp_path / "a", monkeypatch)))
    bare = Dataset(str(save_fashion_mnist(tmp_path / "b", monkeypatch, packed=False)))
    assert packed.digest == bare.digest
    for dataset in (packed, bare):
        x0, label = dataset.images(torch.arange(20))
        assert dataset.shape == (1, 28, 28)
        np.testing.assert_array_equal(dataset.to_uint8(x0)[:, 0].numpy(), pixels)
        assert label.tolist() == labels_of(20).tolist()


def test_other_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = save_fashion_mnist(tmp_path, monkeypatch, packed=False)
    path = root / "train-images-idx3-ubyte"
    content = path.read_bytes()
    for other in (content[:-1], content[:500] + bytes([content[500] ^ 1]) + content[501:], b""):
        path.write_bytes(other)
        with pytest.raises(BenchError, match="another file, or a damaged one"):
            Dataset(str(root))
    path.unlink()
    (root / "train-images-idx3-ubyte.gz").write_bytes(b"no gzip")
    with pytest.raises(BenchError, match="can not be unpacked"):
        Dataset(str(root))


def test_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fashion_mnist, "DEBIAN", str(tmp_path / "usr"))
    for folder, what in (("", "usr does not exist"), (str(tmp_path), "holds no train-images-idx3-ubyte")):
        with pytest.raises(BenchError) as caught:
            Dataset(folder)
        assert what in caught.value.given
        assert "dataset-fashion-mnist" in caught.value.remedy


def test_debians_files_where_they_are_installed() -> None:
    """The published digests are right: of the real files."""
    if not Path(fashion_mnist.DEBIAN).is_dir():
        pytest.skip("Debian's package dataset-fashion-mnist is not installed")
    dataset = Dataset()
    assert (dataset.train_images, dataset.shape) == (60_000, (1, 28, 28))
    assert torch.bincount(dataset.images(torch.arange(60_000))[1]).tolist() == [6_000] * 10
