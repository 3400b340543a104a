"""One optimiser step, used by training and by the measurement of its speed.

step = Step.start(config, dataset, device)
out, gradient_norm = step(x0, label, draw, images=128)
"""

import contextlib
import copy
import warnings
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

import methods
from bench import datasets, dist, dit, nets, rng
from bench.compilation import compile_objective, verify
from bench.config import RunConfig, Train
from bench.errors import BenchError
from bench.precision import check, switched, view
from bench.shares import Share, share_of

# torch.func.jvp still scripts its decompositions; torch 2.15 says so at the first use. Nothing for a user to do.
warnings.filterwarnings("ignore", message="`torch.jit.script` is")


class Objective(nn.Module):
    """Method and network as one module, so that data parallelism wraps both and no forward pass goes around it."""

    def __init__(self, method: methods.Method, net: nn.Module, precision: str = "fp32") -> None:
        super().__init__()
        self.method, self.net, self.precision = method, net, precision

    def forward(self, x0: Tensor, label: Tensor, draw: Any) -> dict[str, Tensor]:
        return self.method.loss(view(self.net, self.precision), x0, label, draw)


def load_method(config: RunConfig, num_classes: int) -> methods.Method:
    return methods.load(config.method, num_classes=num_classes, **config.hyperparameters)


def check_net(config: RunConfig, shape: tuple[int, int, int]) -> None:
    """Raises BenchError where the net is unknown or does not fit the images."""
    try:
        nets.fit(config.net, shape)
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
    share: Share
    world_size: int = 1
    micro_batch: int = 0  # as it was asked for; what became of it is in `share`

    @classmethod
    def start(
        cls, config: RunConfig, dataset: datasets.Dataset, device: torch.device, *,
        together: bool = False, micro_batch: int = 0, recompute: bool = False,
    ) -> "Step":  # fmt: skip
        """At the initial weights of the run's seed; `together`: with all processes, each on its share of a batch.

        `recompute`: blocks are computed once more in the backward pass, and what is inside them is not kept.
        Raises BenchError where the batch can not be shared out, or not in pieces of `micro_batch`, and for a precision that
        the device does not have.
        """
        check(config.train, device)
        method = load_method(config, dataset.num_classes)
        rank, world_size = (dist.rank(), dist.world_size()) if together else (0, 1)
        share = share_of(config.train.batch, method.velocity_rows, rank, world_size, micro_batch)
        net = build_net(config, dataset.shape, dataset.num_classes).to(device)
        objective: nn.Module = Objective(method, net, config.train.precision)
        if config.train.compile:
            compile_objective(objective)
        if world_size > 1:
            objective = nn.parallel.DistributedDataParallel(objective, gradient_as_bucket_view=True)
        ema = copy.deepcopy(net).requires_grad_(False)
        net.recompute = recompute  # not of the average, which only samples
        train = config.train
        optimiser = torch.optim.AdamW(
            net.parameters(), lr=train.learning_rate, betas=train.betas, weight_decay=train.weight_decay, fused=True
        )
        return cls(objective, net, ema, optimiser, train, share, world_size, micro_batch)

    def __call__(self, x0: Tensor, label: Tensor, draw: Any, images: int) -> tuple[dict[str, Tensor], Tensor]:
        """Step on this process's share of one batch, its rows as `share` has them; `images` counts the whole batch in.

        Returns the method's dictionary, velocity rows first, and the norm of the gradient over the whole batch.
        """
        self.optimiser.zero_grad(set_to_none=True)
        with dit.attention_backend(self.train.attention), switched(self.train.precision, x0.device):
            found = [self._backward(x0, label, draw, i) for i in range(len(self.share.sizes))]
        out = found[0] if len(found) == 1 else self._joined(found)
        return out, self.update(images)

    def update(self, images: int) -> Tensor:
        """Take the gradients that are there into weights and average; returns their norm. Nothing waits for a GPU."""
        norm = nn.utils.get_total_norm([p.grad for p in self.net.parameters() if p.grad is not None])
        self.optimiser.param_groups[0]["lr"] = learning_rate(self.train, images)
        self.optimiser.step()
        with torch.no_grad():
            torch._foreach_lerp_(list(self.ema.parameters()), list(self.net.parameters()), 1 - ema_decay(self.train, images))
        return norm

    def verify(self, x0: Tensor, label: Tensor, draw: Any) -> float:
        """How far the compiled loss is off, in pieces of each size; raises RunFailed where that is too far."""
        objective = self.objective.module if self.world_size > 1 else self.objective
        assert isinstance(objective, Objective)
        kinds = dict(zip(self.share.sizes, self.share.pieces, strict=True))
        with dit.attention_backend(self.train.attention), switched(self.train.precision, x0.device):
            return max(verify(objective, x0[p], label[p], methods.take(draw, p)) for p in kinds.values())

    def _backward(self, x0: Tensor, label: Tensor, draw: Any, i: int) -> dict[str, Tensor]:
        """Add the gradient of one piece; processes exchange theirs at the last."""
        piece, size, objective = self.share.pieces[i], self.share.sizes[i], self.objective
        early = i < len(self.share.sizes) - 1
        alone = early and isinstance(objective, nn.parallel.DistributedDataParallel)
        with objective.no_sync() if alone else contextlib.nullcontext():  # type: ignore[operator]
            out: dict[str, Tensor] = objective(x0[piece], label[piece], methods.take(draw, piece))
            # The exchange takes the mean over processes; what counts is the mean over the rows of the batch.
            weight = size * self.world_size / self.share.batch
            (out["loss"].mean() * weight).backward()  # type: ignore[no-untyped-call]
        return {name: value.detach() for name, value in out.items()}

    def _joined(self, found: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        """The pieces' rows: the velocity rows of all, then the others of all."""
        cuts = self.share.velocity

        def joined(values: list[Tensor]) -> Tensor:
            parts = [v[:n] for v, n in zip(values, cuts, strict=True)] + [v[n:] for v, n in zip(values, cuts, strict=True)]
            return torch.cat(parts)

        return {name: joined([out[name] for out in found]) for name in found[0]}
