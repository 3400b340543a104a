"""`bench check`: train a profile's methods on a few seeds, compare with the committed baseline, say what moved.

report = check(profile, baseline, seeds=None, speed=False, say=print, started_by="bench check")
save(report, Path("check"))
update(profile, baseline, ...)     # the profile's seeds -> a new baseline and new snapshots beside it
"""

import os
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from bench import config as configuration
from bench import provenance
from bench.errors import BenchError, RunFailed
from bench.gate import anchors, baselines, forms, judgement, step_ratio
from bench.gate.anchors import Anchor
from bench.gate.baselines import Baseline, round_off
from bench.gate.forms import Report
from bench.gate.judgement import Quantity, Verdict
from bench.gate.plans import PROFILE, Plan, anchor_of, baseline_of, circumstances, make_plan
from bench.gate.work import Measured, Say, apart, by_quantity, crew, print_nothing, train_all
from bench.store import Root, append_line, write_atomic

FIRST = 2  # training seeds of the first look


# A check


def check(
    profile: Path | None = None, baseline: Path | None = None, *, seeds: int | None = None, speed: bool = False,
    say: Say = print_nothing, started_by: str = "bench check",
) -> Report:  # fmt: skip
    """Compare with the baseline. `seeds`: of the first look; from judgement.seeds_needed on there is no second.

    Raises BenchError where nothing could be compared. A run that fails is in the report.
    """
    started = time.monotonic()
    profile = profile or PROFILE
    configuration.read_toml(profile)  # before the baseline beside it is called missing
    where = baseline or baseline_of(profile)
    expected = baselines.read(where)
    with tempfile.TemporaryDirectory(prefix="bench-check-") as folder:  # new each time: nothing stale can be scored
        plan = make_plan(profile, Root(Path(folder)))
        expected.require(plan.conditions, where)
        kept = {method: read_anchor(expected, where, method) for method in expected.anchors}
        with crew(plan.suite) as executor:
            moved, broken = judge_anchors(executor, plan, expected, kept, say)
            own, failed, notes = train_anew(executor, plan, expected, seeds or FIRST, say)
            timed = judge_speed(executor, plan, expected, say) if speed else []
    return Report(
        verdicts=(*own, *moved, *timed),
        failures=(*failed, *broken),
        notes=tuple(notes),
        seconds=time.monotonic() - started,
        baseline=expected.provenance,
        check=circumstances(started_by),
    )


def train_anew(
    executor: ProcessPoolExecutor, plan: Plan, expected: Baseline, first: int, say: Say
) -> tuple[list[Verdict], list[str], list[str]]:
    """Verdicts, failures and notes from training seeds; a method that looks odd gets more of them before it is judged."""
    start = plan.suite.run.seed
    family = len(expected.values) + len(plan.suite.run.methods)  # with the speeds

    def trained(seeds: range, methods: Sequence[str] = ()) -> tuple[list[Measured], list[str]]:
        return train_all(executor, plan.suite, plan.configs(seeds, methods), plan.root, plan.conditions.protocol, say)

    runs, failures = trained(range(start, start + first))
    verdicts = judgement.decide(expected.values, by_quantity(runs), better_of(expected, runs), family=family)
    in_all = judgement.seeds_needed(len(expected.seeds), family)
    odd = judgement.suspects(verdicts) if first < in_all else []
    if odd:
        say(f"{', '.join(odd)}: something looks odd; {in_all - first} more seeds before it is judged")
        more, broken = trained(range(start + first, start + in_all), odd)
        runs, failures = [*runs, *more], [*failures, *broken]
        verdicts = judgement.decide(expected.values, by_quantity(runs), better_of(expected, runs), family=family)
    same = sum(is_same(run, expected) for run in runs)
    known = sum(run.config.seed in expected.seeds for run in runs)
    notes = [f"{same} of {known} training runs gave the baseline's own values, to nine digits"] if known else []
    return verdicts, failures, notes


def better_of(expected: Baseline, runs: Sequence[Measured]) -> dict[Quantity, str]:
    """The baseline's word on which way is better, and the runs' own for what it does not know."""
    return {q: b for run in runs for q, b in run.better.items()} | expected.better


def is_same(run: Measured, expected: Baseline) -> bool:
    """Whether a run of one of the baseline's seeds gave the baseline's values."""
    if run.config.seed not in expected.seeds:
        return False
    place = expected.seeds.index(run.config.seed)
    return all(round_off(v) == expected.values[q][place] for q, v in run.values.items() if q in expected.values)


# From the same weights


def read_anchor(expected: Baseline, where: Path, method: str) -> Anchor:
    """Raises BenchError for a snapshot that is not the one that the baseline was made with."""
    path = anchor_of(where, method)
    anchor = anchors.read(path)
    if anchor.digest != expected.anchors[method].digest:
        given = f"{path.name} has digest {anchor.digest[:12]}"
        raise BenchError(given, f"{expected.anchors[method].digest[:12]}, as {where.name} says", "Restore both, or `--update`.")
    return anchor


def judge_anchors(
    executor: ProcessPoolExecutor, plan: Plan, expected: Baseline, kept: dict[str, Anchor], say: Say
) -> tuple[list[Verdict], list[str]]:
    """Verdicts and failures."""
    say("the committed weights: images, scores and a training step")
    verdicts, failures = [], []
    for method, anchor in kept.items():
        try:
            found = apart(executor, anchors.measure, anchor, plan.scene(method))
        except BenchError:
            raise
        except Exception as error:  # weights that fit no more, a sampler that raises: whatever it is, it is no verdict
            kind = "" if isinstance(error, RunFailed) else f"{type(error).__name__}: "
            failures.append(f"{method}, from the same weights: {kind}{error}")
            continue
        verdicts += anchors.compare(method, expected.anchors[method].values, found)
    return verdicts, failures


# Speed


def judge_speed(executor: ProcessPoolExecutor, plan: Plan, expected: Baseline, say: Say) -> list[Verdict]:
    """Of this machine's ratios where the baseline has those of the same processor; else they are only shown."""
    say("speed")
    ratios = apart(executor, step_ratio.ratios, plan.suite)
    found = {Quantity(method, "training_step_ratio"): (value,) for method, value in ratios.items()}
    better = dict.fromkeys(found, "min")
    known = expected.speeds
    if known and known.processor == provenance.processor():
        baseline = {Quantity(method, "training_step_ratio"): values for method, values in known.ratios.items()}
        family = len(expected.values) + len(baseline)
        return judgement.decide(baseline, found, better, family=family, judged_by="speed")
    reason = f"the baseline's is of another processor ({known.processor})" if known else "the baseline has none"
    return [
        Verdict(quantity=q, outcome="not judged", judged_by="speed", better="min", found=values[0], seeds=(0, 1), reason=reason)
        for q, values in found.items()
    ]


# What a check leaves


def save(report: Report, out: Path | None) -> list[Path]:
    """summary.md, junit.xml and check.json in `out`, if any; the summary always where GitHub shows it beside the job."""
    summary = forms.markdown(report)
    if shown := os.environ.get("GITHUB_STEP_SUMMARY"):
        append_line(Path(shown), summary)
    if out is None:
        return []
    texts = {"summary.md": summary, "junit.xml": forms.junit(report), "check.json": forms.as_json(report)}
    for name, text in texts.items():
        write_atomic(out / name, text)
    return [out / name for name in texts]
