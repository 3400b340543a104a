"""A file of published weights and settings -> a finished run directory, which `bench eval` and `bench sample` take.

    run, facts = bring(Request(path=Path("ckpt.pt"), layout="soflow"), suite, Root(Path(".")), started_by="bench import ...")

Writes the snapshot, config.toml, provenance.json and last status.json. The name of the run says that it is imported.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import checkpoint, datasets, provenance
from bench.config import RunConfig, Suite
from bench.errors import BenchError, unknown
from bench.importing import files, layouts
from bench.importing.layouts import Layout, Net
from bench.store import Root, RunDirectory, write_atomic
from bench.weights import sha256_of


@dataclass(frozen=True, kw_only=True)
class Request:
    """What the user said of the file, beside the settings."""

    path: Path
    layout: str = "auto"
    weights: str = "ema"  # ema | raw
    method: str = ""  # "": the layout's
    net: str = ""  # "": as the shapes say
    images: int | None = None  # seen in training
    size: int | None = None  # of the images (latents), pixels, where the file does not say


@dataclass(frozen=True)
class Facts:
    """What was found, and what the user has to know: for the terminal and for provenance.json."""

    config: RunConfig
    net: Net
    images: int
    record: dict[str, Any]
    remarks: tuple[str, ...]
    new: bool = True


def bring(request: Request, suite: Suite, root: Root, *, started_by: str) -> tuple[RunDirectory, Facts]:
    """Import the file. Raises BenchError for what can not be read, or does not mean what this suite's networks mean."""
    contents = files.read(request.path, request.weights)
    layout = _layout(request, contents.state)
    layout.check(contents.state)
    net = layouts.guess(contents.state, request.size)
    if request.net and request.net != net.name:
        given = f"The file's network is a {net.name}, not a {request.net}"
        raise BenchError(given, net.name, f"Say --net {net.name}, or leave it out.")
    digest = sha256_of(request.path)
    config = _config(request, suite, layout, net, f"imported {layout.name} {contents.weights} {digest[:12]}")
    dataset, remarks = _data(config, net)
    images, counted = _images(request, config, contents.steps, dataset)
    remarks = (*layout.remarks, *remarks, *counted)
    record = {
        "file": request.path.name, "bytes": request.path.stat().st_size, "sha256": digest, "layout": layout.name,
        "weights": contents.weights, "beside": list(contents.beside), "steps": contents.steps, "remarks": list(remarks),
    }  # fmt: skip
    run = root.run(config.name)
    with run.locked():
        facts = Facts(config, net, images, record, remarks, new=not _is_there(run, images))
        if facts.new:
            _write(run, facts, suite, layout.convert(contents.state, net), started_by)
    return run, facts


def _layout(request: Request, state: layouts.State) -> Layout:
    if request.layout not in ("auto", *layouts.LAYOUTS):
        raise unknown("layout", request.layout, ["auto", *layouts.LAYOUTS], "Choose with --layout.")
    return layouts.recognise(state) if request.layout == "auto" else layouts.LAYOUTS[request.layout]


def _config(request: Request, suite: Suite, layout: Layout, net: Net, origin: str) -> RunConfig:
    """The settings of the run: the suite's, for this method, net and origin. Raises BenchError for another's method."""
    method = request.method or (layout.methods[0] if layout.methods else "")
    if not method:
        given = f"The layout {layout.name} does not say which method the weights are of"
        raise BenchError(given, "a method of `bench list methods`", "Choose with --method.")
    if layout.methods and method not in layout.methods:
        given = f"The layout {layout.name} with method {method}: its output means something else"
        raise BenchError(given, ", ".join(layout.methods), "Leave out --method.")
    run = suite.run.model_copy(update={"methods": (method,), "net": net.name, "seed": 0, "seeds": 1})
    return suite.model_copy(update={"run": run, "origin": origin}).runs()[0]


def _data(config: RunConfig, net: Net) -> tuple[datasets.Dataset | None, tuple[str, ...]]:
    """The data set, where its data are here. Raises BenchError where the network is not for such images."""
    datasets.dataset_class(config.dataset)
    try:
        dataset = datasets.load(config.dataset, **config.dataset_options)
    except BenchError as error:
        return None, (f"The data of {config.dataset} can not be opened ({error.given}): not compared with the network.",)
    ours = (dataset.shape, dataset.num_classes)
    if ours != (net.shape, net.num_classes):
        given = f"The file's network is for (C, H, W) = {net.shape} with {net.num_classes} classes"
        allowed = f"{ours[0]} with {ours[1]} classes, as {config.dataset} has"
        raise BenchError(given, allowed, "Choose another data set: --dataset NAME.")
    return dataset, ()


def _images(
    request: Request, config: RunConfig, steps: int | None, dataset: datasets.Dataset | None
) -> tuple[int, tuple[str, ...]]:
    """How many images training saw, and where that is from: given, counted by the file, from the epochs, else 0."""
    if request.images is not None:
        return request.images, ()
    if steps is not None:
        images = steps * config.train.batch
        return images, (f"{images:,} images: the file's {steps:,} steps of train.batch = {config.train.batch} images.",)
    if dataset is not None:
        images = config.total_images(dataset.train_images)
        return images, (f"{images:,} images: run.epochs = {config.epochs:g} of this data set.",)
    return 0, ("How many images training saw is not known, and stands as 0; --images says it.",)


def _is_there(run: RunDirectory, images: int) -> bool:
    """Whether the same import was done already, and its snapshot is whole."""
    status = run.read_status()
    if status["state"] != "finished" or status["images"] != images:
        return False
    try:
        checkpoint.load_snapshot(run.snapshot(images))
    except BenchError:
        return False
    return True


def _write(run: RunDirectory, facts: Facts, suite: Suite, weights: dict[str, Any], started_by: str) -> None:
    snapshot = checkpoint.Snapshot(
        images=facts.images,
        config=facts.config.model_dump(mode="json"),
        shape=facts.net.shape,
        num_classes=facts.net.num_classes,
        data_digest="",  # nobody recorded on which data
        weights=weights,
    )
    checkpoint.save_snapshot(run.snapshot(facts.images), snapshot)
    write_atomic(run.config, facts.config.as_toml(suite))
    description = provenance.describe(facts.config, suite, device="", data_digest="", started_by=started_by)
    write_atomic(run.provenance, provenance.as_json(description | {"imported": facts.record}))
    run.write_status("finished", images=facts.images, total=facts.images)
    run.log(f"imported from {facts.record['file']} (sha256 {facts.record['sha256']})")
