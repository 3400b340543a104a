"""Does step time follow the operations; what do two processes cost; what would 8 and 64 GPUs do?

python docs/scaling.py            # measures on this CPU, writes docs/scaling.json, then docs/scaling.md from it
python docs/scaling.py --write    # the page alone, from the committed numbers
"""

import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed
import torch.multiprocessing

import methods
from bench import dit, provenance
from bench.host_memory import keep_freed
from bench.probe import StandIn
from bench.speed import flops, machine
from bench.speed.cells import Cell, Workbench, run_config, waken
from bench.speed.clock import WARM_UP, in_turns
from bench.speed.request import Request
from bench.speed.results import quartiles
from bench.step import Step, load_method

HERE = Path(__file__).resolve().parent
NUMBERS, PAGE = HERE / "scaling.json", HERE / "scaling.md"
SHAPE, CLASSES = (4, 32, 32), 1000
CPU = torch.device("cpu")
BATCHES = {8: (32, 64, 128, 256), 4: (8, 16, 32, 64), 2: (2, 4, 8, 16)}  # by patch: 16, 64 and 256 tokens
WIDE, GLOBAL_BATCH, ROUNDS = "S/4", 32, 15
# Assumed, not measured: bandwidths in one direction, a GPU, of NVIDIA's data sheets for H100 SXM and NDR InfiniBand.
LINKS = {8: ("NVLink 4", 450e9), 64: ("NDR InfiniBand", 50e9)}
RATE = 0.40 * 989e12  # assumed: 40 % of the bf16 peak of an H100 or H200, dense


def request(batch: int = 32) -> Request:
    return Request(methods=("flow_matching",), nets=(WIDE,), batch=batch, shape=SHAPE, classes=CLASSES)


# Step time against operations


