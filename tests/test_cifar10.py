"""CIFAR-10: both layouts give the same images, nothing that is not data is read, and the download is only what it says."""

import hashlib
import io
import os
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.datasets import cifar10
from bench.datasets.cifar10 import BINARY, PICKLES, Dataset
from bench.errors import BenchError
from data_folders import labels_of, numbers, python2_pickle, save_cifar10, write
from pictures import own_cache

PIXELS = numbers(20, cifar10.PIXELS)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return own_cache(tmp_path / "cache", monkeypatch)


def test_both_layouts_hold_the_same_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    binary = Dataset(str(save_cifar10(tmp_path / "a", monkeypatch)))
    pickles = Dataset(str(save_cifar10(tmp_path / "b", monkeypatch, layout=PICKLES)))
    assert binary.digest == pickles.digest
    for dataset in (binary, pickles):
        x0, label = dataset.images(torch.arange(20))
        assert label.tolist() == labels_of(20).tolist()
        np.testing.assert_array_equal(dataset.to_uint8(x0).numpy(), PIXELS.reshape(20, 3, 32, 32))
        assert dataset.classes[int(label[3])] == "cat"


def test_pickles_as_torchvision_reads_them() -> None:
    """The test's hand-made pickle is one: Python's own reader and numpy agree with ours on it."""
    content = python2_pickle(PIXELS[:4], [3, 1, 4, 1])
    theirs = pickle.loads(content, encoding="latin1")
    ours, labels = cifar10._from_pickle(content)
    np.testing.assert_array_equal(theirs["data"], ours)
    assert theirs["labels"] == labels.tolist()
    modern = pickle.dumps({"data": PIXELS[:4], "labels": [3, 1, 4, 1]}, protocol=4)
    np.testing.assert_array_equal(cifar10._from_pickle(modern)[0], PIXELS[:4])


class Hostile:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("published", [True, False])
def test_a_pickle_runs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, published: bool) -> None:
    root = save_cifar10(tmp_path / "data", monkeypatch, layout=PICKLES)
    content = pickle.dumps({"data": Hostile(tmp_path / "made"), "labels": [0]}, protocol=4)
    path = root / PICKLES / "data_batch_2"
    if published:  # even with the right digest
        write(path, content, monkeypatch)
    path.write_bytes(content)
    with pytest.raises(BenchError, match="posix.mkdir: that is no data" if published else "another file, or a damaged one"):
        Dataset(str(root))
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    "batch",
    [
        {"labels": [0] * 4},
        {"data": PIXELS[:4].astype(np.float32), "labels": [0] * 4},
        {"data": PIXELS[:4], "labels": [0] * 3},
        {"data": PIXELS[:4], "labels": [0, 1, 2, 10]},
        {"data": PIXELS[:4], "labels": [0, 1, 2, -1]},
        {"data": "pixels", "labels": [0] * 4},
    ],
    ids=["no data", "floats", "too few labels", "eleventh class", "negative label", "text"],
)
def test_what_is_no_batch_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: object) -> None:
    root = save_cifar10(tmp_path / "data", monkeypatch, layout=PICKLES)
    write(root / PICKLES / "data_batch_5", pickle.dumps(batch, protocol=4), monkeypatch)
    with pytest.raises(BenchError, match="data_batch_5 is no batch of CIFAR-10"):
        Dataset(str(root))


def test_a_changed_byte_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save_cifar10(tmp_path / "data", monkeypatch) / BINARY / "data_batch_3.bin"
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.write_bytes(content)
    with pytest.raises(BenchError) as caught:
        Dataset(str(tmp_path / "data"))
    assert "data_batch_3.bin has MD5" in caught.value.given
    assert cifar10.PUBLISHED[f"{BINARY}/data_batch_3.bin"] in caught.value.allowed


def test_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BenchError) as caught:
        Dataset()
    assert "does not exist" in caught.value.given
    assert "bench data fetch cifar10" in caught.value.remedy
    root = save_cifar10(tmp_path / "data", monkeypatch)
    (root / BINARY / "data_batch_4.bin").unlink()
    with pytest.raises(BenchError, match=r"lacks cifar-10-batches-bin/data_batch_4\.bin"):
        Dataset(str(root))


# Fetching


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """The archive with five small batches, and a member that would like to lie elsewhere."""
    root = save_cifar10(tmp_path / "packed", monkeypatch)
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        tar.add(root / BINARY, BINARY)
        outside = tarfile.TarInfo("../outside.txt")
        outside.size = 1
        tar.addfile(outside, io.BytesIO(b"x"))
    monkeypatch.setattr(cifar10, "ARCHIVE_SHA256", hashlib.sha256(file.getvalue()).hexdigest())
    return file.getvalue()


def test_fetch_takes_the_batches_and_nothing_else(monkeypatch: pytest.MonkeyPatch, archive: bytes) -> None:
    asked = []

    def download(url: str, part: Path, size: int, **_: object) -> None:
        asked.append((url, size))
        part.write_bytes(archive)

    monkeypatch.setattr(cifar10, "download", download)
    assert cifar10.fetch(cifar10.default_folder()) == cifar10.default_folder() / BINARY
    assert asked == [("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz", 170_052_171)]
    assert Dataset().train_images == 20, "the default folder is where fetch puts it"
    cifar10.fetch(cifar10.default_folder())
    assert len(asked) == 1, "what is there is not fetched again"
    names = {path.name for path in cifar10.default_folder().parent.rglob("*") if path.is_file()}
    assert names == {".lock", *(f"data_batch_{i}.bin" for i in range(1, 6))}


def test_another_archive_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, archive: bytes) -> None:
    monkeypatch.setattr(cifar10, "download", lambda _, part, *__, **___: part.write_bytes(archive + b"x"))
    with pytest.raises(BenchError, match="it was deleted"):
        cifar10.fetch(tmp_path / "new")
    assert [path.name for path in (tmp_path / "new").iterdir()] == [".lock"]
