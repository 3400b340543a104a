"""What samples are compared with: the statistics of real images in an extractor's features, and some of the features.

real = of_dataset(dataset, extractor, root.references)      # computed once, then read from refs/
"""

import functools
import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench import datasets, dist, extractors, metrics, rng
from bench.metrics import Moments, Statistics
from bench.store import write_atomic

FORMAT = 2  # of the files in refs/
KEPT = 50_000  # features that are kept, of more images a random choice: kernel distance, precision and recall use them
BATCH = 500


@dataclass(frozen=True)
class Reference:
    """Real images as an extractor sees them."""

    name: str
    digest: str  # of the data, or of the file
    images: int | None  # behind the statistics; None where that was not recorded
    statistics: Statistics
    spatial: Statistics | None = None  # of Outputs.spatial
    load_features: Callable[[], Tensor] | None = None  # (m, dim) float32; None where only statistics are known

    @functools.cached_property
    def features(self) -> Tensor | None:
        return self.load_features() if self.load_features else None


def of_dataset(dataset: datasets.Dataset, extractor: extractors.Extractor, folder: Path) -> Reference:
    """Of all training images. Computed by the first process, once for a data set and extractor; all read the file."""
    path = folder / f"{dataset.name}-{extractors.title_of(extractor)}-{dataset.digest[:8]}-{extractor.digest[:8]}.npz"
    what = {"data": dataset.digest, "extractor": extractor.digest, "conditions": extractors.conditions_of(extractor)}
    identity = json.dumps({"format": FORMAT, **what}, sort_keys=True)
    if dist.rank() == 0 and _read(path, dataset, identity) is None:
        _write(path, dataset, extractor, identity)
    dist.barrier()
    found = _read(path, dataset, identity)
    assert found is not None, f"{path} was just written"
    return found


def _write(path: Path, dataset: datasets.Dataset, extractor: extractors.Extractor, identity: str) -> None:
    moments = Moments(extractor.dim)
    spatial: Moments | None = None
    kept = torch.zeros(dataset.train_images, dtype=torch.bool)
    kept[torch.randperm(dataset.train_images, generator=rng.generator(0, "reference"))[:KEPT]] = True
    features = []
    for rows in torch.split(torch.arange(dataset.train_images), BATCH):
        x0, _ = dataset.images(rows)
        found = extractors.outputs(extractor, dataset.to_uint8(x0))
        moments.update(found.features)
        features.append(found.features.cpu()[kept[rows]])
        if found.spatial is not None:
            spatial = spatial or Moments(found.spatial.shape[1])
            spatial.update(found.spatial)
    arrays = as_arrays(moments.statistics(), spatial.statistics() if spatial else None)
    file = io.BytesIO()
    np.savez(file, **arrays, features=torch.cat(features).numpy(), identity=np.array(identity))
    write_atomic(path, file.getvalue())


def as_arrays(statistics: Statistics, spatial: Statistics | None) -> dict[str, Any]:
    """By the names that ADM's files use, and the number of images."""
    arrays: dict[str, Any] = {"mu": statistics.mean.numpy(), "sigma": statistics.covariance.numpy(), "n": statistics.n}
    if spatial:
        arrays |= {"mu_s": spatial.mean.numpy(), "sigma_s": spatial.covariance.numpy()}
    return arrays


def _read(path: Path, dataset: datasets.Dataset, identity: str) -> Reference | None:
    """None when there is no such file, or it is not whole, or of something else: it is then computed again."""
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            if str(file["identity"]) != identity:
                return None
            n = int(file["n"])
            statistics = Statistics(n, torch.from_numpy(file["mu"]), torch.from_numpy(file["sigma"]))
            spatial = None
            if "mu_s" in file:
                spatial = Statistics(n, torch.from_numpy(file["mu_s"]), torch.from_numpy(file["sigma_s"]))
            features = torch.from_numpy(file["features"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    return Reference(dataset.name, dataset.digest, n, statistics, spatial, lambda: features)


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
