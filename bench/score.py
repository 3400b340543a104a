"""Scores of images that the suite did not make, against real ones or against each other, under one or several protocols.

    found = score("samples.npz", "VIRTUAL_imagenet256_labeled.npz", Ways(protocols=("inception", "clean_fid")), root.references)
    print("\n".join(lines(found)))
    write(found, Path("scores.json"))

`a` is a folder of images or an .npz with arr_0; `b` one of these, a file of statistics, or the name of a data set. All
protocols score the same images, in-stream; under several processes each its share.
"""

import json
import math
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench import datasets, dist, extractors, images, provenance, scores, statistics_files
from bench.errors import BenchError
from bench.estimates import METRICS, Score
from bench.evaluate import VERSION, Judge, Watch
from bench.extractors import Extractor
from bench.images import Source
from bench.protocol import Protocol
from bench.references import Origin, Reference, by, origin, origin_of_dataset, origin_of_source
from bench.statistics_files import Shape
from bench.store import write_atomic

DEFAULT = "inception"  # the protocol, where the reference is no data set with one of its own
NEED_LABELS = ("class_accuracy",)


@dataclass(frozen=True, kw_only=True)
class Ways:
    """How to score."""

    protocols: tuple[str, ...] = ("auto",)  # names of extractors; auto: the data set's own, else inception
    extractor_options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # bench.toml's [extractors]
    dataset_options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # bench.toml's [datasets]
    metrics: tuple[str, ...] = ("auto",)
    n: int | None = None  # images of `a` to score; None: all
    order: str = "shuffled"  # or "stored": of an .npz, so that inception_score_adm has ADM's own chunks
    device: str = "auto"


@dataclass(frozen=True)
class Judged:
    """What one protocol says."""

    protocol: Protocol
    reference: Reference
    scores: tuple[Score, ...]
    remarks: tuple[str, ...]


@dataclass(frozen=True)
class Scored:
    """The images, what every protocol says of them, and what a reader should know."""

    source: Source
    n: int
    judged: tuple[Judged, ...]
    remarks: tuple[str, ...]  # of all protocols
    circumstances: dict[str, Any]


def score(a: str, b: str, ways: Ways, folder: Path, *, command: str = "", watch: Watch | None = None) -> Scored:
    """Statistics of real images are kept in `folder`. Raises BenchError for images, references and protocols that do not fit.

    A collective operation: under several processes every one calls it, and has the same result.
    """
    started = time.monotonic()
    source, real = matched(images.open_source(Path(a).expanduser(), ways.order), open_reference(b, ways, folder), folder)
    n = source.count if ways.n is None else ways.n
    if not 2 <= n <= source.count:
        given = f"{n:,} images asked of {source.path}, which holds {source.count:,}"
        raise BenchError(given, f"2 to {source.count:,}", "Ask for fewer, or make more.")
    own = datasets.dataset_class(b).extractor if b in datasets.names() else DEFAULT
    names = dict.fromkeys(own if name == "auto" else name for name in ways.protocols)
    judges = [make_judge(name, source, real, n, ways) for name in names]
    scorers = [judge.scorer(n, source.groups(n)) for judge in judges]
    done, parts = 0, dist.world_size()
    for number, batch, label in source.batches(n, dist.rank(), parts):
        for scorer in scorers:
            scorer.update(number, batch, label)
        done += len(number)
        if watch:
            watch("scoring", min(done * parts, n), n)
    judged = tuple(
        Judged(judge.protocol, judge.reference, tuple(scorer.scores()), judge.remarks)
        for judge, scorer in zip(judges, scorers, strict=True)
    )
    circumstances = about(a, b, ways, command) | {"seconds": time.monotonic() - started}
    return Scored(source, n, judged, remarks_of(source, real, judged), circumstances)


# The two sides


