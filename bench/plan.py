"""What a run will take, before anything is spent: operations, time, memory, disk, and the files that are not there.

    outcome = plan(suite, Root(Path(".")))
    outcome.plans[0].hours, outcome.missing, outcome.refusals

Time and memory come from a few real steps (bench/probe.py) and two straight lines through them; disk and operations from
the network's size. Reads the data set where it is here; writes nothing.
"""

import dataclasses
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from bench import dist, dit, micro_batch, precision, probe
from bench.absent import look
from bench.config import RunConfig, Suite
from bench.errors import BenchError, RunFailed
from bench.evaluate import step_counts
from bench.memory import size
from bench.probe import Measured, Shapes
from bench.shares import share_of
from bench.step import check_net, load_method
from bench.store import Root

STATE, SNAPSHOT = micro_batch.STATE, 4  # bytes a parameter, float32: a snapshot holds the average
RESULTS = 1_000_000  # bytes of rows, logs and grids a run: more than was seen

# Peak rates without sparsity, TFLOP/s, of the makers' data sheets: A100 80 GB SXM, H100 SXM, H200 SXM.
GPUS = {
    "A100": {"fp32": 19.5, "tf32": 156.0, "bf16": 312.0},
    "H100": {"fp32": 67.0, "tf32": 494.7, "bf16": 989.4},
    "H200": {"fp32": 67.0, "tf32": 494.7, "bf16": 989.4},
}
UTILISATION = {"fp32": 0.5, "tf32": 0.25, "bf16": 0.25}  # assumed share of the peak; nobody measured it here


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One method's runs: bytes, seconds a run, operations an image (a multiply-accumulate is two). None: not known."""

    method: str
    runs: tuple[str, ...]
    parameters: int
    forward_macs: int
    forward_equivalents: float
    train_flops: float  # an image
    images: int  # a run
    steps: int
    pieces: tuple[int, ...]  # images of a step that one process takes through the network, one piece after the other
    memory: int | None = None
    memory_at_least: int = 0  # by arithmetic alone: weights, gradient, average, moments
    train_seconds: float | None = None  # here
    score_seconds: float | None = None  # here: sampling alone, without decoder and features
    gpu_hours: dict[str, float] = field(default_factory=dict)  # of training a run, on each of GPUS: estimates
    probes: tuple[probe.Probe, ...] = ()
    disk: int = 0  # of all runs of the method

    @property
    def batch(self) -> int:
        """Images at a time: what memory is needed for."""
        return max(self.pieces)

    @property
    def hours(self) -> float | None:
        return None if self.train_seconds is None else self.train_seconds / 3600


@dataclass(frozen=True, kw_only=True)
class Outcome:
    plans: tuple[Plan, ...]
    device: str
    gpus: int
    memory_free: int | None  # bytes
    disk_free: int
    missing: tuple[str, ...]  # files that are not here, a sentence each
    notes: tuple[str, ...]
    refusals: tuple[str, ...]  # what can not fit

    @property
    def disk(self) -> int:
        """Of all runs, and a state while it is written beside those it replaces."""
        return sum(plan.disk for plan in self.plans) + max(plan.parameters * STATE for plan in self.plans)

    def as_json(self) -> dict[str, Any]:
        assumed = {"peak_tflops": GPUS, "utilisation": UTILISATION}
        return dataclasses.asdict(self) | {"disk": self.disk, "assumed": assumed}


def plan(
    suite: Suite, root: Root, *, gpus: int = 1, measure: bool = True, say: Callable[[str], None] = lambda _: None
) -> Outcome:
    """The plan of each method. Raises BenchError for settings that can not be run at all."""
    device = dist.pick_device(suite.loop.device)
    shapes, missing, notes = look(suite)
    configs: dict[str, list[RunConfig]] = {}
    for config in suite.runs():
        check_net(config, shapes.shape)
        configs.setdefault(config.method, []).append(config)
    plans, free = [], probe.free_memory(device)
    for method, of_method in configs.items():
        bare = _without_probe(of_method, shapes, suite, gpus)
        measured = None
        if measure and (free is None or bare.memory_at_least <= free):
            say(f"{method}: a few steps here{', which may take minutes' * (bare.train_flops > 1e11 and device.type == 'cpu')}")
            try:
                precision.check(of_method[0].train, device)
                recompute = suite.loop.recompute
                measured = probe.apart(of_method[0], shapes, str(device), bare.batch, bare.train_flops, recompute)
                bare = _in_pieces(bare, of_method[0], shapes, suite, gpus, measured, notes)
            except (RunFailed, BenchError) as error:  # such as a precision that this device has not
                notes.append(f"{method}: no probe here, {str(error).rstrip('.')}.")
        if suite.loop.micro_batch == "auto" and not measured:
            notes.append(f"{method}: micro_batch auto is chosen when training starts; here a share is taken in one piece.")
        plans.append(_with_probe(bare, measured, suite, gpus) if measured else bare)
    disk_free = shutil.disk_usage(_existing(root.path)).free
    outcome = Outcome(
        plans=tuple(plans), device=dist.device_label(device), gpus=gpus, memory_free=free, disk_free=disk_free,
        missing=tuple(missing), notes=tuple(notes), refusals=(),
    )  # fmt: skip
    return dataclasses.replace(outcome, refusals=tuple(_refusals(outcome)))


