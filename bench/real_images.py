"""Real images -> their statistics in an extractor's features: one pass, shared by all processes, kept in a file.

found = statistics_of(images_of_dataset(dataset), extractor, root.references)
found = statistics_of(images_of_source(source), extractor, root.references)
"""

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench import datasets, dist, extractors, images, provenance, rng, statistics_files
from bench.errors import BenchError
from bench.metrics import Moments
from bench.statistics_files import Measured, Shape

KEPT = 50_000  # features that are kept, of more images a random choice: kernel distance, precision and recall use them
BATCH = 500
FROM_FILE = "as stored"  # the quantiser of images that come as uint8


@dataclass(frozen=True)
class RealImages:
    """Images to take statistics of."""

    name: str
    digest: str
    shape: Shape
    count: int
    quantiser: str
    where: dict[str, Any]  # to find them again: in the manifest
    batches: Callable[[int, int], Iterator[tuple[Tensor, Tensor]]]  # part, parts -> numbers, uint8 images
    kept: Tensor  # (count,) bool, by number: whose features are kept
    kind: str = "images"

    def file(self, extractor: extractors.Extractor, folder: Path) -> Path:
        """Where their statistics are kept."""
        title = extractors.title_of(extractor)
        return folder / f"{self.name}-{title}-{self.digest[:8]}-{extractor.digest[:8]}.npz"

    def identity(self, extractor: extractors.Extractor) -> dict[str, Any]:
        """What determines their statistics; "name" is for people."""
        own = {"name": self.name, "data": self.digest, "shape": list(self.shape), "images": self.count}
        return own | {"quantiser": self.quantiser} | statistics_files.about_extractor(extractor)


def images_of_dataset(dataset: datasets.Dataset) -> RealImages:
    """All training images."""
    n = dataset.train_images
    kept = torch.zeros(n, dtype=torch.bool)
    kept[torch.randperm(n, generator=rng.generator(0, "reference"))[:KEPT]] = True

    def batches(part: int, parts: int) -> Iterator[tuple[Tensor, Tensor]]:
        for rows in torch.split(torch.arange(n)[part::parts], BATCH):
            yield rows, dataset.to_uint8(dataset.images(rows)[0])

    fields: Any = dataclasses.fields(dataset) if dataclasses.is_dataclass(dataset) else ()
    options = {field.name: getattr(dataset, field.name) for field in fields if field.init}
    where = {"dataset": dataset.name, "options": options}
    shape = datasets.pixel_shape(dataset)
    return RealImages(dataset.name, datasets.pixels_digest(dataset), shape, n, datasets.QUANTISER, where, batches, kept, "data")


def images_of_source(source: images.Source) -> RealImages:
    """All of a folder or an .npz; a process without images yields nothing."""

    def batches(part: int, parts: int) -> Iterator[tuple[Tensor, Tensor]]:
        return ((number, found) for number, found, _ in source.batches(source.count, part, parts))

    kept = torch.arange(source.count) < KEPT  # the numbers are in random order already, unless it is the array's own
    where = {"path": str(source.path.resolve()), "order": source.order}
    return RealImages(source.name, source.digest, source.shape, source.count, FROM_FILE, where, batches, kept)


# Their statistics


def statistics_of(real: RealImages, extractor: extractors.Extractor, folder: Path, command: str = "") -> Measured:
    """Read from `folder`, else computed and written there; a damaged file, or one of something else, is made again.

    A collective operation: every process calls it, and computes its share.
    """
    path = real.file(extractor, folder)
    found = read_cache(path, real.identity(extractor))
    missing = torch.tensor(int(found is None))
    dist.add_up(missing)  # one process that can not read it is enough for all to compute
    if int(missing) or found is None:
        found = measure(real, extractor)
        if dist.rank() == 0:
            save(path, real, extractor, found, command)
        dist.barrier()
    return found


def save(path: Path, real: RealImages, extractor: extractors.Extractor, found: Measured, command: str) -> dict[str, Any]:
    """Write the file with its manifest; returns the manifest."""
    sha, dirty = provenance.commit()
    manifest = {
        "source": real.where,
        "command": command,
        "commit": sha,
        "dirty": dirty,
        "versions": provenance.versions(),
        "processes": dist.world_size(),
        "created_at": provenance.now(),
    }
    return statistics_files.write(path, real.identity(extractor), found, manifest)


def read_cache(path: Path, identity: dict[str, Any]) -> Measured | None:
    """None when there is no such file, or it is not whole, or of something else."""
    try:
        file = statistics_files.open_file(path)
        if file.identity != {"format": statistics_files.FORMAT, **identity}:
            return None
        return Measured(file.statistics(), file.spatial(), file.features())
    except BenchError:
        return None


def measure(real: RealImages, extractor: extractors.Extractor) -> Measured:
    """One pass over the images of this process, then summed and gathered over all: the same on each."""
    device = getattr(extractor, "device", "cpu")
    moments, width = Moments(extractor.dim, 1, device), getattr(extractor, "spatial_dim", 0)
    spatial = Moments(width, 1, device) if width else None
    numbers, features = [torch.zeros(0, dtype=torch.int64)], [torch.zeros(0, extractor.dim)]
    for number, batch in real.batches(dist.rank(), dist.world_size()):
        if not len(number):
            continue
        found = extractors.outputs(extractor, batch)
        moments.update(found.features)
        if spatial is not None and found.spatial is not None:
            spatial.update(found.spatial)
        kept = real.kept[number]
        numbers.append(number[kept])
        features.append(found.features.cpu()[kept])
    return Measured(
        dist.together(moments).statistics().to(torch.device("cpu")),
        dist.together(spatial).statistics().to(torch.device("cpu")) if spatial is not None else None,
        dist.gathered(torch.cat(numbers), torch.cat(features)),
    )