def open_reference(b: str, ways: Ways, folder: Path) -> Origin:
    """A data set by its name; else a path."""
    if b in datasets.names():
        return origin_of_dataset(datasets.load(b, **ways.dataset_options.get(b, {})), folder)
    if not Path(b).expanduser().exists():
        allowed = f"a folder of images, an .npz of images or statistics, or a data set: {', '.join(datasets.names())}"
        raise BenchError(f"{b!r} does not exist", allowed, "Correct the path or the name.")
    return origin(b, folder)


def matched(source: Source, real: Origin, folder: Path) -> tuple[Source, Origin]:
    """Both sides in grey or both in colour. Raises BenchError for colours against statistics of grey images."""
    if real.shape is None or real.shape[0] == source.shape[0]:
        return source, real
    if real.source and real.shape[0] == 1:
        return source, origin_of_source(real.source.in_channels(3), folder)
    return source.in_channels(real.shape[0]), real


def make_judge(name: str, source: Source, real: Origin, n: int, ways: Ways) -> Judge:
    """The extractor for the images, what they are compared with, the metrics and what to say of them."""
    extractor, for_real = eyes(name, source.shape, real.shape or source.shape, ways)
    reference = real.reference(for_real)
    unlabelled = [metric for metric in NEED_LABELS if source.label is None and metric in extractors.metrics_of(extractor)]
    for metric in unlabelled:
        if metric in ways.metrics:
            raise BenchError(f"Metric {metric}: {source.path} has no labels", "an .npz with arr_1", "Leave this metric out.")
    chosen, remarks = scores.choose(ways.metrics, extractor, reference, n)
    remarks += [f"{metric} is left out: {source.name} has no labels" for metric in unlabelled if metric in chosen]
    chosen = tuple(metric for metric in chosen if metric not in unlabelled)
    if source.label is None and "frechet_distance_infinite" in chosen:
        remarks.append(
            "n to infinity takes the images for independent draws; equal counts a class are not: give labels (arr_1)"
        )
    return Judge(extractor, reference, make_protocol(source, reference, extractor, n), chosen, tuple(remarks))


def eyes(name: str, shape: Shape, real: Shape, ways: Ways) -> tuple[Extractor, Extractor]:
    """The extractor for the images and the one for the real ones: one and the same where both have one shape.

    Raises BenchError where it sees images of the two shapes in different ways.
    """
    device, options = str(dist.pick_device(ways.device)), ways.extractor_options.get(name, {})
    extractor = extractors.load(name, shape, device, **options)
    if shape == real:
        return extractor, extractor
    other = extractors.load(name, real, device, **options)
    about_both = [statistics_files.about_extractor(e) | {"dim": e.dim} for e in (extractor, other)]
    if about_both[0] != about_both[1]:
        given = f"Extractor {name} on images of {by(shape)} and of {by(real)}: its features do not compare"
        raise BenchError(given, "images of one size", "Use an extractor that resizes, or images of one size.")
    return extractor, other


def make_protocol(source: Source, reference: Reference, extractor: Extractor, n: int) -> Protocol:
    """What moves a score, besides the images that are scored. Labels and quantiser of those are not known."""
    conditions = {
        "version": VERSION,
        "extractor": extractor.name,
        "extractor_digest": extractor.digest,
        **{f"extractor_{key}": value for key, value in extractors.conditions_of(extractor).items()},
        "samples": n,
        "samples_shape": list(source.shape),
        "order": source.order,
        "label_rule": "unknown",
        "quantiser": "as stored",
        "reference": reference.name,
        "reference_digest": reference.digest,
        "reference_images": reference.images,
        "reference_shape": list(reference.shape) if reference.shape else None,
        **reference.conditions,
    }
    return Protocol(f"{extractors.title_of(extractor)}-n{n}", conditions)


