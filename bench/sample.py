"""A snapshot and seeds -> batches of uint8 images. Image i depends on (seed, i) alone: not on batches or processes.

model = load_model(checkpoint.load_snapshot(path), device)
for batch in generate(model, dataset, request, steps=1): ...

Its parts, for whoever lets them overlap: `drawn` (noise, on a thread where that pays), `sampled`, `decoded`.
"""

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import methods
from bench import datasets, dit, late, rng
from bench.checkpoint import Snapshot
from bench.config import RunConfig
from bench.dist import moved
from bench.errors import NotFinite
from bench.precision import switched, view
from bench.prefetch import Ahead, depth, page_locked
from bench.step import build_net, load_method
from bench.store import write_atomic


@dataclass(frozen=True)
class Model:
    """A trained network, ready to sample from."""

    method: methods.Method
    net: dit.DiT
    config: RunConfig
    shape: tuple[int, int, int]
    num_classes: int
    images: int  # seen in training
    device: torch.device


@dataclass(frozen=True, kw_only=True)
class Request:
    """Which images to make."""

    samples: int  # exactly this many, numbered from 0
    batch: int = 500  # at a time
    seed: int = 0
    label_rule: str = "random"  # random | balanced
    part: int = 0  # of `parts`: this process makes the images part, part + parts, ...
    parts: int = 1


@dataclass(frozen=True)
class Drawn:
    """What chance decides of a batch, on the CPU."""

    images: range  # their numbers
    noise: Tensor  # (B, C, H, W)
    label: Tensor  # (B,) int64
    renoise: "Renoise"


@dataclass(frozen=True)
class Sampled:
    images: range
    x0: Tensor  # (B, C, H, W)
    label: Tensor  # (B,) int64, on the CPU


@dataclass(frozen=True)
class Batch:
    index: Tensor  # (B,) int64, the images' numbers, on the CPU
    images: Tensor  # (B, C, H, W) uint8
    label: Tensor  # (B,) int64, asked for, on the CPU


class Renoise:
    """Further noises of the same images, made when they are asked for: item k is (B, C, H, W), on the device."""

    def __init__(self, seed: int, images: range, shape: tuple[int, int, int], device: torch.device) -> None:
        self.seed, self.images, self.shape, self.device = seed, images, shape, device

    def __getitem__(self, k: int) -> Tensor:
        return moved(rng.image_noise(self.seed, "renoise", self.images, self.shape, k), self.device)


def load_model(snapshot: Snapshot, device: torch.device) -> Model:
    config = RunConfig.model_validate(snapshot.config)
    net = build_net(config, snapshot.shape, snapshot.num_classes)
    net.load_state_dict(snapshot.weights)
    net.to(device).eval().requires_grad_(False)
    method = load_method(config, snapshot.num_classes)
    return Model(method, net, config, snapshot.shape, snapshot.num_classes, snapshot.images, device)


@contextlib.contextmanager
def working(model: Model) -> Iterator[None]:
    """Within, the network computes as it did in training: its precision and attention, and no gradient."""
    train = model.config.train
    with torch.no_grad(), dit.attention_backend(train.attention), switched(train.precision, model.device):
        yield


def refusal(model: Model, steps: int) -> str:
    """Why the method can not sample in this many evaluations, from one image; "" where it can."""
    noise = torch.zeros(1, *model.shape, device=model.device)
    try:
        model.method.sample(model.net, noise, torch.zeros(1, dtype=torch.int64, device=model.device), steps)
    except ValueError as error:
        return str(error)
    return ""


def generate(model: Model, dataset: datasets.Dataset, request: Request, steps: int) -> Iterator[Batch]:
    """Images 0 ... samples - 1 in order, or this part of them.

    Raises ValueError when the method can not sample in `steps` evaluations, NotFinite when an image is not finite.
    """
    with drawn(model, request) as noises:
        for given in noises:
            yield decoded(dataset, sampled(model, given, steps))


