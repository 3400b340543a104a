"""What may not move at all: committed small snapshots, sampled, scored and trained one step further on every check.

    values = measure(read(path), scene)        # name -> value
    verdicts = compare(method, expected, values)

From the same weights, noises and batch everything follows up to rounding. So a bug in a sampler, the quantiser, the
extractor, a metric, a method's draws or its loss shows here without statistics, and each verdict says which of them moved.
The weights are stored in 16 bits: as good as any, and a third of a file.
"""

import copy
import math
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench import checkpoint, datasets, evaluate, extractors, rng, sample, train
from bench.checkpoint import Snapshot
from bench.config import Eval, Loop, RunConfig
from bench.errors import BenchError
from bench.gate.judgement import Quantity, Verdict, nearness
from bench.step import Step, build_net, load_method
from bench.store import RunDirectory

IMAGES = 32  # stored, at each number of steps
SAMPLES = 256  # scored
STEPS = 40  # of the short training
LARGEST = 200_000  # parameters: a larger network is not for a repository

# Rounding moves a value by up to 2e-5 of itself (4e-5 of the kernel distance) between 1 and 2 threads, torch 2.7 and 2.15,
# AVX and SSE 4.1; features of stored images by 4e-9, and no pixel at all (docs/gate.md). The tolerances are 50 times that
# and more, below what each planted bug moves.
ABSOLUTE = {"image_levels": 0.01, "class_accuracy": 0.006, "kernel_distance": 1e-3}
RELATIVE = {"features": 1e-5}
OTHERWISE = 1e-3  # relative

REASONS = {
    "image_levels": "the same weights and noises give other images: the sampler, the network or the quantiser",
    "features": "the same images give other features: the extractor",
    "score": "the same weights give another score, see the lines above for where; if they held: the metric or the reference",
    "step": "the same weights and position give another training step: the batch, the draws, the loss or the optimiser",
    "short": "the same seed trains to other weights in a few steps: the loop, the schedule, the optimiser or what is stored",
}


@dataclass(frozen=True)
class Anchor:
    """A snapshot and the images that it gave."""

    snapshot: Snapshot
    images: dict[int, Tensor]  # by number of steps, uint8 (IMAGES, C, H, W)
    digest: str


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What an anchor is measured with."""

    config: RunConfig  # of the check, not of the snapshot: what a default became is part of what is watched
    dataset: datasets.Dataset
    extractor: extractors.Extractor
    settings: Eval
    references: Path


# The files


def write(path: Path, snapshot: Snapshot, scene: Scene) -> Anchor:
    """Store a snapshot in 16 bits with the images that it gives then. Raises BenchError for a network too large."""
    count = sum(value.numel() for value in snapshot.weights.values())
    if count > LARGEST:
        given = f"A network of {count:,} parameters in the gate's profile"
        raise BenchError(given, f"at most {LARGEST:,}: its weights are committed", "Choose a smaller run.net.")
    half = {name: value.half() for name, value in snapshot.weights.items()}
    rounded = Snapshot(**{**vars(snapshot), "weights": {name: value.float() for name, value in half.items()}})
    made = images(rounded, scene)
    tensors = {f"weights.{name}": value for name, value in half.items()}
    tensors |= {f"images.{steps}": value for steps, value in made.items()}
    facts = {name: value for name, value in vars(snapshot).items() if name != "weights"}
    checkpoint.write_tensors(path, tensors, facts)
    return read(path)


def read(path: Path) -> Anchor:
    """Raises BenchError for a file that is missing, damaged or no anchor."""
    remedy = "Restore it from the repository, or write it anew with `bench check --update`."
    try:
        tensors, facts = checkpoint.read_tensors(path)
    except BenchError as error:
        raise BenchError(error.given, "a snapshot of `bench check --update`", remedy) from error
    try:
        digest = str(facts.pop("digest"))
        facts["shape"] = tuple(facts["shape"])
        weights = {k.removeprefix("weights."): v.float() for k, v in tensors.items() if k.startswith("weights.")}
        made = {int(k.removeprefix("images.")): v for k, v in tensors.items() if k.startswith("images.")}
        return Anchor(Snapshot(weights=weights, **facts), made, digest)
    except (KeyError, TypeError, ValueError) as error:
        raise BenchError(f"{path} is no snapshot of the gate ({error})", "one of `bench check --update`", remedy) from error


# Measuring


def measure(anchor: Anchor, scene: Scene) -> dict[str, float]:
    """Name -> value: "image_levels/1", "features", "frechet_distance/1", ..., "step/loss", ..., "short/mse", ..."""
    found = {
        f"image_levels/{steps}": float((made.float() - anchor.images[steps].float()).abs().mean())
        for steps, made in images(anchor.snapshot, scene).items()
        if steps in anchor.images
    }
    stored = torch.cat(list(anchor.images.values()))
    found["features"] = float(extractors.outputs(scene.extractor, stored).features.double().square().mean().sqrt())
    return found | scores(anchor.snapshot, scene) | training_step(anchor.snapshot, scene) | short_training(scene)


def images(snapshot: Snapshot, scene: Scene) -> dict[int, Tensor]:
    """The first images at each number of steps, as they are scored."""
    model = sample.load_model(snapshot, torch.device("cpu"))
    request = sample.Request(samples=IMAGES, batch=IMAGES, seed=scene.settings.seed, label_rule=scene.settings.label_rule)
    with datasets.quantising(scene.settings.quantiser):
        return {
            steps: torch.cat([batch.images for batch in sample.generate(model, scene.dataset, request, steps)])
            for steps in evaluate.step_counts(scene.config.method, scene.settings)
            if not sample.refusal(model, steps)
        }


def scores(snapshot: Snapshot, scene: Scene) -> dict[str, float]:
    """The profile's metrics, from fewer images and one sampling seed."""
    settings = scene.settings.model_copy(update={"samples": SAMPLES, "batch": SAMPLES, "seeds": 1})
    judges = evaluate.make_judges(scene.dataset, [scene.extractor], settings, scene.references)
    rows = evaluate.evaluate(sample.load_model(snapshot, torch.device("cpu")), scene.dataset, judges, settings)
    return {f"{row.metric}/{row.steps}": float(row.value) for row in rows if row.steps and row.value is not None}


