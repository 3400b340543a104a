"""The training steps that are compared, on one network: every method, variant and column of one net and precision.

    bench = Workbench(request, "B/4", "bf16", device)
    step = bench.step(Cell("soflow", "published", "best"))     # a call without arguments

Two columns. `same`: one attention backend (written out, which every loss permits) and one precision in every pass, so that
what differs is the loss. `best`: the attention that torch chooses where the loss permits it, compiled if asked for, and under
bfloat16 what a loss needs in float32 is float32: what training in this suite costs. Two variants: `optimised`, the suite's own
step; `published`, the structure of the public code, uncompiled as it is published. `bare` is the floor.

All cells share one network, average and batch of inputs: what a step costs does not depend on the weights.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import methods
from bench import dist, dit, rng
from bench.compilation import compile_objective, verify
from bench.config import RunConfig, Train
from bench.precision import Autocast, switched
from bench.probe import StandIn
from bench.shares import share_of
from bench.speed import held, published
from bench.speed.request import Request
from bench.step import Objective, Step, build_net

COLUMNS = ("same", "best")
SETS = 4  # of inputs, taken in turn
BARE = "bare"
REFERENCE = "flow_matching"  # whose steps are the unit of cost


@dataclass(frozen=True)
class Cell:
    """One training step to measure."""

    method: str
    variant: str  # optimised | published | bare
    column: str  # same | best

    @property
    def attention(self) -> str:
        """The backend asked for; a derivative asks for the written-out one itself, in its own call."""
        return "math" if self.column == "same" else "auto"


class Everywhere(Autocast):
    """bfloat16 in every pass, also where a loss asks for exactness: for the cost alone, nothing should be trained so."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__(net)
        self.exact = self  # type: ignore[assignment]
        self.net = net

    def __call__(self, x: Tensor, t: Tensor, s: Tensor, label: Tensor) -> Tensor:
        with torch.autocast(x.device.type, dtype=torch.bfloat16):
            out: Tensor = self.net(x, t, s, label)
        return out.float()


class SamePrecision(Objective):
    """Method and network, with one precision in every pass."""

    def forward(self, x0: Tensor, label: Tensor, draw: Any) -> dict[str, Tensor]:
        return self.method.loss(Everywhere(self.net) if self.precision == "bf16" else self.net, x0, label, draw)


def cells(request: Request) -> list[Cell]:
    """What a request measures in training, the floor first."""
    found = [Cell(REFERENCE, BARE, column) for column in COLUMNS if REFERENCE in request.methods]
    return found + [Cell(m, v, c) for c in COLUMNS for v in request.variants for m in request.methods]


def run_config(request: Request, method: str, net: str, precision: str) -> RunConfig:
    """As a run would have it, with a learning rate so small that a thousand steps leave the weights where they are."""
    train = Train(batch=request.batch, learning_rate=1e-9, warmup_images=0, precision=precision)  # type: ignore[arg-type]
    return RunConfig(
        method=method, hyperparameters=request.hyperparameters.get(method, {}), dataset="synthetic", dataset_options={},
        net=net, epochs=1, seed=0, train=train,
    )  # fmt: skip