def drawn(model: Model, request: Request) -> Ahead[range, Drawn]:
    """The noises of all batches of this part, in order."""
    own = range(request.part, request.samples, request.parts)
    batches = (own[start : start + request.batch] for start in range(0, len(own), request.batch))

    def draw(images: range) -> Drawn:
        noise = rng.image_noise(request.seed, "noise", images, model.shape)
        label = rng.image_labels(request.seed, images, model.num_classes, request.label_rule)
        renoise = Renoise(request.seed, images, model.shape, model.device)
        return Drawn(images, page_locked(noise, model.device), page_locked(label, model.device), renoise)

    return Ahead(draw, batches, depth(model.device), model.device)


def sampled(model: Model, given: Drawn, steps: int) -> Sampled:
    """Requires (`late.require`) that the images are finite: as a pixel, what is not a number would be black."""
    noise, label = moved(given.noise, model.device), moved(given.label, model.device)
    with working(model):
        x0 = model.method.sample(view(model.net, model.config.train.precision), noise, label, steps, given.renoise)
    first, last = given.images[0], given.images[-1]
    late.require(x0.isfinite().all(), NotFinite(f"images {first} to {last} at {steps} steps are not finite"))
    return Sampled(given.images, x0, given.label)


def decoded(dataset: datasets.Dataset, made: Sampled) -> Batch:
    return Batch(torch.tensor(made.images), dataset.to_uint8(made.x0), made.label)


# Grids for people

GRID_FORMAT = 1  # of the layout that is kept in the file


def grid(images: Tensor, columns: int, height: int = 32, gap: int = 1, *, about: Mapping[str, Any] | None = None) -> bytes:
    """A PNG of uint8 images (B, C, H, W), row by row; small ones are enlarged without smoothing to about `height` pixels.

    `about`: what each image was made of. It is kept in the file, with the layout: reports/site/pictures.py cuts the grid by it.
    """
    import io

    from PIL import Image, PngImagePlugin

    b, channels, h, _ = images.shape
    scale = max(1, round(height / h))
    tiles = images.cpu().repeat_interleave(scale, 2).repeat_interleave(scale, 3)
    tiles = tiles.expand(-1, 3, -1, -1) if channels == 1 else tiles[:, :3]
    tiles = torch.nn.functional.pad(tiles, (0, gap, 0, gap), value=255)
    rows = -(-b // columns)
    blank = torch.full((rows * columns - b, *tiles.shape[1:]), 255, dtype=torch.uint8)
    sheet = torch.cat([tiles, blank]).reshape(rows, columns, *tiles.shape[1:]).permute(0, 3, 1, 4, 2)
    pixels = sheet.reshape(rows * tiles.shape[2], columns * tiles.shape[3], 3)[:-gap, :-gap].contiguous()
    texts = PngImagePlugin.PngInfo()
    if about is not None:
        tile = [tiles.shape[3] - gap, tiles.shape[2] - gap]  # pixels, width and height
        layout = {"format": GRID_FORMAT, "columns": columns, "tile": tile, "gap": gap}
        texts.add_text("bench-grid", json.dumps(layout | dict(about)))
    file = io.BytesIO()
    Image.fromarray(pixels.numpy()).save(file, format="PNG", optimize=True, pnginfo=texts)
    return file.getvalue()


def save_grid(
    path: Path, model: Model, dataset: datasets.Dataset, *, steps: int, seed: int = 0, rows: int = 6, columns: int = 10
) -> None:
    """Write a PNG of rows x columns images, a class a column: the same noises and labels for every run with this seed."""
    columns = min(columns, model.num_classes) if model.num_classes > 1 else columns
    count = rows * columns
    noise = rng.image_noise(seed, "grid", range(count), model.shape).to(model.device)
    label = torch.tensor([i % columns % model.num_classes for i in range(count)], device=model.device)
    renoise = Renoise(rng.derive(seed, "grid"), range(count), model.shape, model.device)
    with working(model):
        x0 = model.method.sample(view(model.net, model.config.train.precision), noise, label, steps, renoise)
    images = dataset.to_uint8(x0)
    about = {"seed": seed, "shape": list(model.shape), "steps": steps, "labels": label.tolist()}
    write_atomic(path, grid(images, columns, about=about))
