"""Speed as a ratio: a method's training step against a plain one of the same network, alternating, in one process.

    ratios(suite)      # {"soflow": 1.63, ...}: times as long as the reference workload

The machine's own speed cancels, its load and clock largely. What is left depends on the kind of processor still: on another
one than the baseline's it is shown and not judged.
"""

import statistics
from collections.abc import Callable

import torch
from torch.nn import functional as F

from bench import datasets, dist, pipeline, rng
from bench.config import RunConfig, Suite
from bench.speed.clock import garbage_collection_off, seconds
from bench.speed.work import training_step
from bench.step import build_net

ROUNDS = 15  # of each: the median of that many ratios
WARM_UP = 3


def reference_step(config: RunConfig, dataset: datasets.Dataset, device: torch.device) -> Callable[[], object]:
    """Forward, mean square error, backward, AdamW: the plainest training of this network, on one fixed batch."""
    net = build_net(config, dataset.shape, dataset.num_classes).to(device)
    optimiser = torch.optim.AdamW(net.parameters(), lr=1e-4, fused=True)
    x0, label = (part.to(device) for part in datasets.batch(dataset, 0, 0, config.train.batch))
    t = torch.rand(len(x0), generator=rng.generator(0, "reference workload")).to(device)

    def work() -> object:
        optimiser.zero_grad(set_to_none=True)
        F.mse_loss(net(x0, t, t, label), x0).backward()  # type: ignore[no-untyped-call]
        return optimiser.step()

    return work


def ratios(suite: Suite) -> dict[str, float]:
    """By method: median over rounds of (one training step) / (one reference step), timed one after the other."""
    dataset = pipeline.load_dataset(suite)
    device = dist.pick_device(suite.loop.device)
    found = {}
    for config in suite.model_copy(update={"run": suite.run.model_copy(update={"seeds": 1})}).runs():
        pair = (training_step(config, dataset, device), reference_step(config, dataset, device))
        with garbage_collection_off():
            rounds = [[seconds(work, device) for work in pair] for _ in range(WARM_UP + ROUNDS)]
        found[config.method] = statistics.median(step / reference for step, reference in rounds[WARM_UP:])
    return found
