"""Image files -> one uint8 array, decoded once and kept in the user's cache folder.

    pixels, sha256 = load(root, ["cat/1.jpg", "dog/2.png"], size=32)    # (2, 3, 32, 32), read-only

Reads the files below `root`; writes one .npy below $XDG_CACHE_HOME (or ~/.cache)/one-step-bench/.
"""

import contextlib
import hashlib
import io
import logging
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import PIL
from PIL import Image, ImageOps, UnidentifiedImageError

from bench.errors import BenchError, RunFailed
from bench.store import suite_cache, write_atomic

FORMAT = "1"  # of the cache and of the rules below: change one, change this
SHA256_BYTES = 32
REMEDY = "Correct [datasets.image_folder] in bench.toml."

Pixels = npt.NDArray[np.uint8]


# One image


def to_rgb(image: Image.Image) -> Image.Image:
    """Upright (EXIF) 8-bit RGB. Transparency is laid over white, 16-bit grey keeps its high byte, colour profiles are ignored.

    Raises ValueError for pixels without a known range (floating point, 32-bit integers).
    """
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16"):
        high = np.asarray(image).astype(np.uint16) >> 8  # Pillow's own conversion clips at 255
        return Image.fromarray(high.astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise ValueError(f"mode {image.mode} has no known range")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")


def shrink_and_crop(image: Image.Image, size: int) -> Image.Image:
    """The shorter side resized to `size`, then the centre `size` x `size`.

    Halved with a box filter while that leaves enough, then bicubic: as ADM prepares ImageNet, so that scores compare.
    """
    while min(image.size) >= 2 * size:
        image = image.resize((image.width // 2, image.height // 2), Image.Resampling.BOX)
    scale = size / min(image.size)
    image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC)
    left, top = (image.width - size) // 2, (image.height - size) // 2
    return image.crop((left, top, left + size, top + size))


def decode(path: Path, size: int) -> Pixels:
    """(3, H, W); H = W = size, or the image's own where size is 0. Raises whatever a decoder raises for a broken file."""
    with Image.open(path) as image:
        rgb = to_rgb(image)
    rgb = shrink_and_crop(rgb, size) if size else rgb
    return np.asarray(rgb).transpose(2, 0, 1)


# All images


def load(root: Path, files: Sequence[str], size: int) -> tuple[Pixels, bytes]:
    """The pixels (n, 3, H, W) in the order of `files`, and their sha256. Raises BenchError naming what is broken or odd."""
    cache = suite_cache() / f"{key(root, files, size)}.npy"
    found = read_cache(cache, len(files), size)
    if found is None:
        pixels = decode_all(root, files, size)
        write_cache(cache, pixels)
        # Read back: the pages are then shared by all processes that map the file. An array in memory if it was not written.
        found = read_cache(cache, len(files), size) or (pixels, hashlib.sha256(pixels.data).digest())
    return found


def decode_all(root: Path, files: Sequence[str], size: int) -> Pixels:
    """(n, 3, H, W), decoded by several threads. Every broken file is found before the error is raised."""
    side = size or native_side(root, files)
    check_memory(len(files), side)
    pixels = np.empty((len(files), 3, side, side), np.uint8)

    def fill(position: int) -> tuple[str, str] | None:
        """None, or what is wrong: ("broken" | "shape", which file and why)."""
        try:
            decoded = decode(root / files[position], size)
        except Exception as error:  # decoders raise anything from OSError to struct.error; each is reported below
            reason = "no image" if isinstance(error, UnidentifiedImageError) else str(error) or type(error).__name__
            return "broken", f"{files[position]} ({reason})"
        if decoded.shape[1:] != (side, side):
            return "shape", f"{files[position]} is {decoded.shape[2]}x{decoded.shape[1]}"
        pixels[position] = decoded
        return None

    with ThreadPoolExecutor() as pool:
        faults = [fault for fault in pool.map(fill, range(len(files))) if fault]
    _refuse_broken(root, [text for kind, text in faults if kind == "broken"], len(files))
    odd = [text for kind, text in faults if kind == "shape"]
    if odd:
        named = f"{odd[0]}, {odd[1]}" if len(odd) > 1 else odd[0]
        raise BenchError(
            f"image_folder: size = 0 needs images of one square size; the first is {side} pixels wide, but {named}",
            "size = 0 where all images have one size and are square",
            "Set [datasets.image_folder] size in bench.toml: images are then resized and cropped.",
        )
    return pixels


def native_side(root: Path, files: Sequence[str]) -> int:
    """The width of the first image that can be decoded; it decides what size = 0 stands for."""
    for file in files:
        with contextlib.suppress(Exception):  # the broken ones are named by decode_all
            return int(decode(root / file, 0).shape[2])
    _refuse_broken(root, list(files), len(files))
    raise AssertionError("not reached")


def _refuse_broken(root: Path, broken: Sequence[str], count: int) -> None:
    if not broken:
        return
    more = f" and {len(broken) - 3} more" if len(broken) > 3 else ""
    raise BenchError(
        f"{len(broken)} of {count} images in {root} can not be read: {'; '.join(broken[:3])}{more}",
        "whole image files with 8 bits a channel, or 16-bit grey",
        "Restore or delete these files.",
    )


def check_memory(count: int, side: int) -> None:
    """Raises BenchError when decoding would take more than half of the machine's memory: the array, and the file made of it."""
    need = 2 * count * 3 * side * side
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if need > memory // 2:
        raise BenchError(
            f"image_folder: {count} images of {side}x{side} take {need / 2**30:.1f} GiB to decode",
            f"half of this machine's memory, {memory / 2 / 2**30:.1f} GiB",
            "Set a smaller size in [datasets.image_folder], or use fewer images.",
        )


# The cache


def key(root: Path, files: Sequence[str], size: int) -> str:
    """sha256 of all that decides the pixels. A file is its name, length, mtime and ctime: unpacking can restore an mtime."""
    text = hashlib.sha256(f"{FORMAT}\0{PIL.__version__}\0{size}\0".encode())
    for file in files:
        with contextlib.suppress(OSError):  # a dangling link: decoding names it
            stat = (root / file).stat()
            text.update(f"{file}\0{stat.st_size}\0{stat.st_mtime_ns}\0{stat.st_ctime_ns}\0".encode(errors="surrogateescape"))
    return text.hexdigest()


def write_cache(path: Path, pixels: Pixels) -> None:
    """A .npy file followed by the sha256 of its pixels. Without room or permission nothing is kept, and a log line says so."""
    file = io.BytesIO()
    np.save(file, pixels, allow_pickle=False)
    file.write(hashlib.sha256(pixels.data).digest())
    try:
        write_atomic(path, file.getvalue())
    except (BenchError, RunFailed, OSError) as error:
        logging.getLogger(__name__).warning("The decoded images are not kept, so the next start decodes again: %s", error)


def read_cache(path: Path, count: int, size: int) -> tuple[Pixels, bytes] | None:
    """The pixels, mapped from the file, and their sha256. None where the file is missing or damaged: it is then made anew."""
    try:
        pixels = np.load(path, mmap_mode="r", allow_pickle=False)
        with path.open("rb") as file:
            file.seek(-SHA256_BYTES, os.SEEK_END)
            expected = file.read()
    except (OSError, ValueError, EOFError):
        return None
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or pixels.ndim != 4:
        return None
    side = size or pixels.shape[3]
    if pixels.shape != (count, 3, side, side):
        return None
    found = hashlib.sha256(pixels.data).digest()
    return (pixels, found) if found == expected else None
