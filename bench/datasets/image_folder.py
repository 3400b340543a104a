"""Your own images: a tree with one folder a class, root/<class>/**/*.jpg.

    bench run soflow --dataset image_folder --set datasets.image_folder.folder=photos/train

Reads the folder; keeps the decoded pixels in the user's cache folder (see _photos.py), so that only the first start decodes.
"""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.datasets import _photos, quantise
from bench.datasets._photos import REMEDY
from bench.errors import BenchError

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
TREE = "a folder that holds one folder a class: FOLDER/<class>/*.jpg"
SPLITS = {"test", "testing", "train", "training", "val", "valid", "validation"}


@dataclass
class Dataset:
    """RGB images in [-1, 1]; classes are the folders' names, sorted. Animations give their first frame.

    Memory: 3 x size x size bytes an image (60,000 images of 32x32: 176 MiB), as pages of the cache file that all processes
    share; twice that while it is written. Raises BenchError for anything that can not be used; nothing is skipped but files
    with other endings and names that begin with a dot.
    """

    folder: str = ""  # the tree, absolute or below the current folder; ~ is the home folder
    size: int = 0  # pixels: the shorter side is resized to this and the centre cropped; 0: as they are, square and of one size
    name: str = field(default="image_folder", init=False)
    classes: tuple[str, ...] = field(init=False)  # by label
    shape: tuple[int, int, int] = field(init=False)
    num_classes: int = field(init=False)
    train_images: int = field(init=False)
    digest: str = field(init=False)  # over pixels, labels, class names and size
    extractor: str = field(default="pixels", init=False)

    def __post_init__(self) -> None:
        root = check_options(self.folder, self.size)
        by_class = find_images(root)
        files = [file for found in by_class.values() for file in found]
        self.classes = tuple(by_class)
        self.num_classes, self.train_images = len(by_class), len(files)
        self._labels = torch.repeat_interleave(torch.tensor([len(found) for found in by_class.values()]))
        self._pixels, pixels_sha256 = _photos.load(root, files, self.size)
        self.shape = (3, self._pixels.shape[2], self._pixels.shape[3])
        text = [pixels_sha256.hex(), hashlib.sha256(self._labels.numpy().tobytes()).hexdigest(), *self.classes, str(self.size)]
        self.digest = hashlib.sha256("\0".join(text).encode(errors="surrogateescape")).hexdigest()

    def images(self, index: Tensor) -> tuple[Tensor, Tensor]:
        return torch.from_numpy(self._pixels[index.numpy()]).float() / 127.5 - 1, self._labels[index]

    def to_uint8(self, x0: Tensor) -> Tensor:
        return quantise(x0)


def check_options(folder: Any, size: Any) -> Path:
    """The folder, once both options can be used. Raises BenchError."""
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= 2048:
        raise BenchError(f"image_folder: size = {size!r}", "a whole number of pixels from 1 to 2048, or 0: as they are", REMEDY)
    if not isinstance(folder, str) or not folder.strip():
        remedy = "Set it in bench.toml, or with --set datasets.image_folder.folder=DIR."
        raise BenchError(f"image_folder: folder = {folder!r}", TREE, remedy)
    root = Path(folder).expanduser()
    if not root.exists():
        where = "" if root.is_absolute() else f" below {Path.cwd()}"
        raise BenchError(f"image_folder: folder {folder!r} does not exist{where}", TREE, REMEDY)
    if not root.is_dir():
        raise BenchError(f"image_folder: {root} is a file", f"{TREE}; archives have to be unpacked", REMEDY)
    return root


def find_images(root: Path) -> dict[str, list[str]]:
    """Class -> its files, relative to `root`; both sorted by name. Raises BenchError for any other tree."""
    try:
        entries = sorted(entry for entry in root.iterdir() if not entry.name.startswith("."))
        folders = [entry for entry in entries if entry.is_dir()]
        found = {folder.name: sorted(str(file.relative_to(root)) for file in walk(folder)) for folder in folders}
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        given = f"image_folder: {error.filename or root} can not be read ({reason})"
        raise BenchError(
            given, "folders that you may read", "Give yourself the permission, or choose another folder."
        ) from error
    loose = [entry.name for entry in entries if entry.suffix.lower() in SUFFIXES and not entry.is_dir()]
    if not folders:
        held = f"holds {len(loose)} images" if loose else "is empty" if not entries else "holds no images"
        remedy = "Move the images into folders named by their class (one folder is enough), or correct `folder` in bench.toml."
        raise BenchError(f"image_folder: {root} {held} and no class folders", TREE, remedy)
    if loose:
        given = f"image_folder: {len(loose)} images lie beside the class folders of {root}, such as {loose[0]}"
        raise BenchError(given, TREE, "Move them into a class folder, or away.")
    check_classes(root, found)
    return found


def check_classes(root: Path, found: dict[str, list[str]]) -> None:
    """Raises BenchError for classes without images, for splits in place of classes, and for a single image."""
    empty = [name for name, files in found.items() if not files]
    if empty:
        named = ", ".join(empty[:3]) + (f" and {len(empty) - 3} more" if len(empty) > 3 else "")
        given = f"image_folder: no images in {len(empty)} of {len(found)} class folders of {root}: {named}"
        raise BenchError(given, f"files that end in {', '.join(SUFFIXES)}", "Put images there, or delete these folders.")
    if all(name.lower() in SPLITS for name in found):
        first = root / max(found, key=lambda name: len(found[name]))
        given = f"image_folder: the folders of {root} are named {', '.join(found)}: splits, not classes"
        raise BenchError(given, TREE, f"Set folder to {str(first)!r}; if these are classes, rename them.")
    if sum(map(len, found.values())) < 2:
        raise BenchError(f"image_folder: {root} holds a single image", "at least 2 images", "Add images, or correct `folder`.")


def walk(folder: Path) -> Iterator[Path]:
    """The image files below a folder, links followed, each folder entered once. Raises OSError for what can not be read."""

    def refuse(error: OSError) -> None:
        raise error

    entered = set()
    for path, folders, files in os.walk(folder, onerror=refuse, followlinks=True):
        status = os.stat(path)
        place = (status.st_dev, status.st_ino)
        if place in entered:  # a link back to a folder above
            folders.clear()
            continue
        entered.add(place)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(path, name) for name in files if name.lower().endswith(SUFFIXES) and not name.startswith("."))