def sizes() -> list[dict[str, float]]:
    """Seconds of Flow Matching's step over token counts and batches, all in turns."""
    found, works = [], []
    for patch, batches in BATCHES.items():
        bench = Workbench(request(), f"T/{patch}", "fp32", CPU)
        method = methods.load("flow_matching", num_classes=CLASSES)
        for batch in batches:
            work = bench.step(Cell("flow_matching", "optimised", "best"), batch)
            for _ in range(WARM_UP):
                work()
            each = flops.flops_per_image(method, f"T/{patch}", SHAPE, CLASSES, batch)
            found.append({"tokens": (32 // patch) ** 2, "batch": batch, "flops": each * batch})
            works.append(work)
    for line, rounds in zip(found, in_turns(works, CPU, 3.0), strict=True):
        line["seconds"] = statistics.median(rounds)
    return found


def fit(lines: list[dict[str, float]]) -> dict[str, float]:
    """seconds = fixed + flops / rate, least squares of the relative error; and how far each point lies off."""
    f, s = (np.array([line[key] for line in lines]) for key in ("flops", "seconds"))
    (fixed, per_flop), *_ = np.linalg.lstsq(np.stack([1 / s, f / s], 1), np.ones(len(s)), rcond=None)
    off = (fixed + per_flop * f) / s - 1
    return {
        "fixed": float(fixed),
        "rate": float(1 / per_flop),
        "worst": float(np.abs(off).max()),
        "typical": float(np.median(np.abs(off))),
    }


# Two processes


def two_processes(rank: int, port: int, where: str) -> None:
    """The whole batch in one process; half of it in each without a word between them; half of it in each, together."""
    torch.set_num_threads(1)
    keep_freed()
    torch.distributed.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    data: Any = StandIn(SHAPE, CLASSES, 1_000_000)
    rounds: dict[str, list[float]] = {"whole": [], "apart": [], "together": []}
    steps = {}
    for name, batch in (("whole", GLOBAL_BATCH), ("apart", GLOBAL_BATCH // 2), ("together", GLOBAL_BATCH)):
        config = run_config(request(batch), "flow_matching", WIDE, "fp32")
        step = Step.start(config, data, CPU, together=name == "together")
        waken(step.net)
        rows = len(step.share.rows)
        x0, label = torch.randn(rows, *SHAPE), torch.arange(rows) % CLASSES
        draw = load_method(config, CLASSES).draw(x0, label, torch.Generator().manual_seed(rank), 0.5)
        steps[name] = lambda step=step, given=(x0, label, draw), batch=batch: step(*given, batch)
    for turn in range(WARM_UP + ROUNDS):
        for name, work in steps.items():
            torch.distributed.barrier()
            start = time.perf_counter()
            if name != "whole" or rank == 0:
                work()
            took = time.perf_counter() - start
            torch.distributed.barrier()
            if turn >= WARM_UP:
                rounds[name].append(took)
    if rank == 0:
        Path(where).write_text(json.dumps(rounds))
    torch.distributed.destroy_process_group()


def processes() -> dict[str, list[float]]:
    where = NUMBERS.with_suffix(".part")
    torch.multiprocessing.spawn(two_processes, (29531, str(where)), nprocs=2)
    found: dict[str, list[float]] = json.loads(where.read_text())
    where.unlink()
    return found


# GPUs: arithmetic


def extrapolate(net: str, images: int) -> list[dict[str, Any]]:
    """Step time on n GPUs of a method, from operations and bytes alone."""
    lines = []
    parameters = dit.parameter_count(dit.build(net, SHAPE, CLASSES))
    for name in methods.names():
        method = methods.load(name, num_classes=CLASSES)
        each = flops.flops_per_image(method, net, SHAPE, CLASSES, 256)
        for gpus in (1, 8, 64):
            compute = each * images / gpus / RATE
            link = LINKS.get(gpus)
            exchange = 2 * (gpus - 1) / gpus * 4 * parameters / link[1] if link else 0.0
            lines.append(
                {"net": net, "method": name, "gpus": gpus, "compute": compute, "exchange": exchange, "parameters": parameters}
            )
    return lines


# The page


def measure() -> dict[str, Any]:
    keep_freed()
    lines = sizes()
    sha, dirty = provenance.commit()
    return {
        "machine": machine.facts(CPU), "commit": sha, "dirty": dirty, "date": provenance.now(),
        "command": "python docs/scaling.py",
        "sizes": lines, "fit": fit(lines), "processes": processes(),
        "gpus": [*extrapolate("B/4", 256), *extrapolate("XL/2", 256)],
    }  # fmt: skip


def page(found: dict[str, Any]) -> str:
    rounds, model = found["processes"], found["fit"]
    rates = {
        name: quartiles([a / b for a, b in zip(rounds["together"], rounds[name], strict=True)]) for name in ("apart", "whole")
    }
    lines = [
        "# How the cost grows", "",
        f"Printed by `{found['command']}` on {found['machine']['device']}, {found['date']}, commit {found['commit'][:8]}; "
        "the numbers are in [scaling.json](scaling.json).", "",
        "## Step time follows the operations", "",
        "Flow Matching's step of DiT-T at 16, 64 and 256 tokens over a factor of 8 in batch, all timed in turns. A line "
        f"seconds = {1e3 * model['fixed']:.1f} ms + operations / {model['rate'] / 1e9:.1f} GFLOP/s is off by "
        f"{100 * model['typical']:.0f} % at the median and {100 * model['worst']:.0f} % at most.", "",
        "| tokens | batch | GFLOP | ms | line, ms |", "|---|---|---|---|---|",
    ]  # fmt: skip
    for line in found["sizes"]:
        expected = model["fixed"] + line["flops"] / model["rate"]
        times = f"{1e3 * line['seconds']:.1f} | {1e3 * expected:.1f}"
        lines.append(f"| {line['tokens']} | {line['batch']} | {line['flops'] / 1e9:.2f} | {times} |")
    low, middle, high = rates["apart"]
    lines += [
        "", "## Two processes", "",
        f"DiT-{WIDE}, batch {GLOBAL_BATCH}, one thread a process, gloo over loopback, {len(rounds['whole'])} rounds in turns. "
        f"A step of two processes takes {middle:.3f} times (quartiles {low:.3f} to {high:.3f}) as long as the same halves "
        f"without an exchange, and {rates['whole'][1]:.3f} times as long as the whole batch in one process (0.5 is perfect).",
        "",
        "## 8 and 64 GPUs: arithmetic, not a measurement", "",
        f"Assumed: {RATE / 1e12:.0f} TFLOP/s of useful bfloat16 arithmetic a GPU (40 % of an H100's or H200's dense peak; "
        "none was at hand), the same for all methods and for any batch a GPU; a ring all-reduce of float32 gradients, "
        f"2 (n - 1) / n times their bytes, over {LINKS[8][1] / 1e9:.0f} GB/s a GPU within a node of 8 ({LINKS[8][0]}) and "
        f"{LINKS[64][1] / 1e9:.0f} GB/s a GPU between 8 nodes ({LINKS[64][0]}); a batch of 256 in all, "
        "the papers'. The exchange overlaps the backward pass: the step is between the longer of the two and their sum. Not "
        "counted: kernels that are too small to fill a GPU (4 images each on 64), reading, saving, stragglers.", "",
        "| net | method | GPUs | compute, ms | exchange, ms | step, ms | efficiency at least |",
        "|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for line in found["gpus"]:
        c, e = 1e3 * line["compute"], 1e3 * line["exchange"]
        times = f"{c:.2f} | {e:.2f} | {max(c, e):.2f} to {c + e:.2f} | {c / (c + e):.0%}"
        lines.append(f"| {line['net']} | {line['method']} | {line['gpus']} | {times} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    if "--write" not in sys.argv:
        NUMBERS.write_text(json.dumps(measure(), indent=1) + "\n")
    PAGE.write_text(page(json.loads(NUMBERS.read_text())))
    print(PAGE.read_text())
