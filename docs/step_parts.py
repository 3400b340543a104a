"""What each way of making a step faster gains here, one at a time, before and after in turns.

python docs/step_parts.py            # measures on this CPU, writes docs/step_parts.json, then docs/step_parts.md from it
python docs/step_parts.py --write    # the page alone, from the committed numbers
"""

import copy
import json
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bench import dit, provenance
from bench.apart import in_own_process
from bench.host_memory import keep_freed
from bench.linear import torch_linear
from bench.speed import machine, published
from bench.speed.cells import run_config, waken
from bench.speed.clock import WARM_UP, in_turns, time_rounds
from bench.speed.request import Request
from bench.speed.results import quartiles
from methods import _path

HERE = Path(__file__).resolve().parent
NUMBERS, PAGE = HERE / "step_parts.json", HERE / "step_parts.md"
CPU = torch.device("cpu")
SHAPE, CLASSES, NET, BATCH = (4, 32, 32), 1000, "S/4", 16
Work = Callable[[], object]
Pair = tuple[str, str, Work, Work]  # what, what became of it, before, after


def network() -> dit.DiT:
    net = dit.build(NET, SHAPE, CLASSES)
    waken(net)
    return net


def inputs(rows: int) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    x, t = torch.randn(rows, *SHAPE, generator=generator), torch.rand(rows, generator=generator)
    return x, t, t / 2, torch.arange(rows) % CLASSES


def with_gradient(call: Callable[[], torch.Tensor], net: nn.Module) -> Work:
    def work() -> None:
        net.zero_grad(set_to_none=True)
        call().square().mean().backward()

    return work


# The parts


def update_parts(net: dit.DiT) -> list[Pair]:
    """Optimiser, average, norm: the parts of a step that do not depend on the batch."""
    with_gradient(lambda: net(*inputs(2)), net)()
    train = run_config(Request(methods=("flow_matching",), nets=(NET,)), "flow_matching", NET, "fp32").train
    plain, fused = published.optimiser(net, train), torch.optim.AdamW(net.parameters(), lr=1e-9, fused=True)
    ema, gradients = copy.deepcopy(net), [p.grad for p in net.parameters() if p.grad is not None]
    averages, weights = list(ema.parameters()), list(net.parameters())

    @torch.no_grad()
    def one_by_one() -> None:
        for average, weight in zip(averages, weights, strict=True):
            average.mul_(0.999).add_(weight, alpha=0.001)

    @torch.no_grad()
    def together() -> None:
        torch._foreach_lerp_(averages, weights, 0.001)

    return [
        ("AdamW, fused", "kept", plain.step, fused.step),
        ("average of the weights, one foreach", "kept", one_by_one, together),
        ("norm of the gradient, one foreach", "kept", lambda: published.norm_by_loop(gradients),
         lambda: nn.utils.get_total_norm(gradients)),
    ]  # fmt: skip


