"""The tables of docs/gate.md: false alarms over resampled seeds, and planted regressions. From the repository's root:

    python docs/gate_experiment.py seeds FOLDER 40         # train the profile's methods on 40 seeds (an hour on two cores)
    python docs/gate_experiment.py plant FOLDER [NAME]     # train and score with each planted bug, in a copy of the sources
    python docs/gate_experiment.py null FOLDER             # false alarms, and the power to see a shift
    python docs/gate_experiment.py judge FOLDER            # which planted bugs the committed baseline finds
    python docs/gate_experiment.py rounding 2              # how far 2 threads, another torch or instruction set move anchors

Everything that decides is the product's: judgement.py and anchors.py of bench/gate/, on runs of the profile by the pipeline.
"""

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from bench.gate import anchors, baselines, forms, judgement
from bench.gate.checking import FIRST
from bench.gate.judgement import Quantity, Sample, Verdict
from bench.gate.plans import PROFILE, anchor_of, baseline_of, make_plan
from bench.gate.work import crew, train_all
from bench.store import Root, write_atomic

HERE = Path(__file__).resolve().parent.parent
SEEDS = judgement.IN_ALL  # of a planted bug

ALL = ("soflow", "meanflow", "flow_matching")
TWO = ("soflow", "flow_matching")  # of a bug that moves all methods: two are trained, to save hours; the third would only help
KEEP = """            images += batch
            if images == total * {} // batch * batch:
                stale = {{name: value.clone() for name, value in step.ema.state_dict().items()}}
"""


def stale(share: str) -> list[tuple[str, str, str]]:
    """The snapshot that is stored, hence scored, is the one after this share of the training."""
    end = "    return finish(config,"
    return [
        ("bench/train.py", "            images += batch\n", KEEP.format(share)),
        ("bench/train.py", end, "    step.ema.load_state_dict(stale)\n" + end),
    ]


DATA, SOFLOW, MEANFLOW, FM = (
    "bench/datasets/__init__.py",
    "methods/soflow.py",
    "methods/meanflow.py",
    "methods/flow_matching.py",
)
WARM_UP = "return train.learning_rate * min(1.0, images / train.warmup_images) if"

# name: (methods that it can move, [(file, old text, new text)])
PLANTS: dict[str, tuple[tuple[str, ...], list[tuple[str, str, str]]]] = {
    # The list of the issue
    "EMA off": (TWO, [("bench/step.py", "return min(train.ema, (1 + steps) / (10 + steps))", "return 0.0")]),
    "time sampling: sign of the logit-normal's mean": (
        ("soflow", "meanflow"), [("methods/_path.py", "sigmoid(mean + std", "sigmoid(-mean + std")]),
    "time sampling: root of the uniform": (
        ("flow_matching",), [(FM, "t = _path.uniform(x0, generator)", "t = _path.uniform(x0, generator).sqrt()")]),
    "guidance sign, SoFlow": (("soflow",), [(SOFLOW, "(self.guidance - 1), v)", "(1 - self.guidance), v)")]),
    "guidance sign, MeanFlow": (
        ("meanflow",), [(MEANFLOW, "weight = 1 - self.omega - self.kappa", "weight = self.omega + self.kappa - 1")]),
    "half the images: the first 899 only": (
        TWO, [(DATA, "else dataset.images(index)", "else dataset.images(index // 2)")]),
    "half the images: training stops half-way": (
        TWO, [("bench/train.py", "(dataset.train_images)\n    assert", "(dataset.train_images) // 2\n    assert")]),
    "quantiser half a level low": (ALL, [(DATA, "{QUANTISER: 128.0,", "{QUANTISER: 127.5,")]),
    "stale snapshot, of half the training": (TWO, stale("1 // 2")),
    # More of the kind
    "stale snapshot, of nine tenths of the training": (TWO, stale("9 // 10")),
    "MeanFlow: sign of the derivative": (
        ("meanflow",), [(MEANFLOW, "return v - expand(t - r, v)", "return v + expand(t - r, v)")]),
    "SoFlow: l stays as far from t as at the start": (
        ("soflow",), [(SOFLOW, "return a * math.pow(b / a, progress)", "return a")]),
    "SoFlow: x_l on the wrong side of x_t": (("soflow",), [(SOFLOW, "x_l = x_t + v *", "x_l = x_t - v *")]),
    "extractor: pixels divided by 128": (ALL, [("bench/extractors/digits.py", "127.5 - 1", "128 - 1")]),
    "no warm-up": (TWO, [("bench/step.py", WARM_UP, "return train.learning_rate if")]),
    "labels dropped three times as often": (
        ("flow_matching",), [(FM, "label_drop: float = 0.1", "label_drop: float = 0.3")]),
}  # fmt: skip
SCORING_ONLY = ("quantiser half a level low", "extractor: pixels divided by 128")  # trained as ever: not trained anew


