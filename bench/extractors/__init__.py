"""Feature extractors: a file NAME.py in this folder with a class `Extractor`. Scores are distances between features.

Weights ship as safetensors and are checked by sha256 before they are read.
"""

import hashlib
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from bench import plugins
from bench.errors import BenchError


class Extractor(Protocol):
    name: str
    dim: int
    digest: str  # sha256 of the weights, or of the rule where there are none

    def features(self, images: Tensor) -> Tensor:
        """uint8 (B, C, H, W) -> float32 (B, dim)."""
        ...

    def logits(self, images: Tensor) -> Tensor | None:
        """uint8 (B, C, H, W) -> (B, classes), or None where the extractor has no classes."""
        ...


def names() -> list[str]:
    import bench.extractors as package

    return plugins.plugin_names(package)


def load(name: str, **options: Any) -> Extractor:
    """The extractor `name`. Raises BenchError for an unknown name, or weights that are not the ones expected."""
    import bench.extractors as package

    extractor: Extractor = plugins.plugin_class(package, name, "Extractor", "extractor")(**options)
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
