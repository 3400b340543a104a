"""Images -> scores, in-stream: features are taken as the images come, on every process, and no image is written.

    scorer = Scorer(extractor, reference, metrics, n)
    for batch in batches: scorer.update(batch.index, batch.images, batch.label)
    for score in scorer.scores(): print(score.metric, score.value, score.standard_error)

The same scores for any batches and any number of processes: everything is summed in float64 or put in the images' order.
"""

from collections import deque
from collections.abc import Callable

import torch
from torch import Tensor

from bench import dist, extractors, metrics
from bench.errors import BenchError
from bench.estimates import NEED_LOGITS, NEED_REAL_FEATURES, Found, Score, estimate, least_images
from bench.extractors import Extractor
from bench.metrics import GROUPS, Moments
from bench.references import Reference

# What can be measured


def refusal(metric: str, extractor: Extractor, reference: Reference, n: int) -> str:
    """Why the metric can not be had from n images; "" where it can."""
    real = reference.features if metric in NEED_REAL_FEATURES else None
    if metric in NEED_REAL_FEATURES and real is None:
        return f"the reference {reference.name} holds statistics and no features or images"
    least = least_images(metric, extractor.dim)
    if n < least:
        return f"{n:,} images; it needs {least:,}"
    if real is not None and len(real) < least:
        return f"{len(real):,} real images; it needs {least:,}"
    if metric == "spatial_frechet_distance" and reference.spatial is None:
        return f"the reference {reference.name} has no spatial statistics (mu_s, sigma_s)"
    return ""


def choose(wanted: tuple[str, ...], extractor: Extractor, reference: Reference, n: int) -> tuple[tuple[str, ...], list[str]]:
    """The metrics to measure, and what a reader should know: what "auto" leaves out and why, and too few images.

    Raises BenchError for a metric that was asked for by name and can not be had.
    """
    dim = extractor.dim
    sides = {"generated": n, "real": reference.images or dim + 1}
    remarks = [
        f"{side}: {count:,} images in {dim:,} dimensions: the covariance is singular, and the distance mostly small-sample bias"
        for side, count in sides.items()
        if count <= dim
    ]
    if wanted == ("auto",):
        reasons = {metric: refusal(metric, extractor, reference, n) for metric in extractors.metrics_of(extractor)}
        left_out = [f"{metric} is left out: {reason}" for metric, reason in reasons.items() if reason]
        return tuple(metric for metric, reason in reasons.items() if not reason), remarks + left_out
    check(wanted, extractor, n)
    for metric in wanted:
        if reason := refusal(metric, extractor, reference, n):
            remedy = "Use more --samples, another reference, or leave this metric out."
            raise BenchError(f"Metric {metric}: {reason}", "enough images, and a reference that has it", remedy)
    return tuple(dict.fromkeys(wanted)), remarks


def check(wanted: tuple[str, ...], extractor: Extractor, n: int) -> None:
    """What `choose` would refuse and that is known without a reference: before hours of training. Raises BenchError."""
    offered = ("auto", *extractors.metrics_of(extractor))
    for metric in wanted:
        if metric not in offered or (metric == "auto" and len(wanted) > 1):
            raise BenchError(f"Metric {metric!r} with extractor {extractor.name}", ", ".join(offered), "Correct eval.metrics.")
        least = least_images(metric, extractor.dim)
        if n < least:
            raise BenchError(f"Metric {metric}: {n:,} images; it needs {least:,}", f"{least:,} or more", "Use more --samples.")


# Streaming

ON_THE_WAY = 2  # batches whose rows may still be coming from a GPU


