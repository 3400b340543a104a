"""All that `bench speed` measures, group by group, each in a process of its own; written down after each.

    rows = sweep(request, folder, started_by="bench speed soflow", say=print)

A group is one net in one precision: its cells take turns in one process, so that ratios hold on a machine whose speed wanders.
The file is written anew after each group: what was measured before a crash, or a killed group, stays.
"""

import math
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from bench import dist, provenance
from bench.apart import in_own_process
from bench.errors import RunFailed
from bench.speed import decoder, generation, largest, machine, training
from bench.speed.live import BUDGET_SPENT, first_line
from bench.speed.request import Request
from bench.speed.results import Measurement, write

Say = Callable[[str], None]
FILE = "speed.parquet"
GRACE = 30.0  # seconds beyond --minutes that a group may take to end: what is under way, as a compilation, is not cut before
WORKS = {
    "training": "train",
    "compiled training": "train",
    "largest batch": "train",
    "sampling": "sample",
    "decoding": "decode",
}


def sweep(request: Request, folder: Path, started_by: str, say: Say) -> list[Measurement]:
    """Every row, which the file `folder`/speed.parquet has too; what takes longest, compilation, comes last."""
    deadline = time.monotonic() + 60 * request.minutes if request.minutes else math.inf
    facts = in_own_process("looks at the device", machine.facts, torch.device(request.device))
    description = describe(request, facts, started_by)
    found: list[Measurement] = []
    for name, work in groups(request):
        left = deadline - time.monotonic()
        if left <= 0:
            found.append(lost(request, name, "skipped", BUDGET_SPENT))
            continue
        say(name)
        try:
            found += in_own_process("measures speed", work, request, left, limit=left + GRACE)
        except (RunFailed, RuntimeError, MemoryError) as error:  # killed, or what no cell of it could catch
            say(f"{name}: {first_line(error)}")
            found.append(lost(request, name, "failed", first_line(error)))
        write(folder / FILE, found, description)
    write(folder / FILE, found, description)
    return found


def groups(request: Request) -> list[tuple[str, Callable[[Request, float], list[Measurement]]]]:
    """What is measured in one process each, by name."""
    pairs = [(net, precision) for net in request.nets for precision in request.precisions]
    kinds: list[tuple[str, Any]] = [("training", training.measure)]
    kinds += [("largest batch", largest.measure)] if request.max_batch else []
    kinds += [("sampling", generation.measure)]
    kinds += [("compiled training", training.measure_compiled)] if request.compile else []
    found: list[tuple[str, Callable[[Request, float], list[Measurement]]]] = [
        (f"{kind}, {net}, {precision}", partial(measure_group, measure, net, precision))
        for kind, measure in kinds
        for net, precision in pairs
    ]
    return [*found, ("decoding", measure_decoder)] if request.decoder != "none" else found


def measure_group(measure: Any, net: str, precision: str, request: Request, left: float) -> list[Measurement]:
    """In a process of its own; `left`: seconds that there are."""
    device = dist.pick_device(request.device)
    found: list[Measurement] = measure(request, net, precision, device, time.monotonic() + left)
    return found


def measure_decoder(request: Request, left: float) -> list[Measurement]:
    return decoder.measure(request, torch.device(request.device), time.monotonic() + left)


def lost(request: Request, name: str, status: str, reason: str) -> Measurement:
    """A row for a group that came to no end, or was not reached."""
    work, _, where = name.partition(", ")
    net, _, precision = where.partition(", ")
    return Measurement(
        work=WORKS.get(work, work), metric="images_per_second", value=None,
        unit="images/s", better="max", net=net, precision=precision, shape=request.shape_text, status=status, reason=reason,
        started_at=provenance.now(),
    )  # fmt: skip


def describe(request: Request, facts: dict[str, Any], started_by: str) -> dict[str, Any]:
    """What the file says of its making."""
    sha, dirty = provenance.commit()
    return {
        "machine": facts,
        "versions": provenance.versions(),
        "commit": sha,
        "dirty": dirty,
        "command": started_by,
        "started_at": provenance.now(),
        "hyperparameters": request.hyperparameters,
        "seconds": request.seconds,
        "threads": torch.get_num_threads(),
    }