def pass_parts(net: dit.DiT) -> list[Pair]:
    """Forward passes: fewer and larger, attention, the derivative."""
    given, quarter = inputs(BATCH), inputs(BATCH // 4)
    x, t, s, label = quarter

    @torch.no_grad()
    def three() -> None:
        net(*given), net(*quarter), net(*quarter)

    @torch.no_grad()
    def one() -> None:
        net(*(torch.cat([a, b, b]) for a, b in zip(given, quarter, strict=True)))

    def derivative() -> object:
        return _path.time_derivative(net, x, t, s, label, x)

    def with_zeros() -> object:
        with torch_linear():
            return derivative()

    def written_out() -> None:
        with dit.attention_backend("math"):
            with_gradient(lambda: net(*given), net)()

    return [
        ("attention, torch's choice", "kept", written_out, with_gradient(lambda: net(*given), net)),
        ("passes without gradient in one call", "kept", three, one),
        ("derivative without products by zero", "kept", with_zeros, derivative),
    ]


def modulation_parts(net: dit.DiT) -> list[Pair]:
    """All adaLN modulations in one product; the joined weights made beforehand, which training could not do."""
    layers = [block.adaLN_modulation[1] for block in net.blocks]  # type: ignore[index]
    weight = torch.cat([layer.weight for layer in layers]).detach().requires_grad_()
    bias = torch.cat([layer.bias for layer in layers]).detach().requires_grad_()
    condition = torch.randn(BATCH, weight.shape[1])

    def apart() -> None:
        sum(layer(condition).sum() for layer in layers).backward()  # type: ignore[union-attr]

    def joined() -> None:
        nn.functional.linear(condition, weight, bias).sum().backward()

    return [("adaLN modulations in one product", "not kept: see below", apart, joined)]


def passes(keep: bool) -> float:
    """Seconds of a forward and backward pass of T/4 on 40 rows, the median, with and without memory that is kept."""
    if keep:
        keep_freed()
    net = dit.build("T/4", SHAPE, CLASSES)
    work = with_gradient(lambda: net(*inputs(40)), net)
    return statistics.median(time_rounds(work, CPU, 2.0))


def kept_memory() -> dict[str, Any]:
    """In processes that take turns: the C library can be told once."""
    pairs = [[in_own_process("takes passes", passes, keep) for keep in (False, True)] for _ in range(5)]
    ratios = [before / after for before, after in pairs]
    before, after = (statistics.median(values) for values in zip(*pairs, strict=True))
    what = "memory kept by the C library (DiT-T/4, 40 rows, a process each)"
    return {"what": what, "outcome": "kept", "before": before, "after": after, "gain": quartiles(ratios), "rounds": len(ratios)}


def measure() -> dict[str, Any]:
    pairs = [*update_parts(network()), *pass_parts(network()), *modulation_parts(network())]
    lines = [kept_memory()]
    keep_freed()
    for what, outcome, before, after in pairs:
        for _ in range(WARM_UP):
            before(), after()
        first, second = in_turns([before, after], CPU, 4.0)
        ratios = [a / b for a, b in zip(first, second, strict=True)]
        lines.append({"what": what, "outcome": outcome, "before": statistics.median(first), "after": statistics.median(second),
                      "gain": quartiles(ratios), "rounds": len(ratios)})  # fmt: skip
    sha, dirty = provenance.commit()
    return {"machine": machine.facts(CPU), "commit": sha, "dirty": dirty, "date": provenance.now(),
            "command": "python docs/step_parts.py", "lines": lines}  # fmt: skip


def page(found: dict[str, Any]) -> str:
    lines = [
        "# What makes a step faster, one thing at a time", "",
        f"Printed by `{found['command']}` on {found['machine']['device']}, {found['date']}, commit "
        f"{found['commit'][:8]}; the numbers are in [step_parts.json](step_parts.json).", "",
        f"DiT-{NET} on latents of {'x'.join(map(str, SHAPE))}, batch {BATCH}, float32. Before and after take turns; the gain "
        "is the median of the ratios within rounds, with its quartiles.", "",
        "| what | before, ms | after, ms | gain | quartiles | |", "|---|---|---|---|---|---|",
    ]  # fmt: skip
    for line in found["lines"]:
        low, middle, high = line["gain"]
        times = f"{1e3 * line['before']:.3g} | {1e3 * line['after']:.3g} | {middle:.2f} | {low:.2f} to {high:.2f}"
        lines.append(f"| {line['what']} | {times} | {line['outcome']} |")
    return "\n".join(lines) + NOTES


NOTES = """
The modulations in one product: the weights lie apart, under the published names, and joining them anew in each step costs more
than the product gains; what is measured is the product alone, its most. CUDA graphs, pinned copies and data on the device are
of GPUs, and none was at hand: data resident on the device and copies that nothing waits for are written and not measured, CUDA
graphs are not written. `python -m bench speed --compile` measures compilation.
"""


if __name__ == "__main__":
    if "--write" not in sys.argv:
        NUMBERS.write_text(json.dumps(measure(), indent=1) + "\n")
    PAGE.write_text(page(json.loads(NUMBERS.read_text())))
    print(PAGE.read_text())
