"""What a training step costs as the public code has it: kept to show where a difference in cost comes from.

    method = published.load("meanflow", num_classes=1000, kappa=0.5)
    step = published.Step.start(config, dataset, device)     # a bench.step.Step: the same numbers

Nothing here trains a run of this suite. The losses are in published_losses; here is what happens after the backward pass.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

import methods
from bench import datasets, step
from bench.config import RunConfig, Train
from bench.errors import BenchError, suggestion
from bench.speed.published_losses import FlowMatching, MeanFlow, SoFlow
from bench.step import Objective, ema_decay, learning_rate
from methods import flow_matching, meanflow, soflow


@dataclass(frozen=True)
class Structure:
    """Of one method: its class with the public code's loss, and how that code takes a gradient into the weights."""

    original: type[Any]  # the class in methods/
    published: type[Any]
    norm_by_loop: bool  # the gradient's norm: three kernels a parameter
    reads_loss: bool  # a number of every step is fetched from the device, which makes the host wait for it


STRUCTURES = {
    # willisma/SiT: no norm (ours is computed, because a step returns it); the loss is added up as a Python number.
    "flow_matching": Structure(flow_matching.Method, FlowMatching, norm_by_loop=False, reads_loss=True),
    # zhuyu-cs/MeanFlow: a clipped norm by torch's own call (we clip nothing); loss and norm are shown at every step.
    # py-meanflow reads the loss too, and averages in float64 every 16 steps. The JAX code compiles its whole step.
    "meanflow": Structure(meanflow.Method, MeanFlow, norm_by_loop=False, reads_loss=True),
    # zlab-princeton/SoFlow: adds the parameters' squares up one by one, and fetches them every 100 steps.
    "soflow": Structure(soflow.Method, SoFlow, norm_by_loop=True, reads_loss=False),
}
NAMES = tuple(STRUCTURES)


def no_structure(name: str) -> BenchError:
    given = f"Method {name!r}{suggestion(name, NAMES)} in the structure of its public code"
    return BenchError(given, ", ".join(NAMES), "Of other methods only the optimised variant, methods/NAME.py, can be measured.")


def load(name: str, *, num_classes: int, **hyperparameters: Any) -> methods.Method:
    """The method `name` with the network calls of its public code.

    Raises BenchError for a name without one, and ValueError for hyperparameters as methods.load does.
    """
    if name not in STRUCTURES:
        raise no_structure(name)
    checked: Any = methods.load(name, num_classes=num_classes, **hyperparameters)
    method: methods.Method = STRUCTURES[name].published(
        **{f.name: getattr(checked, f.name) for f in dataclasses.fields(checked)}
    )
    return method


def load_method(config: RunConfig, num_classes: int) -> methods.Method:
    """`load` for a run's settings."""
    return load(config.method, num_classes=num_classes, **config.hyperparameters)


def attention_needed(method: methods.Method) -> str:
    """The attention that the pass with gradient needs, whatever train.attention says: "math", or "" for any.

    MeanFlow's published structure differentiates forward and backward through one call, which asks for torch's written-out
    attention itself. (The optimised one does so for a derivative without gradient, of the rows r < t.)
    """
    return "math" if isinstance(method, MeanFlow) else ""


def optimiser(net: nn.Module, train: Train) -> torch.optim.AdamW:
    """AdamW as the public codes make it, with torch's default: several kernels for lists of parameters, not one fused."""
    return torch.optim.AdamW(net.parameters(), lr=train.learning_rate, betas=train.betas, weight_decay=train.weight_decay)


@dataclass
class Step(step.Step):
    """A step with the public code's arithmetic after the backward pass. Its method may have either structure."""

    @classmethod
    def start(cls, config: RunConfig, dataset: datasets.Dataset, device: torch.device, **how: Any) -> "Step":
        """As bench.step.Step.start, with the published loss and optimiser.

        Raises BenchError where none is published, and for `recompute` of a pass with derivatives.
        """
        method = load_method(config, dataset.num_classes)
        if how.get("recompute") and isinstance(method, MeanFlow):
            remedy = "Measure the optimised variant: its derivative records no gradient."
            raise BenchError("recompute with MeanFlow's published structure", "recompute = false", remedy)
        found = super().start(config, dataset, device, **how)
        assert isinstance(found, cls)
        found._objective().method = method
        found.optimiser = optimiser(found.net, config.train)
        return found

    def update(self, images: int) -> Tensor:
        """Take the gradients that are there into weights and average; returns their norm."""
        structure = self._structure()
        gradients = [p.grad for p in self.net.parameters() if p.grad is not None]
        norm = norm_by_loop(gradients) if structure.norm_by_loop else nn.utils.get_total_norm(gradients)
        self.optimiser.param_groups[0]["lr"] = learning_rate(self.train, images)
        self.optimiser.step()
        decay = ema_decay(self.train, images)
        with torch.no_grad():  # all three: two kernels a parameter
            for average, weight in zip(self.ema.parameters(), self.net.parameters(), strict=True):
                average.mul_(decay).add_(weight, alpha=1 - decay)
        if structure.reads_loss:
            norm.item()  # stands for the loss, which is not at hand: the host waits for the device
        return norm

    def _objective(self) -> Objective:
        inner = self.objective.module if isinstance(self.objective, nn.parallel.DistributedDataParallel) else self.objective
        assert isinstance(inner, Objective)
        return inner

    def _structure(self) -> Structure:
        method = self._objective().method
        for structure in STRUCTURES.values():
            if isinstance(method, structure.original):
                return structure
        raise no_structure(type(method).__module__.removeprefix("methods."))


def norm_by_loop(gradients: list[Tensor]) -> Tensor:
    """The norm of all together, a 0-dimensional tensor."""
    total = torch.zeros((), device=gradients[0].device)
    for gradient in gradients:
        total += gradient.pow(2).sum()
    return total.sqrt()
