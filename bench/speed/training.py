"""What a training step costs: time, memory, operations, energy; all cells of one net and precision in turns.

    rows = measure(request, "B/4", "bf16", device, deadline)       # in a process of its own

A cell that runs out of memory is a failed row with the reason; the others go on.
"""

import time
from functools import partial
from typing import Any

import torch

from bench import nets, provenance
from bench.errors import BenchError, RunFailed
from bench.memory import out_of_memory
from bench.precision import check
from bench.speed import ceiling, energy, flops, held
from bench.speed.cells import Cell, Workbench, cells, run_config
from bench.speed.clock import WARM_UP, in_turns, seconds
from bench.speed.live import BUDGET_SPENT, Live, attempt
from bench.speed.request import Request
from bench.speed.results import Measurement, noisy, quartiles

BURST = 0.05  # seconds of steps between two looks at a GPU's clock: the host runs ahead, as in training
MEASURED = (  # metric, unit, better
    ("step_ms", "ms", "min"),
    ("images_per_second", "images/s", "max"),
    ("peak_bytes", "bytes", "min"),
    ("flops_per_image", "FLOP", "min"),
    ("mfu", "", "max"),
    ("joules_per_image", "J", "min"),
)


def measure(
    request: Request, net: str, precision: str, device: torch.device, deadline: float, compiled: bool = False
) -> list[Measurement]:
    """All rows of training for one net and precision, or of its compiled cells; what there is no time for says so."""
    wanted = [Live(cell, compiled) for cell in cells(request) if not compiled or is_compiled(cell)]
    try:
        check(run_config(request, request.methods[0], net, precision).train, device)
        nets.fit(net, request.shape)
    except BenchError as error:
        return [Measurement(**_place(request, net, precision), metric=m, value=None, unit=u, better=b, status="skipped",
                            reason=str(error)) for m, u, b in MEASURED]  # fmt: skip
    if time.monotonic() > deadline:
        for live in wanted:
            live.end("skipped", BUDGET_SPENT)
        return [row for live in wanted for row in _nothing(request, net, precision, live, BUDGET_SPENT)]
    peak = ceiling.measure(device, precision, min(request.seconds, 1.0))
    rows = [_ceiling_row(precision, peak)]
    try:
        with out_of_memory():
            bench = Workbench(request, net, precision, device)
    except RunFailed as error:
        return rows + [row for live in wanted for row in _nothing(request, net, precision, live, str(error))]
    return rows + measure_cells(bench, wanted, peak.flops_per_second, deadline)


def measure_compiled(request: Request, net: str, precision: str, device: torch.device, deadline: float) -> list[Measurement]:
    """The same of the cells that compilation may make faster: a group of its own, since it can take minutes."""
    return measure(request, net, precision, device, deadline, compiled=True)


def is_compiled(cell: Cell) -> bool:
    """What is published runs uncompiled, and one backend for all is no kernel of a compiler's."""
    return cell.variant == "optimised" and cell.column == "best"


def measure_cells(bench: Workbench, wanted: list[Live], peak: float, deadline: float) -> list[Measurement]:
    """Rows of these cells: warmed up one by one, timed in turns, then weighed one by one."""
    for live in wanted:
        attempt(live, partial(_warm_up, bench, live), deadline)
    going = [live for live in wanted if live.step]
    works = [partial(attempt, live, live.step) for live in going if live.step]
    burst = BURST if bench.device.type == "cuda" else 0.0
    for live, own in zip(going, in_turns(works, bench.device, bench.request.seconds, deadline, burst), strict=True):
        live.rounds = own
    return [row for live in wanted for row in _rows(bench, live, peak, deadline)]


def _warm_up(bench: Workbench, live: Live) -> None:
    """The first calls; a compiled loss is held against the uncompiled one before it is timed, as in training."""
    step = bench.step(live.cell, compiled=live.compiled)
    live.first = seconds(step, bench.device)
    if live.compiled:
        bench.verify(live.cell)
    for _ in range(WARM_UP):
        step()
    live.step = step


