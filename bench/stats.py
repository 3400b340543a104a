"""What `bench stats` does: build files of statistics, list them, verify them.

built = build("digits", "digits", Making(), root.references)      # or a folder, or an .npz with arr_0
print(built.path, built.manifest["sha256"])
for found in listing([root.references]): print(found["file"], found["extractor"])
print(verify(built.path, Making(), recompute=100).faults)         # () where all is well
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench import datasets, dist, extractors, images, npz, statistics_files
from bench.errors import BenchError
from bench.metrics import Statistics, statistics
from bench.real_images import RealImages, images_of_dataset, images_of_source, measure, save, statistics_of
from bench.statistics_files import StatisticsFile

SAME = 1e-9  # relative: what float64 sums in another order may differ by
ALIKE = 1e-3  # of the features' spread: what float32 networks may differ by on two machines


@dataclass(frozen=True, kw_only=True)
class Making:
    """bench.toml's options, and where the extractor computes."""

    extractor_options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    dataset_options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    device: str = "auto"

    def extractor(self, name: str, shape: statistics_files.Shape) -> extractors.Extractor:
        return extractors.load(name, shape, str(dist.pick_device(self.device)), **self.extractor_options.get(name, {}))


# Building


@dataclass(frozen=True)
class Built:
    path: Path
    manifest: dict[str, Any]
    remarks: tuple[str, ...] = ()  # what was done to the images


def build(what: str, extractor: str, making: Making, folder: Path, *, out: Path | None = None, command: str = "") -> Built:
    """The statistics of a data set, a folder or an .npz of images: to `out`, else to `folder`, where evaluation finds them.

    extractor "auto": the data set's own, else inception. Raises BenchError for what can not be used. A collective operation.
    """
    if out is not None and out.suffix != ".npz":
        raise BenchError(f"--out {out}", "a name that ends in .npz", "Correct the name.")
    real, remarks, own = _open(what, making)
    judge = making.extractor(own if extractor == "auto" else extractor, real.shape)
    if out is None:
        path, found = real.file(judge, folder), statistics_of(real, judge, folder, command)
    else:
        path, found = out, measure(real, judge)
    if dist.rank() == 0 and (out is not None or not statistics_files.read_manifest(path)):  # someone may have deleted it
        save(path, real, judge, found, command)
    dist.barrier()
    return Built(path, statistics_files.read_manifest(path), remarks)


def _open(what: str, making: Making) -> tuple[RealImages, tuple[str, ...], str]:
    """The images, what was done to them, and the extractor that is used unless another is named."""
    if what in datasets.names():
        dataset = datasets.load(what, **making.dataset_options.get(what, {}))
        return images_of_dataset(dataset), (), dataset.extractor
    path = Path(what).expanduser()
    if not path.exists():
        allowed = f"a folder of images, an .npz with arr_0, or a data set: {', '.join(datasets.names())}"
        raise BenchError(f"{what!r} does not exist", allowed, "Correct the path or the name.")
    if path.suffix == ".npz" and path.is_file() and "mu" in npz.names(path):
        given = f"{path} holds statistics already; its arr_0, if it has one, is only a choice of the images behind them"
        raise BenchError(given, "images", "Use it as it is: --set eval.reference=FILE, or `bench score IMAGES FILE`.")
    source = images.open_source(path)
    return images_of_source(source), source.remarks, "inception"


# Listing


def listing(places: Iterable[Path]) -> list[dict[str, Any]]:
    """A record a file of statistics in these folders (or named itself); "fault" says what is wrong with one, else "".

    Arrays are not read: `verify` does that.
    """
    return [record for path in _files(places) if (record := _record(path))]


def _files(places: Iterable[Path]) -> Iterator[Path]:
    for place in places:
        if place.is_dir():
            yield from sorted(path for path in place.glob("*.npz") if not path.name.startswith("."))
        else:
            yield place


def _record(path: Path) -> dict[str, Any] | None:
    """None for an .npz of something else, such as images."""
    record: dict[str, Any] = {"file": str(path), "fault": ""}
    try:
        if "mu" not in npz.names(path):
            return None
        file = statistics_files.open_file(path)
        manifest = statistics_files.read_manifest(path)
        told = {key: file.identity.get(key) for key in ("name", "data", "extractor", "extractor_digest", "quantiser")}
        made = {key: manifest.get(key) for key in ("sha256", "command", "commit", "created_at", "source")}
        held = {"kind": file.kind, "dim": npz.header(path, "mu").shape[0], "images": file.images, "shape": file.shape}
        return record | told | made | held | {"bytes": path.stat().st_size, "members": list(file.members)}
    except BenchError as error:
        return record | {"fault": error.given}


# Verifying


@dataclass(frozen=True)
class Verified:
    path: Path
    checked: tuple[str, ...]  # what was found right
    faults: tuple[str, ...]
    notes: tuple[str, ...] = ()  # what could not be checked


