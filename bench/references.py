"""What samples are compared with: the statistics of real images in an extractor's features, and some of the features.

    real = load(settings.reference, dataset, extractor, root.references)    # "data", or a path
    real = origin("VIRTUAL_imagenet256_labeled.npz", root.references).reference(extractor)

Statistics of images are computed once, by all processes together, and then read from refs/.
"""

import functools
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench import datasets, extractors, images, metrics, npz, rng, statistics_files
from bench.datasets.image_folder import SUFFIXES
from bench.errors import BenchError
from bench.metrics import Statistics
from bench.real_images import RealImages, images_of_dataset, images_of_source, statistics_of
from bench.statistics_files import Shape, StatisticsFile

HELD = "a file of statistics (.npz with mu and sigma), an .npz of images (arr_0), or a folder of images"


@dataclass(frozen=True)
class Reference:
    """Real images as an extractor sees them."""

    name: str
    digest: str  # of the data, or of the file
    images: int | None  # behind the statistics; None where that was not recorded
    statistics: Statistics
    spatial: Statistics | None = None  # of Outputs.spatial
    load_features: Callable[[], Tensor] | None = None  # (m, dim) float32; None where only statistics are known
    kind: str = "data"  # a data set; "images" of a folder or .npz; a file of statistics: "ours", "adm", "two-key"
    shape: Shape | None = None  # (C, H, W) of the images; None where that was not recorded

    @functools.cached_property
    def features(self) -> Tensor | None:
        return self.load_features() if self.load_features else None

    @property
    def conditions(self) -> dict[str, Any]:
        """What a protocol says of it, beside name, digest and number; nothing of a data set's own."""
        return {} if self.kind == "data" else {"reference_kind": self.kind}


def load(reference: str, dataset: datasets.Dataset, extractor: extractors.Extractor, folder: Path) -> Reference:
    """ "data": the data set's training images; else a file of statistics, an .npz of images, or a folder of images.

    Raises BenchError for one that does not fit the extractor or the data set's images.
    """
    if reference == "data":
        return of_dataset(dataset, extractor, folder)
    return fitting(reference, dataset, folder).reference(extractor)


def check(reference: str, dataset: datasets.Dataset, extractor: extractors.Extractor, folder: Path) -> None:
    """All that `load` would refuse and that is known without a pass over images: before hours of training."""
    if reference != "data" and (file := fitting(reference, dataset, folder).file):
        of_file(file, extractor, folder)


def fitting(reference: str, dataset: datasets.Dataset, folder: Path) -> "Origin":
    """The reference at a path. Raises BenchError where it is not of images of the data set's shape."""
    if not reference or not Path(reference).expanduser().exists():
        raise BenchError(f"eval.reference = {reference!r}", f"data, or {HELD}", "Correct bench.toml or the flag.")
    found, shape = origin(reference, folder), datasets.pixel_shape(dataset)
    if found.shape not in (None, shape):
        given = f"{reference} is of images of {by(found.shape)}"
        raise BenchError(given, f"{by(shape)}, as {dataset.name} has them", "Correct eval.reference: data, or another file.")
    return found


def by(shape: Shape | None) -> str:
    return "unknown size" if shape is None else f"{shape[0]}x{shape[1]}x{shape[2]} (channels x height x width)"


def of_dataset(dataset: datasets.Dataset, extractor: extractors.Extractor, folder: Path) -> Reference:
    """Of all training images, of any number of processes."""
    return of_images(images_of_dataset(dataset), extractor, folder)


def of_images(real: RealImages, extractor: extractors.Extractor, folder: Path) -> Reference:
    """Computed where `folder` does not hold it. A collective operation."""
    found = statistics_of(real, extractor, folder)
    n, kind, features = found.statistics.n, real.kind, found.features
    assert features is not None
    return Reference(real.name, real.digest, n, found.statistics, found.spatial, lambda: features, kind, real.shape)


# Files and folders


@dataclass(frozen=True)
class Origin:
    """Where a reference comes from: known before there is an extractor, which needs the images' shape."""

    name: str
    shape: Shape | None  # None where it is not known
    reference: Callable[[extractors.Extractor], Reference]
    source: images.Source | None = None  # of images: they can be had in colour
    file: StatisticsFile | None = None


def origin(reference: str, folder: Path) -> Origin:
    """Of a file of statistics, an .npz of images or a folder of images. Raises BenchError for anything else."""
    path = Path(reference).expanduser()
    if not path.exists():
        raise BenchError(f"{reference} does not exist", HELD, "Correct the path.")
    single = path.suffix.lower() in SUFFIXES
    if path.is_dir() or single or (path.suffix != ".pkl" and {"arr_0", "mu"} & set(npz.names(path)) == {"arr_0"}):
        return origin_of_source(images.open_source(path), folder)
    file = statistics_files.open_file(path)
    return Origin(path.stem, file.shape, lambda extractor: of_file(file, extractor, folder), file=file)


def origin_of_dataset(dataset: datasets.Dataset, folder: Path) -> Origin:
    return Origin(dataset.name, datasets.pixel_shape(dataset), lambda extractor: of_dataset(dataset, extractor, folder))


def origin_of_source(source: images.Source, folder: Path) -> Origin:
    def reference(extractor: extractors.Extractor) -> Reference:
        return of_images(images_of_source(source), extractor, folder)

    return Origin(source.name, source.shape, reference, source)


def of_file(file: StatisticsFile, extractor: extractors.Extractor, folder: Path) -> Reference:
    """mu and sigma as they are in the file; arr_0, a choice of the images, is opened only when features are asked for.

    Raises BenchError for a file that is of another extractor or protocol, or is not what its manifest says.
    """
    statistics_files.check_made_with(file, extractor, None)
    with file.path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    told = statistics_files.read_manifest(file.path).get("sha256", digest)
    if told != digest:
        given = f"{file.path} has sha256 {digest[:12]}..., its manifest says {told[:12]}..."
        raise BenchError(given, "the file that the manifest is of", "Make both again: `bench stats build`.")
    load_features: Callable[[], Tensor] | None = None
    if "features" in file.members and file.identity:
        load_features = file.features
    elif "arr_0" in file.members:
        load_features = functools.partial(features_of_choice, file, extractor, folder)
    spatial = file.spatial() if getattr(extractor, "spatial_dim", 0) else None
    found = file.statistics()
    return Reference(file.path.stem, digest, file.images, found, spatial, load_features, file.kind, file.shape)


def features_of_choice(file: StatisticsFile, extractor: extractors.Extractor, folder: Path) -> Tensor:
    """Of the images in arr_0, for what needs single images; their statistics are not mu and sigma, and not used."""
    features = of_images(images_of_source(images.open_source(file.path)), extractor, folder).features
    assert features is not None
    return features


def floor(features: Tensor, splits: int = 5) -> float:
    """Frechet distance between random halves of the real features, the mean over some splits.

    Halves are smaller than the sets that are scored, so their distance has more of the small sample's bias: a very good
    method can lie below it.
    """
    values = []
    for split in range(splits):
        order = torch.randperm(len(features), generator=rng.generator(0, "floor", split))
        a, b = order.tensor_split(2)
        values.append(metrics.frechet_distance(metrics.statistics(features[a]), metrics.statistics(features[b])))
    return sum(values) / len(values)
