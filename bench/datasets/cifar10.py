"""CIFAR-10 (Krizhevsky 2009): the 50,000 training images of 32x32, as the author or torchvision lays them on disk.

    bench data fetch cifar10
    bench run soflow --dataset cifar10 --net T/4

Allowed are cifar-10-batches-bin/ (the binary version) and cifar-10-batches-py/ (pickles, of which torchvision's folder
consists); both hold the same images in the same order. Files are read after their published MD5 was compared. Pickles are
read by an unpickler that makes dictionaries, lists, strings, numbers and arrays of bytes and refuses all else.
"""

import hashlib
import io
import os
import pickle
import tarfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from filelock import FileLock
from torch import Tensor

from bench.datasets import quantise
from bench.download import Watch, download
from bench.errors import BenchError
from bench.store import explain_os_errors, suite_cache, write_atomic

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
BINARY, PICKLES = "cifar-10-batches-bin", "cifar-10-batches-py"
PUBLISHED = {  # MD5 of the training files; of the pickles as torchvision lists them
    f"{BINARY}/data_batch_1.bin": "5dd7e06a14cb22eb9f671a540d1b7c25",
    f"{BINARY}/data_batch_2.bin": "5ea93a67294ea407fff1d09f752e9692",
    f"{BINARY}/data_batch_3.bin": "942cd6a4bcdd0dd3c604fbe906cb4421",
    f"{BINARY}/data_batch_4.bin": "ae636b3ba5c66a11e91e8cb52e771fcb",
    f"{BINARY}/data_batch_5.bin": "53f37980c15c3d472c316c40844f3f0d",
    f"{PICKLES}/data_batch_1": "c99cafc152244af753f735de768cd75f",
    f"{PICKLES}/data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    f"{PICKLES}/data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    f"{PICKLES}/data_batch_4": "634d18415352ddfa80567beed471001a",
    f"{PICKLES}/data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
}
ADDRESS = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
ARCHIVE_BYTES = 170_052_171
ARCHIVE_SHA256 = "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
PIXELS = 3 * 32 * 32
HELD = f"a folder that holds {BINARY}/ or {PICKLES}/ with the five published training files"
BY_HAND = f"bring {ADDRESS} by hand, unpack it, and set [datasets.cifar10] folder"

Bytes = npt.NDArray[np.uint8]


@dataclass
class Dataset:
    """RGB images in [-1, 1], the same from either layout. Raises BenchError for files that are not the published ones."""

    folder: str = ""  # that holds one of the two layouts; "": where `bench data fetch cifar10` puts it
    name: str = field(default="cifar10", init=False)
    classes: tuple[str, ...] = field(default=CLASSES, init=False)
    shape: tuple[int, int, int] = field(default=(3, 32, 32), init=False)
    num_classes: int = field(default=10, init=False)
    train_images: int = field(init=False)
    digest: str = field(init=False)
    extractor: str = field(default="pixels", init=False)

    def __post_init__(self) -> None:
        root = Path(self.folder).expanduser() if self.folder else default_folder()
        read = [read_batch(path) for path in find_files(root)]
        self._pixels = np.concatenate([pixels for pixels, _ in read])
        self._labels = torch.from_numpy(np.concatenate([labels for _, labels in read])).long()
        self.train_images = len(self._labels)
        self.digest = hashlib.sha256(self._pixels.tobytes() + self._labels.numpy().tobytes()).hexdigest()

    def images(self, index: Tensor) -> tuple[Tensor, Tensor]:
        return torch.from_numpy(self._pixels[index.numpy()]).float() / 127.5 - 1, self._labels[index]

    def to_uint8(self, x0: Tensor) -> Tensor:
        return quantise(x0)


# Reading


def default_folder() -> Path:
    return suite_cache() / "cifar10"


def find_files(root: Path) -> list[Path]:
    """The training files of the one layout or the other, in order. Raises BenchError where neither is whole."""
    what = "holds neither layout" if root.is_dir() else "does not exist"
    for layout in (BINARY, PICKLES):
        files = [root / name for name in PUBLISHED if name.startswith(f"{layout}/")]
        missing = [path.name for path in files if not path.is_file()]
        if not missing:
            return files
        if len(missing) < len(files):
            what = f"lacks {layout}/{f', {layout}/'.join(missing)}"
    remedy = f"Correct [datasets.cifar10] folder, or run `bench data fetch cifar10` where there is a network, or {BY_HAND}."
    raise BenchError(f"cifar10: {root} {what}", HELD, remedy)


