"""A snapshot -> samples -> features -> rows: every metric of every protocol at each number of steps and sampling seed.

    judges = make_judges(dataset, extractors, settings, root.references)
    rows = evaluate(model, dataset, judges, settings)

Several protocols score the same samples. Under several processes each makes and scores its own share of the images.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from bench import accord, datasets, dist, extractors, overlap, provenance, references, sample, scores
from bench.config import Eval
from bench.errors import NotFinite
from bench.estimates import METRICS, NEED_REAL_FEATURES, Score
from bench.extractors import Extractor
from bench.protocol import Protocol
from bench.references import Reference
from bench.rows import Row

VERSION = 3  # of how these scores are computed; part of the protocol


def make_protocol(
    reference: Reference, extractor: Extractor, settings: Eval, weights: str = "ema", decoder: Mapping[str, Any] | None = None
) -> Protocol:
    """What moves a score, besides the run, the number of steps and the seeds. `decoder`: a data set's own conditions."""
    conditions: dict[str, Any] = {
        "version": VERSION,
        "extractor": extractor.name,
        "extractor_digest": extractor.digest,
        **{f"extractor_{key}": value for key, value in extractors.conditions_of(extractor).items()},
        "samples": settings.samples,
        "label_rule": settings.label_rule,
        "quantiser": settings.quantiser,
        "reference": reference.name,
        "reference_digest": reference.digest,
        "reference_images": reference.images,
        **reference.conditions,
        "weights": weights,
        **(decoder or {}),
    }
    return Protocol(f"{extractors.title_of(extractor)}-n{settings.samples}-{settings.label_rule}", conditions)


@dataclass(frozen=True)
class Judge:
    """One way to score: an extractor, what it compares with, and what is measured."""

    extractor: Extractor
    reference: Reference
    protocol: Protocol
    metrics: tuple[str, ...]
    remarks: tuple[str, ...] = ()  # what was left out, and where there are too few images

    def scorer(self, n: int, group: Tensor | None = None) -> scores.Scorer:
        """`group` (n,): images that are left out together; by itself consecutive ones."""
        return scores.Scorer(self.extractor, self.reference, self.metrics, n, group)


def make_judges(
    dataset: datasets.Dataset, found: Sequence[Extractor], settings: Eval, folder: Path, weights: str = "ema"
) -> list[Judge]:
    """One an extractor; `weights`: ema, raw, unknown. Raises BenchError for metrics that can not be had."""
    judges = []
    for extractor in found:
        reference = references.load(settings.reference, dataset, extractor, folder)
        chosen, remarks = scores.choose(settings.metrics, extractor, reference, settings.samples)
        protocol = make_protocol(reference, extractor, settings, weights, datasets.conditions_of(dataset))
        judges.append(Judge(extractor, reference, protocol, chosen, tuple(remarks)))
    return judges


def has_floor(judge: Judge) -> bool:
    """Whether the real features are at hand anyway: a file's images are not taken through the network for a floor alone."""
    wanted = judge.reference.kind == "data" or any(metric in NEED_REAL_FEATURES for metric in judge.metrics)
    return wanted and judge.reference.features is not None


# The scores

Watch = Callable[[str, int, int], None]  # (what, images done, images in all)


def step_counts(method: str, settings: Eval) -> list[int]:
    return sorted({*settings.steps, *settings.extra_steps.get(method, ())})


def sample_seeds(settings: Eval) -> range:
    return range(settings.seed, settings.seed + settings.seeds)


def evaluate(
    model: sample.Model,
    dataset: datasets.Dataset,
    judges: Sequence[Judge],
    settings: Eval,
    watch: Watch | None = None,
) -> list[Row]:
    """Rows of every metric at every number of steps and sampling seed, the same on every process.

    A count that the method can not sample in is a skipped row; samples that are not finite make a failed one.
    """
    stamp = provenance.stamp(model.config, model.images, dist.device_label(model.device))
    stamp |= {"world_size": dist.world_size()}
    rows = []
    for judge in judges:
        if has_floor(judge):
            assert judge.reference.features is not None
            own = stamp | {"protocol": judge.protocol.id, "n": len(judge.reference.features) // 2}
            value = references.floor(judge.reference.features)
            rows.append(Row(**own, metric="frechet_distance_floor", value=value, better="min", seconds=0.0))
    for steps in step_counts(model.config.method, settings):
        refused = sample.refusal(model, steps)
        for seed in sample_seeds(settings):
            shared = stamp | {"steps": steps, "n": settings.samples, "sample_seed": seed}
            if refused:
                rows += without_value(shared, judges, "skipped", refused)
                continue
            started = time.monotonic()
            try:
                found = score(model, dataset, judges, settings, steps, seed, watch)
            except NotFinite as error:
                rows += without_value(shared, judges, "failed", str(error))
                continue
            seconds = time.monotonic() - started
            for judge, of_judge in zip(judges, found, strict=True):
                rows += [as_row(s, shared | {"protocol": judge.protocol.id, "seconds": seconds}) for s in of_judge]
    return rows


def as_row(score: Score, shared: dict[str, Any]) -> Row:
    """`shared`: the columns that are not the score's own."""
    return Row(
        **shared,
        metric=score.metric,
        value=score.value,
        better=score.better,
        standard_error=score.standard_error,
        resampling=score.resampling if score.replicates else "",
        replicates=score.replicates,
    )


def without_value(shared: dict[str, Any], judges: Sequence[Judge], status: str, reason: str) -> list[Row]:
    """A row of each metric that there is no value for."""
    own = shared | {"value": None, "seconds": 0.0, "status": status, "reason": reason}
    return [
        Row(**own, metric=metric, better=METRICS[metric][0], protocol=judge.protocol.id)
        for judge in judges
        for metric in judge.metrics
    ]


def score(
    model: sample.Model,
    dataset: datasets.Dataset,
    judges: Sequence[Judge],
    settings: Eval,
    steps: int,
    seed: int,
    watch: Watch | None = None,
) -> list[list[Score]]:
    """Each judge's scores of one set of samples; sampling, decoding and features of successive batches overlap on a GPU."""
    request = sample.Request(
        samples=settings.samples, batch=settings.batch, seed=seed, label_rule=settings.label_rule,
        part=dist.rank(), parts=dist.world_size(),
    )  # fmt: skip
    scorers = [judge.scorer(settings.samples) for judge in judges]

    def look(batch: sample.Batch) -> sample.Batch:
        for scorer in scorers:
            scorer.update(batch.index, batch.images, batch.label)
        return batch

    stages = (lambda drawn: sample.sampled(model, drawn, steps), lambda made: sample.decoded(dataset, made), look)
    done = 0
    with (
        accord.agreement(),
        datasets.quantising(settings.quantiser),
        sample.drawn(model, request) as noises,
        overlap.lanes(model.device, len(stages)) as lanes,
    ):
        for batch in overlap.overlapped(noises, stages, lanes):
            done += len(batch.index)
            if watch:
                watch(f"{steps} step{'s' * (steps > 1)}", done * request.parts, settings.samples)
    return [scorer.scores() for scorer in scorers]
