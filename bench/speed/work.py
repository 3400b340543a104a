"""What is timed: a step of training as the loop takes it, sampling, decoding. Each is a call without arguments."""

import itertools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from bench import datasets, rng, sample
from bench.config import RunConfig
from bench.precision import view
from bench.step import Step, build_net, load_method
from bench.train import inputs, on_device, upcoming


def training_step(
    config: RunConfig, dataset: datasets.Dataset, device: torch.device, micro_batch: int = 0, recompute: bool = False
) -> Callable[[], Any]:
    """One step of training as the loop takes it, draws and data included (for a GPU made ahead), on a network of its own."""
    step = Step.start(config, dataset, device, micro_batch=micro_batch, recompute=recompute)
    method = load_method(config, dataset.num_classes)
    batch, seen = config.train.batch, 0
    positions = itertools.count(0, batch)
    batches = upcoming(lambda images: inputs(config, dataset, method, step.share, images, 2 * images + 1), positions, device)

    def work() -> Tensor:
        nonlocal seen
        seen += batch
        _, norm = step(*on_device(next(batches), device), seen)
        return norm

    return work


def fresh_model(config: RunConfig, dataset: datasets.Dataset, device: torch.device) -> sample.Model:
    """The network at its initial weights: sampling costs the same before training as after."""
    net = build_net(config, dataset.shape, dataset.num_classes).to(device).eval().requires_grad_(False)
    method = load_method(config, dataset.num_classes)
    return sample.Model(method, net, config, dataset.shape, dataset.num_classes, 0, device)


def sampling(model: sample.Model, dataset: datasets.Dataset, batch: int, steps: int) -> Callable[[], Tensor]:
    """From noise on the device to uint8; making the noise is outside the clock."""
    noise = rng.image_noise(0, "speed", range(batch), model.shape).to(model.device)
    label = torch.arange(batch, device=model.device) % model.num_classes
    fresh = [noise.flip(0)] * (steps - 1)

    def work() -> Tensor:
        with sample.working(model):
            return dataset.to_uint8(
                model.method.sample(view(model.net, model.config.train.precision), noise, label, steps, fresh)
            )

    return work


def decoding(model: sample.Model, dataset: datasets.Dataset, batch: int) -> Callable[[], Tensor]:
    """From what a network made, on the device, to uint8: the last part of `sampling`, which no number of steps changes."""
    x0 = rng.image_noise(0, "speed", range(batch), model.shape).to(model.device)
    return lambda: dataset.to_uint8(x0)
