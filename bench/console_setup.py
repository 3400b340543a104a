"""The verbs before a run, as a person sees them: import, plan."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table as RichTable

from bench.guard import typed
from bench.progress import board, duration, err
from bench.show import out
from bench.store import Root

if TYPE_CHECKING:
    from bench.config import Suite
    from bench.importing.arrival import Request
    from bench.plan import Outcome, Plan


# import


def import_weights(request: "Request", suite: "Suite", root: Path) -> None:
    """Import a file; print the run's name, and on the side what was found and what the user has to know."""
    from bench.importing import arrival

    run, facts = arrival.bring(request, suite, Root(root), started_by=typed())
    c, h, w = facts.net.shape
    what = f"{facts.record['layout']}, {facts.record['weights']} weights, net {facts.net.name}"
    err.print(f"{escape(what)}, {c}x{h}x{w}, {facts.net.num_classes:,} classes", soft_wrap=True)
    for remark in facts.remarks:
        err.print(f"  {escape(remark)}", soft_wrap=True)
    if not facts.new:
        err.print("  It is here already.")
    out.print(escape(run.name), soft_wrap=True)


# plan


def show_plan(suite: "Suite", root: Path, *, gpus: int, probe: bool, as_json: bool) -> None:
    """Print what the runs will take. Raises BenchError, after that, where something can not fit."""
    from bench import plan

    with board() as progress:
        outcome = plan.plan(suite, Root(root), gpus=gpus, measure=probe, say=progress.say)
    if as_json:
        out.print_json(json.dumps(outcome.as_json()))
    else:
        print_plan(outcome)
    plan.refuse(outcome)


def print_plan(outcome: "Outcome") -> None:
    from bench.memory import size

    grid = RichTable(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    grid.add_column("a run of", no_wrap=True)
    for plan in outcome.plans:
        grid.add_column(escape(plan.method), justify="right", no_wrap=True)
    columns = [plan_lines(plan, outcome) for plan in outcome.plans]
    for name in columns[0]:
        grid.add_row(name, *(column[name] for column in columns))
    out.print(grid)
    runs = sum(len(plan.runs) for plan in outcome.plans)
    free = "unknown" if outcome.memory_free is None else size(outcome.memory_free)
    out.print(
        f"\n{runs} run{'s' * (runs > 1)}: {size(outcome.disk)} of disk, {size(outcome.disk_free)} are free", soft_wrap=True
    )
    out.print(f"here: {escape(outcome.device)}, {free} of memory free", soft_wrap=True)
    for note in (*outcome.notes, *fine_print(outcome)):
        out.print(escape(note), style="dim", soft_wrap=True)
    for sentence in outcome.missing:
        out.print(f"missing: {escape(sentence)}", style="red", soft_wrap=True)


def plan_lines(plan: "Plan", outcome: "Outcome") -> dict[str, str]:
    """One column of the table, by the names of its rows."""
    from bench.memory import size

    def hours(seconds: float | None) -> str:
        return "–" if seconds is None else duration(seconds) if seconds < 360_000 else f"{seconds / 86400:,.0f} days"

    each = "" if outcome.gpus == 1 else f" x {outcome.gpus}"
    lines = {
        "parameters": f"{plan.parameters / 1e6:,.2f} M",
        "forward, an image": f"{plan.forward_macs / 1e9:,.3g} GMAC",
        "training, an image": f"{plan.forward_equivalents:g} forwards",
        "images": f"{plan.images / 1e6:,.3g} M",
        "steps": f"{plan.steps:,}",
        f"memory{each}": f"~{size(plan.memory)}" if plan.memory else f">{size(plan.memory_at_least)}",
        "training here": f"~{hours(plan.train_seconds)}" if plan.train_seconds else "–",
        "sampling for scores": f"~{hours(plan.score_seconds)}" if plan.score_seconds else "–",
    }
    lines |= {f"training, {name}{each} †": f"~{hours(3600 * value)}" for name, value in plan.gpu_hours.items()}
    return lines


def fine_print(outcome: "Outcome") -> list[str]:
    """What the estimates rest on."""
    from bench.plan import UTILISATION

    assumed = ", ".join(f"{share:.0%} in {precision}" for precision, share in UTILISATION.items())
    notes = [f"† an estimate: the data sheet's peak without sparsity, of which {assumed} are assumed."]
    if sizes := sorted({p.batch for plan in outcome.plans for p in plan.probes}):
        at = " and ".join(map(str, sizes))
        notes.append(f"~ here: from a few steps with {at} made-up images; reading data, decoding and features are not in it.")
    if outcome.gpus > 1:
        notes.append(f"{outcome.gpus} processes: as if they did not wait for each other.")
    return notes
