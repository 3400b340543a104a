"""Images that the suite did not make: a folder of files, or an .npz with arr_0 as ADM's samplers write it.

    source = open_source(Path("samples.npz"))
    for number, images, label in source.batches(source.count): ...      # uint8 (B, C, H, W)

Reads the files; writes nothing. Images are numbered in a fixed random order of their positions (by name, or in the array),
because a standard error comes from leaving out consecutive numbers: folders of classes would be left out whole.
"""

import dataclasses
import hashlib
import io
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from bench import npz, rng
from bench.datasets._photos import decode
from bench.datasets.image_folder import SUFFIXES, walk
from bench.errors import BenchError, unknown
from bench.metrics import dealt_groups

BATCH = 100  # images decoded or read at a time
ORDERS = ("shuffled", "stored")
GREY = ("1", "L", "LA", "La", "I;16", "I;16L", "I;16B", "I;16N")  # Pillow's modes
WHOLE = "whole image files with 8 bits a channel, or 16-bit grey"
NHWC = "arr_0: uint8 (n, height, width, 3 or 1), as ADM's samplers write it"

Shape = tuple[int, int, int]
Batch = tuple[Tensor, Tensor, Tensor | None]  # numbers (B,), images uint8 (B, C, H, W), labels (B,) where there are any


@dataclass(frozen=True)
class Source:
    """Images of one size, and how to read some of them."""

    path: Path
    digest: str  # sha256 of the .npz; of a folder over its files, in the order of their names
    count: int
    shape: Shape  # (C, H, W) that `batches` gives
    read: Callable[[Tensor], Iterator[tuple[Tensor, Tensor]]]  # wanted (count,) bool -> positions, uint8 images
    label: Tensor | None = None  # (count,) int64, by position
    remarks: tuple[str, ...] = ()  # what was done to the images
    order: str = "shuffled"  # or "stored": numbers are positions, as ADM's evaluator takes an .npz

    @property
    def name(self) -> str:
        return self.path.resolve().name.removesuffix(".npz")

    def batches(self, n: int, part: int = 0, parts: int = 1) -> Iterator[Batch]:
        """The images with numbers below n, those of one process: number modulo `parts` is `part`."""
        number = torch.empty(self.count, dtype=torch.int64)
        number[self.positions()] = torch.arange(self.count)
        wanted = (number < n) & (number % parts == part)
        for positions, images in self.read(wanted):
            found = with_channels(images, self.shape[0], self.path)
            yield number[positions], found, None if self.label is None else self.label[positions]

    def positions(self) -> Tensor:
        """(count,) where the image of each number lies."""
        if self.order == "stored":
            return torch.arange(self.count)
        return torch.randperm(self.count, generator=rng.generator(0, "order"))

    def groups(self, n: int) -> Tensor:
        """(n,) which images are left out together, by number: dealt out, for an array may be sorted by class."""
        return dealt_groups(None if self.label is None else self.label[self.positions()[:n]], n)

    def in_channels(self, channels: int) -> "Source":
        """The same in grey (1) or in colour (3), and a remark that says so."""
        if channels == self.shape[0]:
            return self
        done = "grey, taken three times over" if channels == 3 else "colours, of which one channel is taken: all are grey"
        remarks = (*self.remarks, f"{self.name}: {done}")
        return dataclasses.replace(self, shape=(channels, *self.shape[1:]), remarks=remarks)


def with_channels(images: Tensor, channels: int, path: Path) -> Tensor:
    """uint8 (B, 1 or 3, H, W) with `channels`. Raises BenchError rather than lose colours."""
    if images.shape[1] == channels:
        return images
    if channels == 3:
        return images.expand(-1, 3, -1, -1)
    if not bool((images == images[:, :1]).all()):
        given = f"The images of {path} have colours, those to compare them with are grey"
        raise BenchError(given, "both grey, or both in colour", "Convert one side, or compare with a reference in colour.")
    return images[:, :1]


def open_source(path: Path, order: str = "shuffled") -> Source:
    """The folder or the .npz. Raises BenchError for what can not be used, as far as that is known before all is read."""
    if order not in ORDERS:
        raise unknown("order", order, ORDERS, "shuffled, unless a score has to follow the order of the array.")
    if not path.exists():
        raise BenchError(f"{path} does not exist", "a folder of images, or an .npz with arr_0", "Correct the path.")
    if path.is_dir() and order == "stored":
        raise BenchError(f"{path} in its stored order", "an .npz: a folder has none", "Leave out --stored-order.")
    if path.is_dir():
        source = _open_folder(path)
    elif path.suffix.lower() in SUFFIXES:
        raise BenchError(f"{path} is a single image", "a folder of images, or an .npz with arr_0", "Name its folder.")
    else:
        source = _open_npz(path)
    return dataclasses.replace(source, order=order)