# Training


def gather(folder: Path, seeds: range, methods: Sequence[str] = ()) -> None:
    """Train and score what is not there yet; values.json holds every run's values."""
    plan = make_plan(PROFILE, Root(folder))
    with crew(plan.suite) as executor:
        configs = plan.configs(seeds, methods)
        runs, failures = train_all(executor, plan.suite, configs, plan.root, plan.conditions.protocol, tell)
    values = [
        {
            "method": run.config.method,
            "seed": run.config.seed,
            "values": [[q.metric, q.steps, v] for q, v in run.values.items()],
        }
        for run in runs
    ]
    write_atomic(folder / "values.json", json.dumps({"runs": values, "failures": failures}))


def measure_anchors(folder: Path, methods: Sequence[str]) -> None:
    """anchors.json holds what the committed weights give."""
    torch.set_num_threads(1)
    plan = make_plan(PROFILE, Root(folder))
    found = {m: anchors.measure(anchors.read(anchor_of(baseline_of(PROFILE), m)), plan.scene(m)) for m in methods}
    write_atomic(folder / "anchors.json", json.dumps(found))


def tell(line: str) -> None:
    print(line, flush=True)


def place_of(folder: Path, name: str) -> Path:
    return folder / "plants" / "".join(c if c.isalnum() else "-" for c in name)


def plant(folder: Path, name: str) -> None:
    """Both of them in a copy of the sources with the bug in it, unless they are there."""
    methods, changes = PLANTS[name]
    place = place_of(folder, name)
    verbs = {"values.json": ("gather", str(SEEDS)), "anchors.json": ("anchors",)}
    missing = [verb for file, verb in verbs.items() if not (place / file).is_file()]
    if not missing:
        return
    tell(name)
    copy = place / "sources"
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir(parents=True)
    for part in ("bench", "methods", "docs", "bench.toml"):
        (shutil.copytree if (HERE / part).is_dir() else shutil.copy)(HERE / part, copy / part)
    for file, old, new in changes:
        text = (copy / file).read_text()
        assert text.count(old) == 1, f"{file} holds {old!r} {text.count(old)} times"
        (copy / file).write_text(text.replace(old, new))
    if name in SCORING_ONLY:
        for run in (run for seed in range(SEEDS) for run in (folder / "runs").glob(f"*-s{seed}-*")):
            shutil.copytree(run, place / "runs" / run.name, dirs_exist_ok=True)
    for verb, *more in missing:
        command = [sys.executable, "docs/gate_experiment.py", verb, str(place.resolve()), *more, *methods]
        subprocess.run(command, cwd=copy, check=True, env=os.environ | {"PYTHONPATH": str(copy)})
    for left_over in (copy, place / "runs", place / "results", place / "refs"):
        shutil.rmtree(left_over, ignore_errors=True)


def read(folder: Path) -> tuple[dict[Quantity, list[float]], list[str]]:
    """Values over the seeds, in their order, and failures."""
    raw = json.loads((folder / "values.json").read_text())
    found: dict[Quantity, list[float]] = {}
    for run in sorted(raw["runs"], key=lambda run: run["seed"]):
        for metric, steps, value in run["values"]:
            found.setdefault(Quantity(run["method"], metric, steps), []).append(value)
    return found, raw["failures"]


# Deciding


def look_twice(
    baseline: Mapping[Quantity, Sample], new: Mapping[Quantity, Sequence[float]], better: Mapping[Quantity, str]
) -> tuple[list[Verdict], bool]:
    """As a check does; whether it looked twice."""
    family = len(baseline) + len(ALL)
    verdicts = judgement.decide(baseline, {q: tuple(v[:FIRST]) for q, v in new.items()}, better, family=family)
    odd = judgement.suspects(verdicts)
    in_all = judgement.seeds_needed(len(next(iter(baseline.values()))), family)
    chosen = {q: tuple(v[: in_all if q.method in odd else FIRST]) for q, v in new.items()}
    return (judgement.decide(baseline, chosen, better, family=family), True) if odd else (verdicts, False)


