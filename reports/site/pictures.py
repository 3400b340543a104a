"""The PNG of a sample grid, read without decoding it: whether it is whole, how large, and how it is cut into single samples.

    png = read_png(path.read_bytes())
    png.layout.labels[12]    # the class that noise 12 was drawn under; layout is None where the file does not say

`bench.sample.grid` writes the layout into the file, as the text "bench-grid": the two can not be separated.
"""

import json
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

SIGNATURE = b"\x89PNG\r\n\x1a\n"
TEXT = b"bench-grid"
FORMAT = 1  # of the layout; another is not read


class NotAPicture(Exception):
    """Says of a file what is wrong with it: "is cut short"."""


@dataclass(frozen=True)
class Layout:
    """Cell i, counted row by row, was made from noise i of the seed, under the label labels[i]."""

    columns: int
    tile: tuple[int, int]  # pixels, width and height
    gap: int  # pixels between tiles
    seed: int
    shape: tuple[int, ...]  # of a noise, (C, H, W)
    labels: tuple[int, ...]


@dataclass(frozen=True)
class Png:
    width: int  # pixels
    height: int
    layout: Layout | None
    remark: str  # "has no layout in it"; "" where it has one
    data: bytes


def read_png(data: bytes) -> Png:
    """Raises NotAPicture for bytes that are no whole PNG. A layout that can not be used is a remark, no error."""
    width, height = 0, 0
    texts = []
    for kind, content in _chunks(data):
        if kind == b"IHDR" and len(content) == 13:
            width, height = struct.unpack(">II", content[:8])
        if kind == b"tEXt" and content.startswith(TEXT + b"\0"):
            texts.append(content[len(TEXT) + 1 :])
    if not width or not height:
        raise NotAPicture("is no PNG: it has no size")
    layout, remark = _layout(texts[0], width, height) if texts else (None, "has no layout in it")
    return Png(width, height, layout, remark, data)


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(kind, content) of each part of the file, with its checksum checked."""
    if not data.startswith(SIGNATURE):
        raise NotAPicture("is no PNG" if data else "is empty")
    kind, place = b"", len(SIGNATURE)
    while kind != b"IEND":
        end = place + 12 + int.from_bytes(data[place : place + 4])
        if end > len(data):
            raise NotAPicture("is cut short")
        kind, content = data[place + 4 : place + 8], data[place + 8 : end - 4]
        if zlib.crc32(kind + content) != int.from_bytes(data[end - 4 : end]):
            raise NotAPicture("is damaged: a checksum in it does not fit")
        yield kind, content
        place = end


def _layout(text: bytes, width: int, height: int) -> tuple[Layout | None, str]:
    """The layout, or why there is none that fits a picture of this size."""
    try:
        given = json.loads(text)
        if given["format"] != FORMAT:
            return None, f"has a layout of format {given['format']!r}, not {FORMAT}"
        tile_width, tile_height = _wholes(given["tile"])
        columns, gap, seed = _wholes([given["columns"], given["gap"], given["seed"]])
        labels = _wholes(given["labels"])
        layout = Layout(columns, (tile_width, tile_height), gap, seed, _wholes(given["shape"]), labels)
    except (ValueError, KeyError, TypeError, RecursionError):
        return None, "has a layout that can not be read"
    rows = -(-len(labels) // max(1, columns))
    fits = (columns * (tile_width + gap) - gap, rows * (tile_height + gap) - gap) == (width, height)
    return (layout, "") if fits and tile_width and tile_height else (None, "has a layout that does not fit its size")


def _wholes(values: Any) -> tuple[int, ...]:
    """Raises ValueError for anything but a list of whole numbers from zero up."""
    if not isinstance(values, list) or not all(type(value) is int and value >= 0 for value in values):
        raise ValueError(values)
    return tuple(values)
