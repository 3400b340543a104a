"""Which of a run's files are not on this machine: data, decoder, networks and reference of its scores.

shapes, missing, notes = look(suite)
"""

import dataclasses
from pathlib import Path

from bench import datasets, extractors, references
from bench.config import Suite
from bench.errors import BenchError
from bench.probe import Shapes

# What is known of data that are not on this machine: (C, H, W), classes, images, and the pixels that they stand for.
ABSENT = {
    "imagenet_latents": (Shapes((4, 32, 32), 1000, 1_281_167), (3, 256, 256)),
    "cifar10": (Shapes((3, 32, 32), 10, 50_000), (3, 32, 32)),
}


def look(suite: Suite) -> tuple[Shapes, list[str], list[str]]:
    """Of the data; what is missing for training and for its scores; notes. Raises BenchError where nothing is known."""
    name = suite.run.dataset
    cls = datasets.dataset_class(name)
    try:
        dataset = datasets.load(name, **suite.datasets.get(name, {}))
    except BenchError as error:
        if name not in ABSENT:
            raise
        shapes, pixels = ABSENT[name]
        own = next((f.default for f in dataclasses.fields(cls) if f.name == "extractor"), "")
        missing = [absence(f"data {name}", error), *_missing_extractors(suite, str(own), pixels)]
        if suite.eval.reference != "data" and not Path(suite.eval.reference).exists():
            missing.append(f"reference: {suite.eval.reference} does not exist.")
        return shapes, missing, [f"The data are not here: counted as {shapes.train_images:,} images of {shapes.shape}."]
    shapes, missing = Shapes(dataset.shape, dataset.num_classes, dataset.train_images), []
    try:
        missing += _missing_extractors(suite, dataset.extractor, datasets.pixel_shape(dataset))
        if suite.eval.reference != "data":
            references.fitting(suite.eval.reference, dataset, Path())
    except BenchError as error:  # the decoder's weights, or the reference
        missing.append(absence("for scores", error))
    return shapes, missing, []


def _missing_extractors(suite: Suite, own: str, pixels: tuple[int, int, int]) -> list[str]:
    """The extractors of [eval] that can not be had here, and why; `own` is the data set's."""
    missing = []
    for name in dict.fromkeys(own if name == "auto" else name for name in suite.eval.extractor):
        try:
            extractors.load(name, pixels, "cpu", **suite.extractors.get(name, {}))
        except BenchError as error:
            missing.append(absence(f"extractor {name}", error))
    return missing


def absence(what: str, error: BenchError) -> str:
    """One sentence and what to do; where it was looked for is left to the run's own message."""
    return f"{what}: {error.given.partition('. Tried')[0]}. {error.remedy}"
