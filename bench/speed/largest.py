"""The largest batch that a training step of each method takes on a given memory.

rows = measure(request, "B/4", "bf16", device, deadline)       # in a process of its own
"""

import gc
import time
from typing import Any

import torch

from bench import provenance
from bench.errors import BenchError, RunFailed
from bench.memory import out_of_memory
from bench.micro_batch import MARGIN
from bench.precision import check
from bench.probe import free_memory
from bench.shares import unit
from bench.speed import held
from bench.speed.cells import Cell, Workbench, run_config
from bench.speed.live import BUDGET_SPENT
from bench.speed.max_batch import largest_batch
from bench.speed.request import Request
from bench.speed.results import Measurement

LIMIT = 1 << 16  # images: beyond it nobody trains


def measure(request: Request, net: str, precision: str, device: torch.device, deadline: float) -> list[Measurement]:
    """A row for each method and variant, in the column `best`, uncompiled. Its rounds hold nothing: bytes are no times."""
    try:
        check(run_config(request, request.methods[0], net, precision).train, device)
        torch.zeros(1, device=device)  # a GPU's own memory is not the step's
        free = free_memory(device)
        with out_of_memory():
            bench = Workbench(request, net, precision, device)
    except (BenchError, RunFailed):
        return []  # training's rows say why
    memory = int(1e9 * request.memory) if request.memory else (None if free is None else int(free * (1 - MARGIN)))
    rows = []
    for variant in request.variants:
        for method in request.methods:
            cell = Cell(method, variant, "best")
            place: dict[str, Any] = {
                "work": "train", "method": method, "net": net, "shape": request.shape_text, "classes": request.classes,
                "variant": variant, "column": "best", "precision": precision, "attention": cell.attention,
                "metric": "max_batch", "unit": "images", "better": "max", "started_at": provenance.now(),
            }  # fmt: skip
            if memory is None or time.monotonic() > deadline:
                reason = BUDGET_SPENT if memory is not None else "the system does not say what memory is free: give --memory"
                rows.append(Measurement(**place, value=None, status="skipped", reason=reason))
                continue
            rows.append(_one(bench, cell, memory, place, deadline))
    return rows


def _one(bench: Workbench, cell: Cell, memory: int, place: dict[str, Any], deadline: float) -> Measurement:
    bench.optimisers.clear()  # another variant's moments are not this one's memory

    def attempt(batch: int) -> int | None:
        if time.monotonic() > deadline:
            raise BenchError(BUDGET_SPENT, "", "")
        bench.given.clear()
        bench.forget()
        try:
            with out_of_memory():
                step = bench.step(cell, batch)
                step()
                bench.forget()
                return held.added_bytes(step, bench.device) + bench.state_bytes(cell.variant)
        except RunFailed:
            return None
        finally:
            gc.collect()
            torch.cuda.empty_cache()

    try:
        method = bench.method(cell)
        rows = unit(max(bench.request.batch, 64), method.velocity_rows)
        found = largest_batch(attempt, memory, rows, LIMIT)
    except BenchError as error:
        return Measurement(**place, value=None, status="skipped", reason=error.given)
    if not found.batch:
        reason = f"not even {rows} images fit into {memory / 1e9:.2f} GB"
        return Measurement(**place, value=None, status="failed", reason=reason)
    tried = ", ".join(f"{b}: {'too much' if used is None else f'{used / 1e9:.2f} GB'}" for b, used in found.tried)
    return Measurement(**place, value=float(found.batch), reason=f"within {memory / 1e9:.2f} GB; tried {tried}")