class Scorer:
    """Sums and, where a metric needs them, features and logits of the images of one process.

    With Frechet distances alone the memory does not depend on the number of images. Of images that lie on a GPU `update`
    only launches the work; sums and rows are complete in `scores`.
    """

    def __init__(
        self, extractor: Extractor, reference: Reference, wanted: tuple[str, ...], n: int, group: Tensor | None = None
    ) -> None:
        """`group`: (n,) int64, images that are left out together; by itself consecutive ones."""
        self.group = metrics.consecutive_groups(n) if group is None else group
        self.extractor, self.reference, self.wanted, self.n = extractor, reference, wanted, n
        self.device = torch.device(getattr(extractor, "device", "cpu"))
        self.moments = Moments(extractor.dim, GROUPS, self.device)
        spatial = reference.spatial if "spatial_frechet_distance" in wanted else None
        self.spatial = Moments(len(spatial.mean), GROUPS, self.device) if spatial else None
        # n <= dim: so few features that the exact form through their singular values is also the cheap one.
        self.keeps = {
            "features": n <= extractor.dim or any(metric in wanted for metric in NEED_REAL_FEATURES),
            "logits": any(metric in wanted for metric in NEED_LOGITS),
            "label": "class_accuracy" in wanted,
            "places": spatial is not None and n <= len(spatial.mean),
        }
        self.index: list[Tensor] = []
        self.kept: dict[str, list[Tensor]] = {name: [] for name in self.keeps}
        self.coming: deque[dict[str, Callable[[], Tensor]]] = deque()  # of the last batches, in order

    def update(self, index: Tensor, images: Tensor, label: Tensor | None = None) -> None:
        """Add images uint8 (B, C, H, W) with their numbers (B,) in [0, n); numbers beyond are padding and dropped."""
        own = index < self.n
        if not bool(own.all()):
            index, images, label = index[own], images[own], label[own] if label is not None else None
        if not len(index):
            return
        found = extractors.outputs(self.extractor, images)
        if self.keeps["label"] and label is not None and found.logits is not None:
            _require_classes(label, found.logits.shape[1], self.extractor.name)
        group = self.group[index]
        self.moments.update(found.features, group)
        if self.spatial is not None and found.spatial is not None:
            self.spatial.update(found.spatial, group)
        self.index.append(index)
        rows_of = {"features": found.features, "logits": found.logits, "label": label, "places": found.spatial}
        coming = {}
        for name, rows in rows_of.items():
            if self.keeps[name]:
                assert rows is not None, f"{self.extractor.name} gives no {name}"
                coming[name] = dist.fetched(rows)
        self.coming.append(coming)
        self._keep(ON_THE_WAY)

    def _keep(self, on_the_way: int) -> None:
        """Take in the rows of all batches but the last ones."""
        while len(self.coming) > on_the_way:
            for name, rows in self.coming.popleft().items():
                self.kept[name].append(rows())

    def scores(self) -> list[Score]:
        """Of the images of all processes; the same on each. A collective operation: every process calls it."""
        self._keep(0)
        moments = dist.together(self.moments)
        assert moments.n == self.n, f"{moments.n} images, {self.n} were promised"
        spatial = dist.together(self.spatial) if self.spatial else None
        whole = {name: self._whole(name) for name, kept in self.keeps.items() if kept}
        found = Found(reference=self.reference, moments=moments, spatial=spatial, group=self.group, **whole)
        return [estimate(metric, found) for metric in self.wanted]

    def _whole(self, name: str) -> Tensor:
        """The kept rows of all processes, in the order of the images."""
        parts = self.kept[name]
        nothing = torch.zeros(0, dtype=torch.int64 if name == "label" else torch.float32)
        index = torch.cat(self.index) if self.index else torch.zeros(0, dtype=torch.int64)
        return dist.gathered(index, torch.cat(parts) if parts else nothing)


def _require_classes(label: Tensor, classes: int, name: str) -> None:
    """An image whose label is no class of the extractor counts as wrong for ever: raises BenchError."""
    low, high = int(label.min()), int(label.max())
    if low < 0 or high >= classes:
        given = f"Metric class_accuracy: labels from {low} to {high}, and extractor {name} knows {classes} classes"
        raise BenchError(given, f"labels from 0 to {classes - 1}", "Correct the labels (arr_1), or leave this metric out.")
