"""What sampling costs: images a second over batch sizes, latency at batch 1, memory; the network alone, and up to uint8.

    rows = measure(request, "B/4", "bf16", device, deadline)       # in a process of its own

The noise lies on the device before the clock starts. Weights are random: sampling costs the same before training as after.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

import methods
from bench import dit, provenance, rng
from bench.errors import BenchError
from bench.memory import out_of_memory
from bench.precision import check, switched, view
from bench.speed import held
from bench.speed.cells import COLUMNS, Cell, run_config, waken
from bench.speed.clock import WARM_UP, in_turns
from bench.speed.decoder import Decoder, load_decoder
from bench.speed.live import Live, attempt
from bench.speed.request import Request
from bench.speed.results import Measurement, noisy, quartiles
from bench.step import build_net

Sampler = Callable[[], Tensor]


def measure(request: Request, net: str, precision: str, device: torch.device, deadline: float) -> list[Measurement]:
    """All rows of sampling for one net and precision; a number of steps that a method can not take is a skipped one."""
    try:
        check(run_config(request, request.methods[0], net, precision).train, device)
        network = build_net(run_config(request, request.methods[0], net, precision), request.shape, request.classes)
    except BenchError:
        return []  # training's rows say why
    waken(network)
    with out_of_memory():
        network.to(device).eval().requires_grad_(False)
        decoder = load_decoder(request, device)
    rows: list[Measurement] = []
    for batch in request.sample_batches:
        works: list[tuple[Live, dict[str, Any], Sampler]] = []
        for column in COLUMNS:
            for method in request.methods:
                for steps in request.steps:
                    cell = Cell(method, "optimised", column)
                    for work, last in (("sample", None), ("generate", decoder)):
                        place = _place(request, net, precision, cell, batch, steps) | {"work": work}
                        call = sampler(request, network, precision, device, cell, batch, steps, last)
                        works.append((Live(cell, False), place, call))
        rows += _timed(works, request, device, deadline)
    return rows


def sampler(
    request: Request, network: dit.DiT, precision: str, device: torch.device, cell: Cell, batch: int, steps: int,
    decoder: Decoder | None,
) -> Sampler:  # fmt: skip
    """From noise on the device to the network's images, or with a decoder to uint8."""
    method = methods.load(cell.method, num_classes=request.classes, **request.hyperparameters.get(cell.method, {}))
    noise = rng.image_noise(0, "speed", range(batch), request.shape).to(device)
    label = torch.arange(batch, device=device) % request.classes
    fresh = [noise.flip(0)] * (steps - 1)

    def work() -> Tensor:
        with torch.no_grad(), dit.attention_backend(cell.attention), switched(precision, device):
            try:
                x0 = method.sample(view(network, precision), noise, label, steps, fresh)
            except ValueError as error:
                given, _, allowed = str(error).partition("; allowed: ")
                raise BenchError(given, allowed, "Choose with --steps.") from error
        return x0 if decoder is None else decoder(x0)

    return work


def _timed(
    works: list[tuple[Live, dict[str, Any], Sampler]], request: Request, device: torch.device, deadline: float
) -> list[Measurement]:
    rows = []
    for live, _, work in works:
        for _ in range(WARM_UP):
            attempt(live, work, deadline)
    going = [item for item in works if item[0].status == "ok"]
    rounds = in_turns([partial(attempt, live, work) for live, _, work in going], device, request.seconds / 4, deadline)
    times = {id(work): own for (_, _, work), own in zip(going, rounds, strict=True)}
    for live, place, work in works:
        rows += _rows(live, place, times.get(id(work), []), work, device, place["batch"] == max(request.sample_batches))
    return rows


def _rows(
    live: Live, place: dict[str, Any], rounds: list[float], work: Sampler, device: torch.device, weighed: bool
) -> list[Measurement]:
    """`weighed`: with the memory, which the largest batch shows."""
    batch = place["batch"]
    units = {"images_per_second": ("images/s", "max"), "latency_ms": ("ms", "min"), "peak_bytes": ("bytes", "min")}
    wanted = ["images_per_second"] + ["latency_ms"] * (batch == 1) + ["peak_bytes"] * weighed
    if live.status != "ok" or not rounds:
        reason = live.reason or "not reached"
        status = live.status if live.status != "ok" else "skipped"
        return [Measurement(**place, metric=m, value=None, unit=units[m][0], better=units[m][1], status=status, reason=reason)
                for m in wanted]  # fmt: skip
    low, middle, high = quartiles(rounds)
    values = {
        "images_per_second": (batch / middle, batch / high, batch / low),
        "latency_ms": (1e3 * middle, 1e3 * low, 1e3 * high),
    }
    timed: dict[str, Any] = {"rounds": tuple(rounds), "noisy": noisy(rounds)}
    rows = [Measurement(**place, metric=m, value=values[m][0], low=values[m][1], high=values[m][2], unit=units[m][0],
                        better=units[m][1], **timed) for m in wanted if m != "peak_bytes"]  # fmt: skip
    if weighed:
        peak = attempt(live, partial(held.added_bytes, work, device), math.inf)
        rows.append(Measurement(**place, metric="peak_bytes", value=peak, unit="bytes", better="min", status=live.status,
                                reason=live.reason or "beyond the weights"))  # fmt: skip
    return rows


def _place(request: Request, net: str, precision: str, cell: Cell, batch: int, steps: int) -> dict[str, Any]:
    return {
        "work": "sample", "method": cell.method, "net": net, "shape": request.shape_text, "classes": request.classes,
        "variant": cell.variant, "column": cell.column, "precision": precision, "attention": cell.attention, "batch": batch,
        "steps": steps, "started_at": provenance.now(),
    }  # fmt: skip
