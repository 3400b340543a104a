"""torch.compile of a training step, and the check that what it made computes what the method says.

    compile_objective(objective)
    verify(objective, x0, label, draw)     # before the first step; raises RunFailed

The whole loss is compiled, MeanFlow's forward-mode derivative inside it: compiled from outside, that derivative would silently
run uncompiled. The check is of numbers and not of graphs, because some compilers have dropped tangents without a word.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
import torch._dynamo
from torch import Tensor, nn

from bench.errors import RunFailed
from methods import _path

BACKEND = "inductor"
# Of the squares' norm. At the weights below a derivative that is lost moves MeanFlow's by 0.06 (N/4) to 0.12 (S/2); the finite
# difference is off by 2e-5, bfloat16 by 2e-3.
TOLERANCE = {"fp32": 0.002, "tf32": 0.01, "bf16": 0.02}


def compile_objective(objective: nn.Module, alone: bool = True) -> None:
    """Compile its forward pass in place; parameter names stay as they are. `alone`: what was compiled before is forgotten."""
    if alone:
        torch._dynamo.reset()  # it counts against a limit, past which all would run uncompiled
    torch._dynamo.config.optimize_ddp = False  # it cuts the graph at gradient buckets, inside the derivative too
    torch._dynamo.config.fail_on_recompile_limit_hit = True
    objective.compile(backend=BACKEND, dynamic=False)  # one shape a piece: another one compiles once more


def verify(objective: Any, x0: Tensor, label: Tensor, draw: Any) -> float:
    """How far the compiled squares lie off those of the uncompiled loss in float32 with a difference quotient for d/dt.

    Of the kind of rows, velocity or jump, where they are further off, relative to all of them. At other weights than the
    network's (at the initial ones all outputs are zero), which are put back. Raises RunFailed beyond TOLERANCE, and where the
    compiler gives up: a run never goes on uncompiled unasked, which would be another measurement under the same name.
    """
    precision, n = objective.precision, objective.method.velocity_rows(len(x0))
    with lively(objective):
        found = _compiled(objective, x0, label, draw)
        objective.precision = "fp32"
        try:
            with torch.no_grad(), _path.central_differences():
                expected: Tensor = objective.forward(x0, label, draw)["mse"].detach()
        finally:
            objective.precision = precision
    kinds = [(a, b) for a, b in ((found[:n], expected[:n]), (found[n:], expected[n:])) if len(a)]
    error = max(float((a - b).norm() / b.norm()) for a, b in kinds)
    if not error <= TOLERANCE[precision]:
        raise RunFailed(
            f"the compiled loss is off by {error:.1%} of the uncompiled one with finite differences (allowed in {precision}: "
            f"{TOLERANCE[precision]:.1%}); set train.compile = false"
        )
    return error


def _compiled(objective: Any, x0: Tensor, label: Tensor, draw: Any) -> Tensor:
    """The squares; the backward pass is compiled too, so that it can not fail later."""
    try:
        out: dict[str, Tensor] = objective(x0, label, draw)
        out["loss"].mean().backward()  # type: ignore[no-untyped-call]
    except torch._dynamo.exc.TorchDynamoException as error:
        reason = str(error).split("\n\n")[0].replace("\n", " ")
        raise RunFailed(f"torch.compile gave up ({reason}); set train.compile = false") from error
    finally:
        objective.zero_grad(set_to_none=True)
    return out["mse"].detach()


@contextlib.contextmanager
def lively(objective: nn.Module) -> Iterator[None]:
    """Within, weights at which everything counts, the times too: matrices that keep the size of what they multiply."""
    before = {name: value.clone() for name, value in objective.state_dict().items()}
    generator = torch.Generator().manual_seed(0)
    try:
        with torch.no_grad():
            for name, parameter in objective.named_parameters():
                fan_in = parameter[0].numel() if parameter.dim() > 1 and "table" not in name else 1
                size = 0.1 if parameter.dim() == 1 else fan_in**-0.5
                parameter.copy_(size * torch.randn(parameter.shape, generator=generator))
        yield
    finally:
        objective.load_state_dict(before)