# A folder


def _open_folder(root: Path) -> Source:
    """Any depth; grey where all files are grey, else in colour."""
    try:
        files = sorted(file.relative_to(root).as_posix() for file in walk(root))
        if len(files) < 2:
            held = "holds no images" if not files else f"holds a single image, {files[0]}"
            raise BenchError(f"{root} {held}", f"at least 2 files that end in {', '.join(SUFFIXES)}", "Name another folder.")
        with ThreadPoolExecutor() as pool:
            found = list(pool.map(lambda file: _look(root / file), files))
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        given = f"{error.filename or root} can not be read ({reason})"
        raise BenchError(given, "files and folders that you may read", "Give yourself the permission.") from error
    _refuse_broken(root, [f"{file} ({look.fault})" for file, look in zip(files, found, strict=True) if look.fault], len(files))
    _, height, width = _decoded(root, files[0]).shape
    for file, look in zip(files, found, strict=True):
        if look.size not in (found[0].size, found[0].size[::-1]):  # a turned one is judged when it is decoded
            raise _odd(root, file, look.size, files[0], found[0].size)
    digest = hashlib.sha256(b"".join(look.sha256 for look in found)).hexdigest()
    grey = all(look.mode in GREY for look in found)

    def read(wanted: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        for positions in torch.split(wanted.nonzero()[:, 0], BATCH) if bool(wanted.any()) else ():
            yield positions, _decode_all(root, [files[i] for i in positions.tolist()], (height, width), files[0])

    source = Source(root, digest, len(files), (3, height, width), read, remarks=_remarks(root, files, found, grey))
    return dataclasses.replace(source, shape=(1, height, width)) if grey else source


@dataclass(frozen=True)
class Look:
    """What a file's bytes and its header tell, without decoding it."""

    sha256: bytes
    size: tuple[int, int] = (0, 0)  # width and height, before it is turned upright
    mode: str = ""
    transparent: bool = False
    fault: str = ""


def _look(path: Path) -> Look:
    data = path.read_bytes()
    digest = hashlib.sha256(data).digest()
    try:
        with Image.open(io.BytesIO(data)) as image:
            return Look(digest, image.size, image.mode, image.has_transparency_data)
    except Exception as error:  # decoders raise anything
        return Look(digest, fault=_reason(error))


def _decoded(root: Path, file: str) -> Tensor:
    """(3, H, W) uint8, upright."""
    try:
        return torch.from_numpy(decode(root / file, 0).copy())
    except Exception as error:  # decoders raise anything
        raise BenchError(f"{file} in {root} can not be read ({_reason(error)})", WHOLE, "Restore or delete it.") from error


def _decode_all(root: Path, files: Sequence[str], side: tuple[int, int], first: str) -> Tensor:
    """(B, 3, H, W). Raises BenchError for a broken one, and for one of another size than the folder's first."""
    with ThreadPoolExecutor() as pool:
        decoded = list(pool.map(lambda file: _decoded(root, file), files))
    for file, image in zip(files, decoded, strict=True):
        if tuple(image.shape[1:]) != side:
            raise _odd(root, file, (image.shape[2], image.shape[1]), first, side[::-1])
    return torch.stack(decoded)


def _reason(error: Exception) -> str:
    return "no image" if isinstance(error, UnidentifiedImageError) else str(error) or type(error).__name__


def _refuse_broken(root: Path, broken: Sequence[str], count: int) -> None:
    if broken:
        more = f" and {len(broken) - 3} more" if len(broken) > 3 else ""
        given = f"{len(broken)} of {count} images in {root} can not be read: {'; '.join(broken[:3])}{more}"
        raise BenchError(given, WHOLE, "Restore or delete these files.")


def _odd(root: Path, file: str, size: tuple[int, int], first: str, usual: tuple[int, int]) -> BenchError:
    return BenchError(
        f"Mixed sizes in {root}: {first} is {usual[0]}x{usual[1]}, {file} is {size[0]}x{size[1]}",
        "images of one size: resizing them would be part of what is measured",
        "Resize them yourself, all in the same way, or name a folder of one size.",
    )


def _remarks(root: Path, files: Sequence[str], found: Sequence[Look], grey: bool) -> tuple[str, ...]:
    """What the conversion to 8-bit RGB does to some of the files."""
    kinds = {
        "transparent: laid over white": [look.transparent for look in found],
        "16-bit: the high byte is kept": [look.mode.startswith("I;16") for look in found],
        "grey, taken three times over": [look.mode in GREY and not grey for look in found],
    }
    lines = []
    for what, those in kinds.items():
        if any(those):
            lines.append(
                f"{root.name}: {sum(those):,} of {len(files):,} images, such as {files[those.index(True)]}, are {what}"
            )
    return tuple(lines)


# An array


def _open_npz(path: Path) -> Source:
    if path.suffix == ".pkl":
        raise npz.pickled(path, "it is a pickle")
    members = npz.names(path)
    if "arr_0" not in members:
        kind = "statistics and no images" if "mu" in members else f"{', '.join(members) or 'nothing'}, and no arr_0"
        raise BenchError(f"{path} holds {kind}", NHWC, "Write it with numpy.savez(FILE, arr_0=images).")
    found = npz.header(path, "arr_0")
    if found.dtype != np.uint8:
        raise _not_uint8(path, found)
    if len(found.shape) != 4 or found.shape[3] not in (1, 3) or found.shape[0] < 2 or 0 in found.shape:
        remedy = "Add the axis of channels: arr_0[..., None]." if len(found.shape) == 3 else "Correct the array."
        if len(found.shape) == 4 and found.shape[1] in (1, 3):
            remedy = "Channels come last: arr_0.transpose(0, 2, 3, 1)."
        elif len(found.shape) == 4 and found.shape[3] == 4:
            remedy = "Lay transparent images over a background yourself."
        raise BenchError(f"{path}: arr_0 has the shape {found.shape}", f"{NHWC}, at least 2", remedy)
    count, height, width, channels = found.shape
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()

    def read(wanted: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        rows = BATCH * min(10, count // max(1, int(wanted.sum())))  # about BATCH wanted ones at a time
        ends = range(rows, count + rows, rows)
        for end, block in zip(ends, npz.blocks(path, "arr_0", rows), strict=True):
            own = wanted[end - rows : end]
            if bool(own.any()):
                chosen = torch.from_numpy(block).permute(0, 3, 1, 2)[own]
                # Channels first in memory too: a convolution's last bits follow the layout.
                yield own.nonzero()[:, 0] + end - rows, chosen.clone(memory_format=torch.contiguous_format)

    return Source(path, digest, count, (channels, height, width), read, _labels(path, members, count))


def _labels(path: Path, members: Sequence[str], count: int) -> Tensor | None:
    """arr_1, where it is a class for each image, as in ADM's files of conditional samples."""
    if "arr_1" not in members:
        return None
    found = npz.header(path, "arr_1")
    if found.shape != (count,) or found.dtype.kind not in "iu":
        return None
    return torch.from_numpy(npz.array(path, "arr_1").astype(np.int64))


def _not_uint8(path: Path, found: npz.Header) -> BenchError:
    """The refusal of other numbers, with their range and how to quantise them."""
    allowed = "images must be uint8: a score depends on how they are quantised, so that is yours to do and to state"
    if found.dtype.kind not in "fiu" or not found.shape or 0 in found.shape:
        return BenchError(f"{path}: arr_0 has the type {found.dtype} and the shape {found.shape}", allowed, "Correct it.")
    block = next(npz.blocks(path, "arr_0", BATCH))
    low, high = float(block.min()), float(block.max())
    rules = [(0, 1, "255 * x + 0.5"), (-1, 1, "127.5 * x + 128"), (0, 255, "x + 0.5")]
    rule = next((text for least, most, text in rules if least <= low and high <= most), "")
    where = f"{path}: arr_0 has the type {found.dtype}; its first {len(block)} images lie in [{low:.4g}, {high:.4g}]"
    if not rule:
        remedy = "That is none of [0, 1], [-1, 1], [0, 255]: clip or rescale them first, as their model means it."
        return BenchError(where, allowed, remedy)
    if block.dtype.kind in "iu":
        return BenchError(where, allowed, "If that holds for all of them: x.astype(np.uint8).")
    remedy = f"Quantise them first, such as with np.clip({rule}, 0, 255).astype(np.uint8)."
    return BenchError(where, allowed, remedy)
