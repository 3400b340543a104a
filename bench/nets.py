"""The sizes of the network by name, and whether one fits images of a shape. Imports no torch."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Size:
    depth: int
    width: int
    heads: int


SIZES = {  # the letter in "B/4"; the number is the patch
    "N": Size(2, 32, 2),  # nano: tests
    "T": Size(4, 88, 4),  # tiny: the embedded default, minutes on a CPU
    "S": Size(12, 384, 6),
    "B": Size(12, 768, 12),
    "M": Size(16, 1024, 16),
    "L": Size(24, 1024, 16),
    "XL": Size(28, 1152, 16),
}
PATCHES = (1, 2, 4, 8)


def fit(name: str, shape: tuple[int, int, int]) -> tuple[Size, int]:
    """The size and patch of the net `name`, as in "B/4", for images of `shape` (C, H, W).

    Raises ValueError, saying what is allowed, for an unknown name and for images that it does not fit.
    """
    letter, _, patch = name.partition("/")
    if letter not in SIZES or patch not in map(str, PATCHES):
        raise ValueError(f"unknown net {name!r}; allowed: one of {', '.join(SIZES)}, a slash, and a patch of 1, 2, 4 or 8: B/4")
    _, height, width = shape
    if height != width:
        raise ValueError(f"net {name!r} on images of {height} x {width}; allowed: square images")
    if height % int(patch):
        fits = ", ".join(f"{letter}/{p}" for p in PATCHES if height % p == 0)
        raise ValueError(f"net {name!r}: patch {patch} does not divide the image size {height}; allowed: {fits}")
    return SIZES[letter], int(patch)
