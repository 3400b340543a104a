"""Feature extractors: a file NAME.py in this folder with a class `Extractor`. Scores are distances between features.

Weights are checked by sha256 before they are read. The class is made as `Extractor(shape=(C, H, W), device="cpu", **options)`
and refuses a shape that it can not take with a BenchError; options are its further keyword arguments, [extractors.NAME] in
bench.toml. It needs what `Extractor` lists; these attributes are optional:

    outputs(images) -> Outputs   everything in one pass, where features, logits and spatial come from one network
    metrics: tuple[str, ...]     what is measured with it, of bench.scores.METRICS; without it FEATURE_METRICS
    title: str                   what its protocols are called ("efficientnet_lite0@96"); without it the name
    conditions: dict[str, Any]   what else moves a score (input size, resize), JSON; part of the protocol
    spatial_dim: int             columns of Outputs.spatial
"""

import hashlib
import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from bench import plugins
from bench.errors import BenchError, suggestion

FEATURE_METRICS = ("frechet_distance", "frechet_distance_infinite", "kernel_distance")


@dataclass(frozen=True)
class Outputs:
    """What one pass over a batch gives; on the extractor's device, without gradient."""

    features: Tensor  # (B, dim) float32
    logits: Tensor | None = None  # (B, classes) float32
    spatial: Tensor | None = None  # (B, spatial_dim) float32: features that keep their place in the image, for sFID


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


def load(name: str, shape: tuple[int, int, int], device: str = "cpu", **options: Any) -> Extractor:
    """The extractor `name` for uint8 images of `shape` (C, H, W), computing on `device`.

    Raises BenchError for an unknown name or option, a shape that it can not take, and weights that are not the ones expected.
    """
    cls = extractor_class(name)
    remedy = f"Correct [extractors.{name}] in bench.toml."
    kinds = {key: p.annotation for key, p in inspect.signature(cls).parameters.items() if key not in ("shape", "device")}
    for key, value in options.items():
        if key not in kinds:
            given = f"Unknown option {key!r} of extractor {name}{suggestion(key, kinds)}"
            raise BenchError(given, ", ".join(kinds) or "no options", remedy)
        if kinds[key] in (str, int, float, bool) and type(value) is not kinds[key]:
            raise BenchError(f"[extractors.{name}] {key} = {value!r}", f"of type {kinds[key].__name__}", remedy)
    extractor: Extractor = cls(shape=shape, device=device, **options)
    return extractor


def extractor_class(name: str) -> type[Any]:
    import bench.extractors as package

    return plugins.plugin_class(package, name, "Extractor", "extractor")


# What an extractor may leave out


def outputs(extractor: Extractor, images: Tensor) -> Outputs:
    """One pass where the extractor has one, else its features and logits one after the other."""
    whole = getattr(extractor, "outputs", None)
    found: Outputs = whole(images) if whole else Outputs(extractor.features(images), extractor.logits(images))
    return found


def metrics_of(extractor: Extractor) -> tuple[str, ...]:
    return tuple(getattr(extractor, "metrics", FEATURE_METRICS))


def title_of(extractor: Extractor) -> str:
    return str(getattr(extractor, "title", extractor.name))


def conditions_of(extractor: Extractor) -> dict[str, Any]:
    return dict(getattr(extractor, "conditions", {}))


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