class Workbench:
    """The network, its average, the optimisers and the inputs that all cells of one net and precision share."""

    def __init__(self, request: Request, net: str, precision: str, device: torch.device) -> None:
        self.request, self.net_name, self.precision, self.device = request, net, precision, device
        self.data: Any = StandIn(request.shape, request.classes, 1_000_000, "synthetic")
        self.net = build_net(self.config(request.methods[0]), request.shape, request.classes)
        waken(self.net)
        self.net.to(device)
        self.ema = copy.deepcopy(self.net).requires_grad_(False)
        self.optimisers: dict[str, torch.optim.AdamW] = {}
        self.compiled = 0  # cells
        self.objectives: dict[tuple[Cell, int], Objective] = {}
        self.given: dict[tuple[str, int], list[tuple[Tensor, Tensor, Any]]] = {}

    def config(self, method: str) -> RunConfig:
        return run_config(self.request, method, self.net_name, self.precision)

    def method(self, cell: Cell) -> methods.Method:
        """With the structure of the cell's variant. Raises BenchError where nothing is published."""
        load = published.load if cell.variant == "published" else methods.load
        hyperparameters = self.request.hyperparameters.get(cell.method, {})
        found: methods.Method = load(cell.method, num_classes=self.request.classes, **hyperparameters)
        return found

    def needed(self, cell: Cell) -> methods.Method:
        """With the structure that does no more than the loss needs: what utilisation counts."""
        return self.method(Cell(cell.method, "optimised", cell.column))

    def state_bytes(self, variant: str) -> int:
        """Bytes of weights, average and the variant's own optimiser; the bare loop has no average."""
        optimiser = self.optimiser(variant)
        return held.state_bytes(self.net, None if variant == BARE else self.ema, optimiser)

    def optimiser(self, variant: str) -> torch.optim.AdamW:
        kind = "plain" if variant == "published" else "fused"
        if kind not in self.optimisers:
            train = self.config(self.request.methods[0]).train
            parameters = self.net.parameters()
            self.optimisers[kind] = (
                published.optimiser(self.net, train)
                if kind == "plain"
                else torch.optim.AdamW(parameters, lr=train.learning_rate, betas=train.betas, weight_decay=0.0, fused=True)
            )
        return self.optimisers[kind]

    def inputs(self, method: str, batch: int) -> list[tuple[Tensor, Tensor, Any]]:
        """A few batches with their draws, on the device: in training a thread has them ready too."""
        if (method, batch) not in self.given:
            loaded = methods.load(method, num_classes=self.request.classes, **self.request.hyperparameters.get(method, {}))
            made = []
            for i in range(SETS):
                generator = rng.generator(0, "speed", i)
                x0 = torch.randn(batch, *self.request.shape, generator=generator)
                label = torch.randint(0, self.request.classes, (batch,), generator=generator)
                draw = loaded.draw(x0, label, generator, i / SETS)
                made.append((dist.moved(x0, self.device), dist.moved(label, self.device), dist.to_device(draw, self.device)))
            self.given[method, batch] = made
        return self.given[method, batch]

    def step(self, cell: Cell, batch: int = 0, compiled: bool = False, micro_batch: int = 0) -> Callable[[], object]:
        """The step as a call without arguments, over the inputs in turn. `batch` 0: the request's."""
        batch = batch or self.request.batch
        if cell.variant == BARE:
            return self.bare(cell, batch)
        method = self.method(cell)
        kind = SamePrecision if cell.column == "same" else Objective
        objective = kind(method, self.net, self.precision)
        if compiled:
            compile_objective(objective, alone=not self.compiled)  # the cells before it stay compiled
            self.compiled += 1
        train = self.config(cell.method).train.model_copy(update={"batch": batch, "attention": cell.attention})
        share = share_of(batch, method.velocity_rows, 0, 1, micro_batch)
        self.objectives[cell, batch] = objective
        step_class = published.Step if cell.variant == "published" else Step
        step = step_class(objective, self.net, self.ema, self.optimiser(cell.variant), train, share)
        given, taken = self.inputs(cell.method, batch), 0

        def work() -> object:
            nonlocal taken
            taken += 1
            return step(*given[taken % SETS], taken * batch)

        return work

    def verify(self, cell: Cell) -> None:
        """Raises RunFailed where a compiled loss is not the uncompiled one with finite differences (bench.compilation)."""
        batch = self.request.batch
        with dit.attention_backend(cell.attention), switched(self.precision, self.device):
            verify(self.objectives[cell, batch], *self.inputs(cell.method, batch)[0])

    def bare(self, cell: Cell, batch: int) -> Callable[[], object]:
        """Flow Matching in the fewest lines: forward, backward, AdamW; no draws, labels dropped, average, norm or log."""
        net, optimiser = self.net, self.optimiser(cell.variant)
        points = [((1 - d.t.view(-1, 1, 1, 1)) * x0 + d.t.view(-1, 1, 1, 1) * d.noise, d.noise - x0, d.t, label)
                  for x0, label, d in self.inputs(REFERENCE, batch)]  # fmt: skip
        taken = 0

        def work() -> object:
            nonlocal taken
            taken += 1
            x_t, v, t, label = points[taken % SETS]
            optimiser.zero_grad(set_to_none=True)
            with dit.attention_backend(cell.attention), switched(self.precision, self.device):
                with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
                    out = net(x_t, t, t, label)
                F.mse_loss(out.float(), v).backward()  # type: ignore[no-untyped-call]
            return optimiser.step()

        return work

    def forget(self) -> None:
        """Free the gradients and what the steps of other batches hold."""
        self.net.zero_grad(set_to_none=True)


def waken(net: nn.Module) -> None:
    """Small random weights everywhere, the same each time: products with zeros can run faster than real ones."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.normal_(0.0, 0.02, generator=generator)