def null(folder: Path, k: int = 24, trials: int = 2000) -> None:
    """False alarms where baseline and check are drawn from the same seeds, and alarms where the check's are shifted."""
    values, _ = read(folder)
    count = len(next(iter(values.values())))
    rng = random.Random(0)
    print(f"{count} seeds, {len(values)} quantities; baseline of {k}, check of {FIRST}, then {SEEDS}; {trials} random splits")
    alarms = twice = 0
    for _ in range(trials):
        order = rng.sample(range(count), k + SEEDS)
        old = {q: tuple(v[i] for i in order[:k]) for q, v in values.items()}
        verdicts, again = look_twice(old, {q: [v[i] for i in order[k:]] for q, v in values.items()}, {})
        alarms += judgement.exit_code(verdicts, ()) != 0
        twice += again
    print(f"unchanged: {alarms} false alarms ({100 * alarms / trials:.2f} %), {100 * twice / trials:.0f} % looked twice")
    for shift in (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5):
        found = 0
        for _ in range(trials // 10):
            order = rng.sample(range(count), k + SEEDS)
            old = {q: tuple(v[i] for i in order[:k]) for q, v in values.items()}
            new = {q: [v[i] * (1 + shift * (q.metric == "frechet_distance")) for i in order[k:]] for q, v in values.items()}
            found += judgement.exit_code(look_twice(old, new, {})[0], ()) != 0
        print(f"all Frechet distances {100 * shift:.0f} % larger: found in {100 * found / (trials // 10):.0f} %")


def judge(folder: Path) -> None:
    """A line a planted bug: what finds it."""
    expected = baselines.read(baseline_of(PROFILE))
    print("| planted | from the same weights | training anew |\n|---|---|---|")
    for name, (methods, _) in PLANTS.items():
        place = place_of(folder, name)
        if not (place / "values.json").is_file() or not (place / "anchors.json").is_file():
            continue
        (new, failures), found = read(place), json.loads((place / "anchors.json").read_text())
        same = [v for m in methods for v in anchors.compare(m, expected.anchors[m].values, found[m])]
        verdicts, _ = look_twice(expected.values, new, expected.better)
        own = [v for v in verdicts if v.quantity.method in methods]
        print(f"| {name} | {said(same, [])} | {said(own, failures)} |")


def said(verdicts: Sequence[Verdict], failures: Sequence[str]) -> str:
    """How many quantities of how many found it, and the first two."""
    if failures:
        return f"could not run: {failures[0]}"
    loud = sorted((v for v in verdicts if v.outcome not in ("held", "not judged")), key=lambda v: forms.ORDER[v.outcome])
    if not loud:
        return "not found"
    texts = [f"{v.quantity.label} {v.outcome} {forms.number(v.found)} for {forms.number(v.expected)}" for v in loud]
    return f"{len(loud)} of {len(verdicts)}: " + "; ".join(list(dict.fromkeys(texts))[:2])


def rounding(threads: int) -> None:
    """The largest deviation of each kind from the committed values: relative, but for those with an absolute tolerance."""
    torch.set_num_threads(threads)
    expected, worst = baselines.read(baseline_of(PROFILE)), dict[str, float]()
    with tempfile.TemporaryDirectory() as folder:
        plan = make_plan(PROFILE, Root(Path(folder)))
        for method, noted in expected.anchors.items():
            found = anchors.measure(anchors.read(anchor_of(baseline_of(PROFILE), method)), plan.scene(method))
            for name, value in found.items():
                kind, old = name.partition("/")[0], noted.values[name]
                off = abs(value - old) / (1.0 if kind in anchors.ABSOLUTE else abs(old))
                worst[kind] = max(worst.get(kind, 0.0), off)
    where = f"torch {torch.__version__}, {threads} threads, {torch.backends.cpu.get_cpu_capability()}"
    print(where, {kind: f"{value:.1e}" for kind, value in worst.items()})


if __name__ == "__main__":
    verb, where, *rest = sys.argv[1:]
    if verb == "seeds":
        gather(Path(where), range(int(rest[0])))
    elif verb == "gather":
        gather(Path(where), range(int(rest[0])), rest[1:])
    elif verb == "anchors":
        measure_anchors(Path(where), rest)
    elif verb == "plant":
        for planted in rest or PLANTS:
            plant(Path(where), planted)
    elif verb == "null":
        null(Path(where))
    elif verb == "judge":
        judge(Path(where))
    elif verb == "rounding":
        rounding(int(where))