def verify(path: Path, making: Making, *, recompute: int = 0) -> Verified:
    """Read the whole file and check it against its manifest and itself; `recompute`: so many images' features anew."""
    said: dict[str, list[str]] = {"right": [], "wrong": [], "note": []}
    for check in (_manifest, _statistics, _features, _choice, lambda file: _recomputed(file, making, recompute)):
        try:
            for kind, text in check(statistics_files.open_file(path)):
                said[kind].append(text)
        except BenchError as error:
            said["wrong"].append(error.given)
    return Verified(path, *(tuple(dict.fromkeys(said[kind])) for kind in ("right", "wrong", "note")))


Finding = tuple[str, str]  # right | wrong | note, and what


def _manifest(file: StatisticsFile) -> Iterator[Finding]:
    manifest = statistics_files.read_manifest(file.path)
    if not manifest:
        yield (
            "note",
            f"no manifest {statistics_files.manifest_path(file.path).name} beside it: nothing to hold its digest against",
        )
        return
    with file.path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    same = digest == manifest["sha256"]
    yield ("right", "sha256") if same else ("wrong", f"sha256 {digest[:12]}..., the manifest says {manifest['sha256'][:12]}...")
    if manifest["identity"] != file.identity:
        yield "wrong", "the manifest tells of another file: its identity is not the one inside"


def _statistics(file: StatisticsFile) -> Iterator[Finding]:
    for mean, read in (("mu", file.statistics), ("mu_s", file.spatial)):
        if found := read():
            d = len(found.mean)
            yield (
                "right",
                f"{mean} and {statistics_files.PAIRS[mean]}: {d:,} dimensions, finite, symmetric, no negative eigenvalue",
            )


def _features(file: StatisticsFile) -> Iterator[Finding]:
    """Where all features were kept, mu and sigma are theirs."""
    if "features" not in file.members:
        return
    features, held = file.features(), file.statistics()
    if not _are_rows(features, len(held.mean)):
        yield "wrong", f"features {tuple(features.shape)} are not finite rows of {len(held.mean):,} numbers"
    elif len(features) == held.n:
        same = far(held, statistics(features)) <= SAME
        yield (
            ("right", "mu and sigma are those of the features")
            if same
            else ("wrong", "mu and sigma are not those of the features")
        )
    else:
        yield "right", f"features of {len(features):,} of {held.n:,} images: finite"


def _are_rows(features: Tensor, dim: int) -> bool:
    return features.dim() == 2 and features.shape[1] == dim and bool(features.isfinite().all())


def far(a: Statistics, b: Statistics) -> float:
    """The largest difference of two means and covariances, relative to the largest number."""
    pairs = ((a.mean, b.mean), (a.covariance, b.covariance))
    return max(float((x - y).abs().max() / x.abs().max().clamp(min=1e-300)) for x, y in pairs)


def _choice(file: StatisticsFile) -> Iterator[Finding]:
    """arr_0, read to its end: its checksum is compared on the way."""
    if "arr_0" in file.members:
        source = images.open_source(file.path)  # refuses what is no array of images
        count = sum(len(block) for block in npz.blocks(file.path, "arr_0", images.BATCH))
        assert count == source.count
        yield "right", f"arr_0: {count:,} images, whole"


def _recomputed(file: StatisticsFile, making: Making, count: int) -> Iterator[Finding]:
    if not count:
        return
    where = statistics_files.read_manifest(file.path).get("source", {})
    if "features" not in file.members or not where:
        yield "note", "no features, or no manifest that says where the images are: nothing to recompute"
        return
    real = _found_again(where, file)
    judge = making.extractor(file.identity["extractor"], real.shape)
    statistics_files.check_made_with(file, judge, real.shape)
    if real.digest != file.identity["data"]:
        yield "wrong", f"the images of {real.name} are others now (digest {real.digest[:12]}...)"
        return
    features, place, done, worst = file.features(), real.kept.cumsum(0) - 1, 0, 0.0
    if not _are_rows(features, judge.dim) or len(features) != int(real.kept.sum()):
        yield "wrong", f"features {tuple(features.shape)} are not those of {int(real.kept.sum()):,} images"
        return
    for number, batch in real.batches(0, 1):
        rows = real.kept[number].nonzero()[: count - done, 0]
        anew = extractors.outputs(judge, batch[rows]).features.cpu()
        worst = max(worst, float((anew - features[place[number[rows]]]).abs().max()))
        done += len(rows)
        if done >= count:
            break
    limit = ALIKE * float(torch.std(features))
    kind = "right" if worst <= limit else "wrong"
    yield kind, f"features of {done:,} images anew: they differ by up to {worst:.2g} (allowed: {limit:.2g})"


def _found_again(where: Mapping[str, Any], file: StatisticsFile) -> RealImages:
    """The images that the manifest names."""
    if "dataset" in where:
        return images_of_dataset(datasets.load(where["dataset"], **where["options"]))
    source = images.open_source(Path(where["path"]))
    return images_of_source(source.in_channels(file.identity["shape"][0]))