def remarks_of(source: Source, real: Origin, judged: Sequence[Judged]) -> tuple[str, ...]:
    """What was done to the images, and what a reader might not expect."""
    found = [*source.remarks, *(real.source.remarks if real.source else ())]
    if real.shape is None:
        found.append(f"{real.name} does not say of what size its images are; {source.name} has {by(source.shape)}")
    elif real.shape[1:] != source.shape[1:]:
        sides = f"{source.name} has images of {by(source.shape)}, {real.name} of {by(real.shape)}"
        found.append(f"{sides}: the extractor resizes them, and part of the distance is the resolution")
    if any(j.reference.digest == source.digest for j in judged):
        found.append(f"{source.name} and {real.name} are the same files")
    if any(j.reference.kind == "adm" and j.reference.load_features for j in judged):
        found.append(f"{real.name}: Frechet distances use mu and sigma; kernel distances, precision and recall its arr_0")
    return tuple(found)


# What is shown and kept


def about(a: str, b: str, ways: Ways, command: str) -> dict[str, Any]:
    sha, dirty = provenance.commit()
    return {
        "a": a,
        "b": b,
        "command": command,
        "commit": sha,
        "dirty": dirty,
        "versions": provenance.versions(),
        "device": dist.device_label(dist.pick_device(ways.device)),
        "processor": provenance.processor(),
        "platform": platform.platform(),
        "processes": dist.world_size(),
        "finished_at": provenance.now(),
    }


def records(found: Scored) -> list[dict[str, Any]]:
    """A record a value: what a table shows and the JSON holds."""
    return [
        {"protocol": j.protocol.id, "extractor": j.protocol.conditions["extractor"], "n": found.n}
        | asdict(s)
        | {"value": s.value if math.isfinite(s.value) else None}  # JSON has no word for it; the remarks do
        | {"better": s.better, "standard_error": s.standard_error, "reference": j.reference.name}
        for j in found.judged
        for s in j.scores
    ]


def lines(found: Scored) -> list[str]:
    """What was compared; a table, a line a metric and a column a protocol; the remarks."""
    table = [["", *(j.protocol.id for j in found.judged)]]
    for metric in dict.fromkeys(s.metric for j in found.judged for s in j.scores):
        cells = [next((as_text(s) for s in j.scores if s.metric == metric), "-") for j in found.judged]
        table.append([f"{metric} {'↓' if METRICS[metric][0] == 'min' else '↑'}", *cells])
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    text = [
        "  ".join([row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))])
        for row in table
    ]
    against = ", ".join(dict.fromkeys(j.reference.name for j in found.judged))
    head = f"{found.n:,} images of {found.source.path} against {against}; se: standard error, of these images"
    return [head, *text, *all_remarks(found)]


def as_text(score: Score) -> str:
    error = score.standard_error
    return f"{score.value:.5g}" if error is None else f"{score.value:.5g} (se {error:.2g})"


def all_remarks(found: Scored) -> list[str]:
    broken = [f"{j.protocol.id}: {s.metric} is {s.value}" for j in found.judged for s in j.scores if not math.isfinite(s.value)]
    return [*found.remarks, *broken, *(f"{j.protocol.id}: {remark}" for j in found.judged for remark in j.remarks)]


def as_json(found: Scored) -> dict[str, Any]:
    """All that is needed to trace the values: both sides' digests, every protocol's conditions, versions, command."""
    source = {key: getattr(found.source, key) for key in ("name", "digest", "count", "shape", "order")}
    return {
        "format": 1,
        "samples": source
        | {"path": str(found.source.path.resolve()), "scored": found.n, "labels": found.source.label is not None},
        "references": {
            j.protocol.id: {key: getattr(j.reference, key) for key in ("name", "digest", "images", "kind", "shape")}
            for j in found.judged
        },
        "protocols": {j.protocol.id: j.protocol.conditions for j in found.judged},
        "scores": records(found),
        "remarks": all_remarks(found),
        **found.circumstances,
    }


def write(found: Scored, path: Path) -> None:
    """Whole or not at all. Raises BenchError or RunFailed."""
    write_atomic(path, json.dumps(as_json(found), indent=1, sort_keys=True, allow_nan=False) + "\n")