def training_step(snapshot: Snapshot, scene: Scene) -> dict[str, float]:
    """One step of training as in the middle of a run, from the snapshot's weights: its loss, and how far weights moved."""
    config, dataset = scene.config, scene.dataset
    total = config.total_images(dataset.train_images)
    images = total // 2 // config.train.batch * config.train.batch
    step = Step.start(config, dataset, torch.device("cpu"))
    for net in (step.net, step.ema):
        net.load_state_dict(snapshot.weights)
    before = copy.deepcopy(step.net.state_dict())
    method = load_method(config, dataset.num_classes)
    x0, label = datasets.batch(dataset, config.seed, images, config.train.batch)
    draw = method.draw(x0, label, rng.generator(config.seed, "train", images), images / total)
    out, norm = step(x0, label, draw, images + config.train.batch)
    n = method.velocity_rows(len(x0))
    loss, mse = out["loss"].detach(), out["mse"].detach()
    values: dict[str, Any] = {"loss": loss.abs().mean(), "velocity_mse": mse[:n].mean(), "gradient_norm": norm}
    if n < len(x0):
        values["jump_mse"] = mse[n:].mean()
    values["weights_moved"] = distance(step.net.state_dict(), before)
    values["average_moved"] = distance(step.ema.state_dict(), before)
    return {f"step/{name}": float(value) for name, value in values.items()}


def short_training(scene: Scene) -> dict[str, float]:
    """A few steps by the training loop itself, from the seed's initial weights: what it stores and what it logs.

    So few that rounding does not grow. A full training is watched by its scores, and those need seeds.
    """
    dataset, config = scene.dataset, scene.config
    config = config.model_copy(update={"epochs": STEPS * config.train.batch / dataset.train_images})
    with tempfile.TemporaryDirectory(prefix="bench-check-") as folder:
        run = RunDirectory(Path(folder))
        loop = Loop(device="cpu", save_seconds=1e9, log_images=config.train.batch)
        snapshot = train.train(config, dataset, run, loop)
        log = run.read_train_log()
    start = build_net(config, dataset.shape, dataset.num_classes).state_dict()
    last = log[-1]
    return {
        "short/images": float(snapshot.images),
        "short/weights_moved": distance(snapshot.weights, start),
        "short/mse": sum(line["mse"] for line in log) / len(log),
        "short/gradient_norm": last["grad_norm"],
        "short/learning_rate": last["learning_rate"],
    }


def distance(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> float:
    """Euclidean, over all tensors."""
    return math.sqrt(sum(float((a[name].double() - b[name].double()).square().sum()) for name in a))


# Judging


def compare(method: str, expected: Mapping[str, float], found: Mapping[str, float]) -> list[Verdict]:
    """A verdict a value that was noted with the baseline; one that is gone is missing."""
    verdicts = []
    for name, value in expected.items():
        kind, _, rest = name.partition("/")
        named = kind in ("step", "short")
        quantity = Quantity(method, f"{kind} {rest}" if named else kind, 0 if named else int(rest or 0))
        if name not in found:
            reason = "in the baseline, but not measured"
            verdicts.append(
                Verdict(quantity=quantity, outcome="missing", judged_by="same weights", expected=value, reason=reason)
            )
            continue
        tolerance = ABSOLUTE.get(kind, RELATIVE.get(kind, OTHERWISE) * abs(value))
        reason = REASONS.get(kind, REASONS["score"])
        verdicts.append(nearness(quantity, value, found[name], tolerance, reason))
    return verdicts
