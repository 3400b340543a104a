"""A tree of images with one folder a class, as latents are made of it: which files, in which order, with which labels.

source = list_source(Path("imagenet/train"), subset=0)
"""

import contextlib
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.datasets.image_folder import find_images
from bench.errors import BenchError


@dataclass(frozen=True)
class Source:
    """Images by position: sorted by class, then by name."""

    root: Path
    classes: tuple[str, ...]  # folder names, sorted: for ImageNet the usual order of its labels
    files: tuple[str, ...]  # below the root
    labels: tuple[int, ...]

    def digest_of(self, files: Sequence[str]) -> str:
        """sha256 of names and lengths: another file in the same place is noticed unless it is as long."""
        text = hashlib.sha256()
        for file in files:
            length = -1  # of a dangling link: reading names it
            with contextlib.suppress(OSError):
                length = (self.root / file).stat().st_size
            text.update(f"{file}\0{length}\0".encode(errors="surrogateescape"))
        return text.hexdigest()


def list_source(root: Path, subset: int = 0) -> Source:
    """The images of a tree, or `subset` of them: the first of each class by name, equally many.

    Raises BenchError for a tree that is no such one, and for a subset that its classes can not give.
    """
    if not root.is_dir():
        what = "is a file" if root.is_file() else "does not exist"
        raise BenchError(f"--source {root} {what}", "a folder that holds one folder a class", "Correct the path.")
    try:
        found = find_images(root)
    except BenchError as error:
        given, remedy = (text.replace("image_folder: ", "--source: ") for text in (error.given, error.remedy))
        raise BenchError(given, error.allowed, remedy.replace("`folder` in bench.toml", "--source")) from error
    if subset:
        found = first_of_each(found, subset)
    labels = [label for label, files in enumerate(found.values()) for _ in files]
    return Source(root, tuple(found), tuple(file for files in found.values() for file in files), tuple(labels))


def first_of_each(found: dict[str, list[str]], subset: int) -> dict[str, list[str]]:
    """`subset` images in all. Raises BenchError unless every class can give its equal share."""
    each, rest = divmod(subset, len(found))
    fewest = min(found, key=lambda name: len(found[name]))
    if rest or each < 1:
        near = max(1, round(subset / len(found))) * len(found)
        raise BenchError(f"--subset {subset}", f"a multiple of the {len(found):,} classes", f"For example --subset {near}.")
    if each > len(found[fewest]):
        given = f"--subset {subset}: {each} a class, but {fewest} has {len(found[fewest])}"
        raise BenchError(given, f"at most {len(found[fewest]) * len(found)}", "Lower it.")
    return {name: files[:each] for name, files in found.items()}
