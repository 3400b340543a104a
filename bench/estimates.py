"""Features of all images -> the value of each metric, with the replicates that its uncertainty comes from.

The Inception score, precision and recall, and KID over random subsets are torch-fidelity's own functions.
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from bench import intervals, metrics
from bench.metrics import Moments, Statistics
from bench.references import Reference

SUBSET = 1000  # images a subset of kernel_distance_subsets, as in torch-fidelity
ISC_SPLITS = 10  # of inception_score, as in torch-fidelity
ADM_CHUNK = 5000  # images a chunk of inception_score_adm
NEIGHBOURS = 3  # of precision and recall
PRC_BATCH = 10_000  # features compared at a time


@dataclass(frozen=True)
class Score:
    metric: str
    value: float
    resampling: str = ""  # jackknife | blocks | ""
    replicates: tuple[float, ...] = ()

    @property
    def better(self) -> str:
        return METRICS[self.metric][0]

    @property
    def standard_error(self) -> float | None:
        return intervals.standard_error(self.replicates, self.resampling)


@dataclass(frozen=True, kw_only=True)
class Found:
    """Everything that the metrics are computed from; what no metric asked for is None."""

    reference: Reference
    moments: Moments
    spatial: Moments | None = None
    features: Tensor | None = None  # (n, dim), in the order of the images
    places: Tensor | None = None  # (n, spatial_dim)
    logits: Tensor | None = None  # (n, classes)
    label: Tensor | None = None  # (n,)
    group: Tensor  # (n,) int64, of each image: which are left out together

    @property
    def n(self) -> int:
        return self.moments.n

    def both(self) -> tuple[Tensor, Tensor]:
        """Generated and real features."""
        real = self.reference.features
        assert self.features is not None
        assert real is not None
        return self.features, real


def estimate(metric: str, found: Found) -> Score:
    """The metric's value; `bench.scores.refusal` tells beforehand whether it can be had."""
    return METRICS[metric][1](metric, found)


# Frechet distances


def _frechet(metric: str, found: Found) -> Score:
    return _distance(metric, found.reference.statistics, found.moments, found.features, found.group)


def _frechet_spatial(metric: str, found: Found) -> Score:
    assert found.spatial is not None
    assert found.reference.spatial is not None
    return _distance(metric, found.reference.spatial, found.spatial, found.places, found.group)


def _distance(metric: str, reference: Statistics, moments: Moments, features: Tensor | None, group: Tensor) -> Score:
    """With n <= d through the singular values of the features, else through the moments."""
    real = reference.to(moments.sum.device)
    if features is None or moments.n > len(real.mean):
        value = metrics.frechet_distance(real, moments.statistics())
        return Score(metric, value, intervals.JACKKNIFE, metrics.frechet_replicates(real, moments))
    value = metrics.frechet_distance_from_features(real, features)
    replicates = [metrics.frechet_distance_from_features(real, features[rows]) for rows in without_each(group)]
    return Score(metric, value, intervals.JACKKNIFE, tuple(replicates))


def without_each(group: Tensor) -> list[Tensor]:
    """Masks (n,) of the images that stay when each group is left out; none for fewer than two images a group."""
    return [group != g for g in range(metrics.GROUPS)] if len(group) >= 2 * metrics.GROUPS else []


def _frechet_infinite(metric: str, found: Found) -> Score:
    real = found.reference.statistics.to(found.moments.sum.device)
    return Score(metric, metrics.frechet_distance_infinite(real, found.moments))


# Kernel distances


def _kernel(metric: str, found: Found) -> Score:
    x, y = found.both()
    blocks = metrics.kernel_distances(x, y, metrics.block_size(len(x), len(y))).tolist()
    return Score(metric, sum(blocks) / len(blocks), intervals.BLOCKS, tuple(blocks))


def _kernel_subsets(metric: str, found: Found) -> Score:
    """torch-fidelity's: the mean over 100 random subsets of 1,000. They overlap, so their spread is no standard error."""
    from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, kid_features_to_metric

    x, y = found.both()
    return Score(metric, float(kid_features_to_metric(x, y, kid_subset_size=SUBSET, verbose=False)[KEY_METRIC_KID_MEAN]))


# Inception score, precision and recall, accuracy


def _inception_score(metric: str, found: Found) -> Score:
    """torch-fidelity's convention: shuffled, ten splits."""
    return Score(metric, inception_score(found.logits, splits=ISC_SPLITS, shuffle=True))


def _inception_score_adm(metric: str, found: Found) -> Score:
    """The ADM evaluator's convention: consecutive chunks of 5,000, not shuffled; fewer images are one chunk."""
    return Score(metric, inception_score(found.logits, splits=max(1, found.n // ADM_CHUNK), shuffle=False))


def inception_score(logits: Tensor | None, *, splits: int, shuffle: bool) -> float:
    """The mean over splits of exp E KL(p(y|x) | p(y)), from logits (n, classes) without their bias."""
    from torch_fidelity.metric_isc import KEY_METRIC_ISC_MEAN, isc_features_to_metric

    assert logits is not None
    return float(isc_features_to_metric(logits, splits=splits, shuffle=shuffle)[KEY_METRIC_ISC_MEAN])


def _precision_recall(metric: str, found: Found) -> Score:
    """Shares of images inside the other set's 3-nearest-neighbour balls (arXiv 1904.06991), torch-fidelity's function."""
    from torch_fidelity.metric_prc import KEY_METRIC_PRECISION, KEY_METRIC_RECALL, prc_features_to_metric

    x, y = found.both()
    values = prc_features_to_metric(
        x, y, prc_neighborhood=NEIGHBOURS, prc_batch_size=PRC_BATCH, save_cpu_ram=True, verbose=False
    )
    return Score(metric, float(values[KEY_METRIC_PRECISION if metric == "precision" else KEY_METRIC_RECALL]))


def _accuracy(metric: str, found: Found) -> Score:
    assert found.logits is not None
    assert found.label is not None
    chosen = without_each(found.group)
    replicates = tuple(metrics.accuracy(found.logits[rows], found.label[rows]) for rows in chosen)
    return Score(metric, metrics.accuracy(found.logits, found.label), intervals.JACKKNIFE, replicates)


Estimate = Callable[[str, Found], Score]

METRICS: dict[str, tuple[str, Estimate]] = {  # metric -> (which way is better, how)
    "frechet_distance": ("min", _frechet),
    "frechet_distance_infinite": ("min", _frechet_infinite),
    "spatial_frechet_distance": ("min", _frechet_spatial),
    "inception_score": ("max", _inception_score),
    "inception_score_adm": ("max", _inception_score_adm),
    "kernel_distance": ("min", _kernel),
    "kernel_distance_subsets": ("min", _kernel_subsets),
    "precision": ("max", _precision_recall),
    "recall": ("max", _precision_recall),
    "class_accuracy": ("max", _accuracy),
}
NEED_REAL_FEATURES = ("kernel_distance", "kernel_distance_subsets", "precision", "recall")
NEED_LOGITS = ("inception_score", "inception_score_adm", "class_accuracy")


def least_images(metric: str, dim: int) -> int:
    """Images on each side that the metric needs at least."""
    if metric == "frechet_distance_infinite":
        return metrics.least_for_infinite(dim)
    least = {"kernel_distance": 4, "kernel_distance_subsets": SUBSET, "inception_score": ISC_SPLITS}
    return least.get(metric, NEIGHBOURS + 1 if metric in ("precision", "recall") else 2)