def _existing(path: Path) -> Path:
    """`path`, or the nearest folder above it that is there."""
    whole = path.resolve()
    return next(folder for folder in (whole, *whole.parents) if folder.is_dir())


# Arithmetic


def _without_probe(configs: list[RunConfig], shapes: Shapes, suite: Suite, gpus: int) -> Plan:
    config = configs[0]
    with torch.device("meta"):
        parameters = dit.parameter_count(dit.build(config.net, shapes.shape, shapes.num_classes))
    macs = dit.forward_macs(config.net, shapes.shape, shapes.num_classes)
    method = load_method(config, shapes.num_classes)
    cost, train = method.cost, config.train
    # The last process has what the others leave over: nobody takes more rows than it does.
    share = share_of(train.batch, method.velocity_rows, gpus - 1, gpus, suite.loop.settled_micro_batch)
    images = config.total_images(shapes.train_images)
    flops, kind = 2.0 * macs * cost, train.precision
    rates = {name: peak[kind] * 1e12 * UTILISATION[kind] * gpus for name, peak in GPUS.items()}
    return Plan(
        method=config.method,
        runs=tuple(other.name for other in configs),
        parameters=parameters,
        forward_macs=macs,
        forward_equivalents=cost,
        train_flops=flops,
        images=images,
        steps=images // train.batch,
        pieces=share.sizes,
        memory_at_least=probe.TRAINING * parameters,
        gpu_hours={name: images * flops / rate / 3600 for name, rate in rates.items()},
        disk=len(configs) * ((2 * STATE + SNAPSHOT * suite.loop.snapshots) * parameters + RESULTS),
    )


def _in_pieces(
    bare: Plan, config: RunConfig, shapes: Shapes, suite: Suite, gpus: int, measured: Measured, notes: list[str]
) -> Plan:  # fmt: skip
    """The plan with the pieces that "auto" would choose here; where none fits, with the smallest, and a note."""
    if suite.loop.micro_batch != "auto":
        return bare
    device, every = dist.pick_device(suite.loop.device), micro_batch.possible(config, shapes, gpus)
    points = tuple((p.batch, p.peak) for p in measured.probes)
    try:
        free = micro_batch.free_here(device, gpus) - measured.base  # a process that trains has that already
        need = micro_batch.need_of(config, shapes, device, measured.base, points, every, gpus)
        choice = micro_batch.fitting(config, suite.loop, device, need, every, free)
        rows = choice.rows
        notes.append(f"{bare.method}: {choice}.")
    except BenchError as error:
        rows = every[-1]
        notes.append(f"{bare.method}: micro_batch auto: {error.given}.")
    velocity_rows = load_method(config, shapes.num_classes).velocity_rows
    return dataclasses.replace(bare, pieces=share_of(config.train.batch, velocity_rows, gpus - 1, gpus, rows).sizes)


def _with_probe(bare: Plan, measured: Measured, suite: Suite, gpus: int) -> Plan:
    times = [(p.batch, p.seconds) for p in measured.probes]
    seconds = sum(probe.at(piece, times, 0.0) for piece in bare.pieces)
    held = float(measured.base + bare.memory_at_least)
    memory = probe.at(bare.batch, [(p.batch, float(p.peak)) for p in measured.probes], held)
    evaluations = sum(step_counts(bare.method, suite.eval)) * suite.eval.seeds * suite.eval.samples * suite.loop.snapshots
    return dataclasses.replace(
        bare,
        memory=round(max(memory, held)),
        train_seconds=seconds * bare.steps,
        score_seconds=measured.evaluation * evaluations / gpus,
        probes=measured.probes,
    )


# What can not fit


def _refusals(outcome: Outcome) -> list[str]:
    found = []
    for plan in outcome.plans:
        needed, free = max(plan.memory or 0, plan.memory_at_least), outcome.memory_free
        if free is not None and needed > free:
            at_least = "" if plan.memory else "at least "
            where = f"{plan.batch} images at a time on {outcome.device}"
            found.append(f"{plan.method} needs {at_least}{size(needed)} of memory for {where}, where {size(free)} are free")
    if outcome.disk > outcome.disk_free:
        found.append(f"the runs need {size(outcome.disk)} of disk, where {size(outcome.disk_free)} are free")
    return found


def refuse(outcome: Outcome) -> None:
    """Raises BenchError where something can not fit."""
    if outcome.refusals:
        remedy = "Reduce --batch or the --net for memory, --seeds or methods for disk; or use another machine, or --root."
        raise BenchError(f"These runs do not fit: {'; '.join(outcome.refusals)}", "what is free", remedy)
