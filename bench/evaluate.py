"""A snapshot -> samples -> features -> rows: Frechet distance, KID and class accuracy at each number of steps.

rows = evaluate(model, dataset, extractor, settings, references=root.references)
"""

import io
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench import datasets, extractors, metrics, provenance, rng, sample
from bench.config import Eval
from bench.dist import device_label
from bench.errors import RunFailed
from bench.protocol import Protocol
from bench.rows import Row
from bench.store import write_atomic

VERSION = 1  # of how these scores are computed; part of the protocol
KID_BLOCK = 1000  # features a block
FLOOR_SPLITS = 5


def make_protocol(dataset: datasets.Dataset, extractor: extractors.Extractor, settings: Eval) -> Protocol:
    """What moves a score, besides the run and the number of steps."""
    conditions: dict[str, Any] = {
        "version": VERSION,
        "extractor": extractor.name,
        "extractor_digest": extractor.digest,
        "samples": settings.samples,
        "label_rule": settings.label_rule,
        "quantiser": datasets.QUANTISER,
        "reference": dataset.name,
        "reference_digest": dataset.digest,
        "reference_images": dataset.train_images,
        "kid_block": KID_BLOCK,
        "weights": "ema",
    }
    return Protocol(f"{extractor.name}-n{settings.samples}-{settings.label_rule}", conditions)


# The reference: the features of all training images


@dataclass(frozen=True)
class Reference:
    features: Tensor  # (n, dim) float32
    statistics: metrics.Statistics


def reference(dataset: datasets.Dataset, extractor: extractors.Extractor, folder: Path, device: torch.device) -> Reference:
    """Computed once for a data set and extractor, then read from refs/."""
    path = folder / f"{dataset.name}-{extractor.name}-{dataset.digest[:8]}-{extractor.digest[:8]}.npz"
    features = _read_features(path, dataset, extractor)
    if features is None:
        parts = []
        for rows in torch.split(torch.arange(dataset.train_images), 500):
            x0, _ = dataset.images(rows)
            parts.append(extractor.features(dataset.to_uint8(x0.to(device))).cpu())
        features = torch.cat(parts)
        file = io.BytesIO()
        np.savez(file, features=features.numpy(), data=dataset.digest, extractor=extractor.digest)
        write_atomic(path, file.getvalue())
    return Reference(features, metrics.statistics(features))


def _read_features(path: Path, dataset: datasets.Dataset, extractor: extractors.Extractor) -> Tensor | None:
    """None when there is no such file, or it is not whole: it is then computed again."""
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
            if str(file["data"]) == dataset.digest and str(file["extractor"]) == extractor.digest:
                return torch.from_numpy(file["features"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        pass
    return None


def floor(features: Tensor) -> float:
    """Frechet distance between random halves of the real features, the mean over some splits.

    Halves are smaller than the sets that are scored, so their distance has more of the small sample's bias: a very good
    method can lie below it.
    """
    values = []
    for split in range(FLOOR_SPLITS):
        order = torch.randperm(len(features), generator=rng.generator(0, "floor", split))
        a, b = order.tensor_split(2)
        values.append(metrics.frechet_distance(metrics.statistics(features[a]), metrics.statistics(features[b])))
    return sum(values) / len(values)


# The scores

Watch = Callable[[str, int, int], None]  # (what, images done, images in all)


def step_counts(method: str, settings: Eval) -> list[int]:
    return sorted({*settings.steps, *settings.extra_steps.get(method, ())})


def evaluate(
    model: sample.Model,
    dataset: datasets.Dataset,
    extractor: extractors.Extractor,
    settings: Eval,
    *,
    references: Path,
    watch: Watch | None = None,
) -> list[Row]:
    """Rows of every metric at every number of steps.

    A count that the method can not sample in is a skipped row; samples that are not finite make a failed one.
    """
    protocol = make_protocol(dataset, extractor, settings)
    real = reference(dataset, extractor, references, model.device)
    stamp = provenance.stamp(model.config, model.images, device_label(model.device)) | {"protocol": protocol.id}
    half = len(real.features) // 2
    rows = [
        Row(**stamp, metric="frechet_distance_floor", value=floor(real.features), better="min", n=half, seconds=0.0),
    ]
    for steps in step_counts(model.config.method, settings):
        started = time.monotonic()
        shared = stamp | {"steps": steps, "n": settings.samples, "sample_seed": settings.seed}
        status, reason = "skipped", sample.refusal(model, steps)
        try:
            scores = [] if reason else score(model, dataset, extractor, settings, steps, real, watch)
        except RunFailed as error:
            status, reason = "failed", str(error)
        if reason:
            rows += [
                Row(**shared, metric=m, value=None, better=b, seconds=0.0, status=status, reason=reason)
                for m, b in (("frechet_distance", "min"), ("kernel_distance", "min"))
            ]
            continue
        seconds = time.monotonic() - started
        rows += [Row(**shared, metric=m, value=v, better=b, seconds=seconds) for m, v, b in scores]
    return rows


def score(
    model: sample.Model,
    dataset: datasets.Dataset,
    extractor: extractors.Extractor,
    settings: Eval,
    steps: int,
    real: Reference,
    watch: Watch | None = None,
) -> list[tuple[str, float, str]]:
    """(metric, value, better) of one number of steps, from one set of samples."""
    request = sample.Request(samples=settings.samples, batch=settings.batch, seed=settings.seed, label_rule=settings.label_rule)
    moments = metrics.Moments(extractor.dim)
    features, logits, labels = [], [], []
    for batch in sample.generate(model, dataset, request, steps):
        found = extractor.features(batch.images).cpu()
        moments.update(found)
        features.append(found)
        predicted = extractor.logits(batch.images)
        if predicted is not None:
            logits.append(predicted.cpu())
            labels.append(batch.label.cpu())
        if watch:
            watch(f"{steps} step{'s' * (steps > 1)}", moments.n, settings.samples)
    assert moments.n == settings.samples, "exactly as many samples as asked for"
    result = [
        ("frechet_distance", metrics.frechet_distance(real.statistics, moments.statistics()), "min"),
        ("kernel_distance", metrics.kernel_distance(torch.cat(features), real.features, KID_BLOCK), "min"),
    ]
    if logits:
        result.append(("class_accuracy", metrics.accuracy(torch.cat(logits), torch.cat(labels)), "max"))
    return result