def read_batch(path: Path) -> tuple[Bytes, Bytes]:
    """uint8 pixels (n, 3, 32, 32) and labels (n,) of one file, once its MD5 is the published one. Raises BenchError."""
    content = path.read_bytes()
    expected = PUBLISHED[f"{path.parent.name}/{path.name}"]
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found != expected:
        given = f"cifar10: {path} has MD5 {found}: another file, or a damaged one"
        raise BenchError(given, f"the published file, MD5 {expected}", "Restore it, or use your own images as an image_folder.")
    try:
        pixels, labels = _from_binary(content) if path.suffix == ".bin" else _from_pickle(content)
        if pixels.shape != (len(labels), PIXELS) or not len(labels) or labels.max() >= len(CLASSES):
            raise ValueError(f"{pixels.shape} pixels, {len(labels)} labels")
    except (ValueError, KeyError, TypeError, EOFError, pickle.UnpicklingError) as error:
        raise BenchError(f"cifar10: {path} is no batch of CIFAR-10 ({error})", HELD, "Restore it.") from error
    return pixels.reshape(-1, 3, 32, 32), labels


def _from_binary(content: bytes) -> tuple[Bytes, Bytes]:
    """Records of a label and 3,072 pixels."""
    records = np.frombuffer(content, np.uint8).reshape(-1, 1 + PIXELS)
    return records[:, 1:], records[:, 0]


def _from_pickle(content: bytes) -> tuple[Bytes, Bytes]:
    batch = PlainUnpickler(io.BytesIO(content), encoding="latin1").load()
    pixels, labels = batch["data"], batch["labels"]
    if not isinstance(pixels, PlainArray) or not all(type(label) is int and 0 <= label < 256 for label in labels):
        raise ValueError("no array of bytes, or labels that are no small numbers")
    return pixels.as_bytes(), np.array(labels, np.uint8)


class PlainArray:
    """In place of a numpy array while unpickling: keeps what it was told and runs nothing of numpy's."""

    state: tuple[Any, ...] = ()

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.state = state

    def as_bytes(self) -> Bytes:
        """The array, if its type is uint8. Raises ValueError."""
        _, shape, kind, fortran, content = self.state
        if not isinstance(kind, PlainType) or kind.code not in ("u1", "|u1") or fortran:
            raise ValueError("an array of another type than uint8")
        raw = content.encode("latin1") if isinstance(content, str) else content
        return np.frombuffer(raw, np.uint8).reshape(shape)


class PlainType:
    """In place of a numpy data type."""

    def __init__(self, code: str = "", *_: Any) -> None:
        self.code = code

    def __setstate__(self, _: Any) -> None:
        return None


def _reconstruct(*_: Any) -> PlainArray:
    return PlainArray()


IN_PLACE_OF: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy", "ndarray"): PlainArray,
    ("numpy", "dtype"): PlainType,
}


class PlainUnpickler(pickle.Unpickler):
    """Raises pickle.UnpicklingError for everything but plain containers and the parts of an array."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in IN_PLACE_OF:
            raise pickle.UnpicklingError(f"it wants to call {module}.{name}: that is no data")
        return IN_PLACE_OF[module, name]

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("it refers to other files")


# Fetching


def fetch(folder: Path, watch: Watch = lambda *_: None) -> Path:
    """Download the binary version into `folder` unless it is there; returns the folder of its files.

    Raises BenchError without network or for other bytes than the published ones, RunFailed on a full disk.
    """
    target = folder / BINARY
    names = [name for name in PUBLISHED if name.startswith(f"{BINARY}/")]
    with explain_os_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock").acquire()  # two processes would write into one .part
    with lock:
        if not all((folder / name).is_file() for name in names):
            part = folder / f"{os.path.basename(ADDRESS)}.part"
            download(ADDRESS, part, ARCHIVE_BYTES, watch=watch, otherwise=BY_HAND)
            _unpack(part, folder, names)
    for name in names:
        read_batch(folder / name)
    return target


def _unpack(archive: Path, folder: Path, names: list[str]) -> None:
    """Only these members, under these names, whatever else the archive says; it is deleted then."""
    with archive.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != ARCHIVE_SHA256:
        archive.unlink(missing_ok=True)
        given = f"What {ADDRESS} sent has sha256 {found[:12]}...; it was deleted"
        raise BenchError(given, f"sha256 {ARCHIVE_SHA256[:12]}...", f"Run the same command again, or {BY_HAND}.")
    with tarfile.open(archive) as tar:
        for name in names:
            member = tar.extractfile(name)
            assert member is not None, name
            write_atomic(folder / name, member.read())
    archive.unlink(missing_ok=True)
