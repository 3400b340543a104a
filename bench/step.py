"""One optimiser step, used by training and by the measurement of its speed.

step = Step.start(config, dataset, device)
out, gradient_norm = step(x0, label, draw, images=128)
"""

import copy
import warnings
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

import methods
from bench import datasets, dist, dit, rng
from bench.config import RunConfig, Train
from bench.errors import BenchError

# torch.func.jvp still scripts its decompositions; torch 2.15 says so at the first use. Nothing for a user to do.
warnings.filterwarnings("ignore", message="`torch.jit.script` is")


class Objective(nn.Module):
    """Method and network as one module, so that data parallelism wraps both and no forward pass goes around it."""

    def __init__(self, method: methods.Method, net: nn.Module) -> None:
        super().__init__()
        self.method, self.net = method, net

    def forward(self, x0: Tensor, label: Tensor, draw: Any) -> dict[str, Tensor]:
        return self.method.loss(self.net, x0, label, draw)


def load_method(config: RunConfig, num_classes: int) -> methods.Method:
    return methods.load(config.method, num_classes=num_classes, **config.hyperparameters)


def check_net(config: RunConfig, shape: tuple[int, int, int]) -> None:
    """Raises BenchError where the net is unknown or does not fit the images."""
    try:
        dit.fit(config.net, shape)
    except ValueError as error:
        given, _, allowed = str(error).partition("; allowed: ")
        raise BenchError(given[0].upper() + given[1:], allowed, "Choose with --net.") from error


def build_net(config: RunConfig, shape: tuple[int, int, int], num_classes: int) -> dit.DiT:
    """The network with this seed's initial weights. Raises BenchError where it does not fit the data."""
    check_net(config, shape)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(rng.derive(config.seed, "weights"))
        return dit.build(config.net, shape, num_classes)


def ema_decay(train: Train, images: int) -> float:
    """The decay of the averaged weights, lower in the first steps: else a short run scores its initial weights."""
    steps = images / train.batch
    return min(train.ema, (1 + steps) / (10 + steps))


def learning_rate(train: Train, images: int) -> float:
    """Linear from 0 over the warm-up, then constant; `images` counts the batch at hand."""
    return train.learning_rate * min(1.0, images / train.warmup_images) if train.warmup_images else train.learning_rate


@dataclass
class Step:
    """Networks, optimiser, and the arithmetic of one step."""

    objective: nn.Module
    net: dit.DiT
    ema: dit.DiT
    optimiser: torch.optim.AdamW
    train: Train

    @classmethod
    def start(cls, config: RunConfig, dataset: datasets.Dataset, device: torch.device) -> "Step":
        """At the initial weights of the run's seed."""
        net = build_net(config, dataset.shape, dataset.num_classes).to(device)
        objective: nn.Module = Objective(load_method(config, dataset.num_classes), net)
        if dist.world_size() > 1:
            objective = nn.parallel.DistributedDataParallel(objective)
        ema = copy.deepcopy(net).requires_grad_(False)
        train = config.train
        optimiser = torch.optim.AdamW(
            net.parameters(), lr=train.learning_rate, betas=train.betas, weight_decay=train.weight_decay, fused=True
        )
        return cls(objective, net, ema, optimiser, train)

    def __call__(self, x0: Tensor, label: Tensor, draw: Any, images: int) -> tuple[dict[str, Tensor], Tensor]:
        """Step on one batch; `images` counts it in. Returns the method's dictionary and the norm of the gradient."""
        with dit.attention_backend(self.train.attention):
            out: dict[str, Tensor] = self.objective(x0, label, draw)
            self.optimiser.zero_grad(set_to_none=True)
            out["loss"].mean().backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.get_total_norm([p.grad for p in self.net.parameters() if p.grad is not None])
        self.optimiser.param_groups[0]["lr"] = learning_rate(self.train, images)
        self.optimiser.step()
        with torch.no_grad():
            torch._foreach_lerp_(list(self.ema.parameters()), list(self.net.parameters()), 1 - ema_decay(self.train, images))
        return out, norm
