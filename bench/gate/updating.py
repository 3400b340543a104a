"""`bench check --update`: train a profile's seeds, write the baseline and the snapshots beside it.

update(profile, baseline, seeds=None, speed=False, say=print, started_by="bench check --update")
"""

import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from bench import checkpoint, dist, provenance
from bench.errors import BenchError, RunFailed
from bench.gate import anchors, step_ratio
from bench.gate.baselines import LEAST_SEEDS, Baseline, Noted, Speeds, round_off, write
from bench.gate.plans import PROFILE, Plan, anchor_of, baseline_of, circumstances, make_plan
from bench.gate.work import Say, apart, by_quantity, crew, print_nothing, train_all, workers
from bench.progress import duration
from bench.speed import run_rows
from bench.store import Root

SPEEDS = 16  # measurements of the speed in a baseline


def update(
    profile: Path | None = None, baseline: Path | None = None, *, seeds: int | None = None, speed: bool = False,
    root: Path | None = None, say: Say = print_nothing, started_by: str = "bench check --update",
) -> str:  # fmt: skip
    """Train the baseline's seeds, write it and the snapshots beside it; returns a sentence.

    `root` keeps the runs: what is trained there under the same settings is not trained again. Else they are deleted.

    Raises BenchError for too few seeds, RunFailed where a run failed: the old baseline stays then.
    """
    profile = profile or PROFILE
    where = baseline or baseline_of(profile)
    with tempfile.TemporaryDirectory(prefix="bench-check-") as folder:
        plan = make_plan(profile, Root(root or Path(folder)))
        start, count = plan.suite.run.seed, seeds or plan.suite.run.seeds
        if count < LEAST_SEEDS:
            remedy = f"Set run.seeds in {profile.name}, or --seeds."
            raise BenchError(f"A baseline of {count} training seeds", f"at least {LEAST_SEEDS}", remedy)
        with crew(plan.suite) as executor:
            made = measured(executor, plan, where, range(start, start + count), speed, say, started_by)
        write(where, made)
    return f"{where}: {len(made.values)} quantities of {count} training seeds"


def measured(
    executor: ProcessPoolExecutor, plan: Plan, where: Path, seeds: range, speed: bool, say: Say, started_by: str
) -> Baseline:
    """Everything that a baseline holds; the snapshots are written beside `where`. Raises RunFailed."""
    configs = plan.configs(seeds)
    say(f"{len(configs)} training runs, about {duration(apart(executor, expected_seconds, plan, len(configs)))}")
    runs, failures = train_all(executor, plan.suite, configs, plan.root, plan.conditions.protocol, say)
    if failures:
        raise RunFailed(f"no baseline was written: {'; '.join(failures)}")
    values = by_quantity(runs)
    say("the snapshots")
    noted = {method: apart(executor, write_anchor, plan, where, method) for method in plan.suite.run.methods}
    return Baseline(
        conditions=plan.conditions,
        seeds=tuple(seeds),
        values=values,
        better={q: b for run in runs for q, b in run.better.items() if q in values},
        anchors=noted,
        provenance=circumstances(started_by),
        speeds=measure_speeds(executor, plan, say) if speed else None,
    )


def write_anchor(plan: Plan, where: Path, method: str) -> Noted:
    """Store the first seed's snapshot beside the baseline, with what it gives."""
    config = plan.configs([plan.suite.run.seed], [method])[0]
    path = plan.root.run(config.name).newest_snapshot()
    assert path is not None, f"{config.name} was just trained"
    snapshot = checkpoint.load_snapshot(path)
    anchor = anchors.write(anchor_of(where, method), snapshot, plan.scene(method))
    found = anchors.measure(anchor, plan.scene(method))
    return Noted(digest=anchor.digest, values={name: round_off(value) for name, value in found.items()})


def measure_speeds(executor: ProcessPoolExecutor, plan: Plan, say: Say) -> Speeds:
    say(f"speed, {SPEEDS} times")
    found = [apart(executor, step_ratio.ratios, plan.suite) for _ in range(SPEEDS)]
    return Speeds(processor=provenance.processor(), ratios={m: tuple(round_off(f[m]) for f in found) for m in found[0]})


def expected_seconds(plan: Plan, runs: int) -> float:
    """Of training and scoring this many runs, from a few steps of each method."""
    device = dist.pick_device(plan.suite.loop.device)
    configs = plan.configs([plan.suite.run.seed])
    each = [sum(run_rows.expected_seconds(config, plan.dataset, plan.suite, device)) for config in configs]
    return sum(each) / len(each) * runs / workers(plan.suite)
