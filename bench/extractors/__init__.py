"""Feature extractors: a file NAME.py in this folder with a class `Extractor`. Scores are distances between features.

Weights ship as safetensors and are checked by sha256 before they are read. The class is made as
`Extractor(shape=(C, H, W), device="cpu")` and refuses a shape that it can not take with a BenchError.
"""

import hashlib
from pathlib import Path
from typing import Protocol

from torch import Tensor

from bench import plugins
from bench.errors import BenchError


class Extractor(Protocol):
    name: str
    dim: int
    digest: str  # sha256 of the weights, or of the rule where there are none

    def features(self, images: Tensor) -> Tensor:
        """uint8 (B, C, H, W) of the shape given, on any device -> float32 (B, dim) without gradient, on the extractor's."""
        ...

    def logits(self, images: Tensor) -> Tensor | None:
        """uint8 (B, C, H, W) -> (B, classes), or None where the extractor has no classes."""
        ...


def names() -> list[str]:
    import bench.extractors as package

    return plugins.plugin_names(package)


def load(name: str, shape: tuple[int, int, int], device: str = "cpu") -> Extractor:
    """The extractor `name` for uint8 images of `shape` (C, H, W), computing on `device`.

    Raises BenchError for an unknown name, a shape that it can not take, and weights that are not the ones expected.
    """
    import bench.extractors as package

    extractor: Extractor = plugins.plugin_class(package, name, "Extractor", "extractor")(shape=shape, device=device)
    return extractor


def checked(path: Path, sha256: str) -> Path:
    """`path`, once its bytes have the digest. Raises BenchError otherwise: a file is read only after this."""
    if not path.is_file():
        raise BenchError(f"Weights {path.name} are missing", f"a file with sha256 {sha256[:12]}...", "Install the suite anew.")
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != sha256:
        raise BenchError(
            f"Weights {path.name} have sha256 {found[:12]}...",
            f"sha256 {sha256[:12]}...",
            "Restore the file from the repository: scores made with other weights do not compare.",
        )
    return path