def _rows(bench: Workbench, live: Live, peak: float, deadline: float) -> list[Measurement]:
    """A cell's times, once there are any, whatever becomes of the rest."""
    if live.status != "ok":
        return _nothing(bench.request, bench.net_name, bench.precision, live, live.reason)
    batch, place = bench.request.batch, _place(bench.request, bench.net_name, bench.precision, live)
    low, middle, high = quartiles(live.rounds)
    timed: dict[str, Any] = {"rounds": tuple(live.rounds), "noisy": noisy(live.rounds)}
    rows = [
        Measurement(**place, metric="step_ms", value=1e3 * middle, low=1e3 * low, high=1e3 * high, unit="ms",
                    better="min", **timed),
        Measurement(**place, metric="images_per_second", value=batch / middle, low=batch / high, high=batch / low,
                    unit="images/s", better="max", **timed),
    ]  # fmt: skip
    if live.compiled:
        rows.append(Measurement(**place, metric="first_step_seconds", value=live.first, unit="s", better="min"))
    values = attempt(live, partial(weigh, bench, live, peak), deadline)
    for metric, unit, better in MEASURED[2:]:
        value, why = values[metric] if values else (None, live.reason)
        rows.append(Measurement(**place, metric=metric, value=value, unit=unit, better=better, status=live.status, reason=why))
    return rows


def weigh(bench: Workbench, live: Live, peak: float) -> dict[str, tuple[float | None, str]]:
    """Peak memory, operations, utilisation and energy of a cell: value, and why there is none."""
    request, cell, batch = bench.request, live.cell, bench.request.batch
    assert live.step
    bench.forget()
    added = held.added_bytes(live.step, bench.device)
    state = bench.state_bytes(cell.variant)
    shape, classes = request.shape, request.classes
    counted = flops.flops_per_image(bench.method(cell), bench.net_name, shape, classes, batch)
    needed = flops.training_flops(bench.needed(cell), bench.net_name, shape, classes, batch).needed
    _, middle, _ = quartiles(live.rounds)
    joules, why = energy.per_call(live.step, bench.device, min(request.seconds, 2.0))
    return {
        "peak_bytes": (float(added + state), ""),
        "flops_per_image": (counted, ""),
        "mfu": (needed * batch / middle / peak, ""),
        "joules_per_image": (None if joules is None else joules / batch, why),
    }


def _nothing(request: Request, net: str, precision: str, live: Live, reason: str) -> list[Measurement]:
    """The rows of a cell that there are no values for."""
    status = live.status if live.status != "ok" else "failed"
    place = _place(request, net, precision, live)
    return [Measurement(**place, metric=m, value=None, unit=u, better=b, status=status, reason=reason) for m, u, b in MEASURED]


def _place(request: Request, net: str, precision: str, live: Live | None = None) -> dict[str, Any]:
    found: dict[str, Any] = {
        "work": "train", "net": net, "shape": request.shape_text, "classes": request.classes, "precision": precision,
        "batch": request.batch, "started_at": provenance.now(),
    }  # fmt: skip
    if live:
        cell = live.cell
        found |= {"method": cell.method, "variant": cell.variant, "column": cell.column, "attention": cell.attention}
        found["compiled"] = live.compiled
    return found


def _ceiling_row(precision: str, peak: ceiling.Ceiling) -> Measurement:
    """What the device reaches in a large matrix product: what utilisation is measured against."""
    size = peak.size
    values = sorted(2 * size**3 / s for s in peak.rounds)
    low, _, high = quartiles(values)
    return Measurement(
        work="device", metric="matmul_flops_per_second", value=peak.flops_per_second, low=low, high=high, unit="FLOP/s",
        better="max", precision=precision, batch=size, rounds=tuple(peak.rounds), noisy=noisy(peak.rounds),
        started_at=provenance.now(),
    )  # fmt: skip
