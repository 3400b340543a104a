"""The verbs that work, as a person sees them: what is announced, what runs, what is printed at the end."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from bench.config import RunConfig, Suite
from bench.errors import EXIT_FAILED, EXIT_USAGE, BenchError, RunFailed, unknown
from bench.progress import board, duration, err
from bench.show import out, print_table, show_tables
from bench.store import Root

if TYPE_CHECKING:
    from bench.pipeline import Stages


def run_suite(suite: Suite, root: Path, stages: "Stages", *, dry_run: bool, started_by: str, expect: str | None = None) -> int:
    """Do all runs and print the tables; returns the exit code. A run that can not go on does not stop the others."""
    from bench import dist, pipeline

    configs = suite.runs()
    if expect and [config.name for config in configs] != [expect]:
        names = ", ".join(config.name for config in configs)
        raise BenchError(f"These settings make {names}", expect, "Use the commit and the bench.toml that the row names.")
    dist.require_one_process()
    device = dist.pick_device(suite.loop.device)
    dataset = check(configs, suite, root if stages.evaluate else None)
    if dry_run:
        announce_dry(configs, dataset)
        return 0
    places = Root(root)
    places.check_writable()
    with pipeline.out_of_memory():
        announce(configs, suite, places, dataset, device)
    codes = [0]
    for number, config in enumerate(configs, 1):
        err.print(f"[bold]{number}/{len(configs)} {escape(config.name)}[/bold]", soft_wrap=True)
        codes.append(go(config, suite, places, dataset, stages, started_by))
    show_what_is_there(root, stages, [config.name for config in configs])
    return max(codes)


def go(config: RunConfig, suite: Suite, root: Root, dataset: Any, stages: "Stages", started_by: str) -> int:
    """One run with its progress; says why it can not go on. Returns the exit code."""
    from bench import pipeline

    with board() as progress:
        hooks = pipeline.Hooks(progress.say, progress.watch, started_by)
        try:
            pipeline.run_one(pipeline.Job(config=config, suite=suite, root=root, dataset=dataset, hooks=hooks), stages)
        except RunFailed as error:
            err.print(f"  failed: {escape(str(error))}", style="red", soft_wrap=True)
            return EXIT_FAILED
        except BenchError as error:
            for part in (error.given, f"Allowed: {error.allowed}", error.remedy):
                err.print(f"  {escape(part.rstrip('.'))}.", style="red", soft_wrap=True)
            return EXIT_USAGE
    return 0


def show_what_is_there(root: Path, stages: "Stages", runs: list[str]) -> None:
    for kind, wanted in (("quality", stages.evaluate), ("cost", stages.speed)):
        if wanted:
            show_tables(root, kind, "rich", runs=runs, quiet=True)


def check(configs: list[RunConfig], suite: Suite, root: Path | None) -> Any:
    """The data set, once all that can be refused at the door was looked at. `root`: where scores are made, if they are."""
    from bench import pipeline, references, scores
    from bench.step import check_net

    dataset = pipeline.load_dataset(suite)
    for config in configs:
        check_net(config, dataset.shape)
    if root is not None:
        for extractor in pipeline.load_extractors(suite, dataset):
            references.check(suite.eval.reference, dataset, extractor, Root(root).references)
            scores.check(suite.eval.metrics, extractor, suite.eval.samples)
    return dataset


def announce(configs: list[RunConfig], suite: Suite, root: Root, dataset: Any, device: Any) -> None:
    """Say what will happen and how long it is expected to take, from a few steps of each method."""
    from bench import speed
    from bench.dist import device_label

    err.print(
        f"{len(configs)} run{'s' * (len(configs) > 1)} on {escape(device_label(device))}, data {dataset.name} "
        f"({dataset.train_images:,} images), net {suite.run.net}, {suite.run.epochs:g} epochs",
        soft_wrap=True,
    )
    per_method: dict[str, tuple[float, float]] = {}
    total = 0.0
    for config in configs:
        status = root.run(config.name).read_status()
        left = 1 - status["images"] / config.total_images(dataset.train_images)
        if status["state"] == "finished" or left <= 0:
            continue
        if config.method not in per_method:
            per_method[config.method] = speed.expected_seconds(config, dataset, suite, device)
        training, scoring = per_method[config.method]
        total += training * left + scoring
    for method, (training, scoring) in per_method.items():
        err.print(f"  {method}: about {duration(training)} of training a run, {duration(scoring)} of sampling for its scores")
    if len(configs) > 1 and per_method:
        err.print(f"  expected in all: about {duration(total)}, and the timing at each run's end")


def announce_dry(configs: list[RunConfig], dataset: Any) -> None:
    for config in configs:
        out.print(f"would run {config.name}: {config.total_images(dataset.train_images):,} images", soft_wrap=True)


# Runs that are there


def find_config(root: Root, name: str) -> RunConfig:
    """The settings of a run, from its snapshot. Raises BenchError for an unknown or unfinished run."""
    from bench import checkpoint

    names = [run.name for run in root.run_directories()]
    if name not in names:
        raise unknown("run", name, names or ["(there are none)"], "`bench list runs` shows them; --root says where to look.")
    snapshot = root.run(name).newest_snapshot()
    if snapshot is None:
        raise BenchError(f"{name} has no snapshot yet", "a finished run", "Train it first: the same `bench run` goes on.")
    return RunConfig.model_validate(checkpoint.load_snapshot(snapshot).config)


def finished_runs(root: Root) -> list[str]:
    """The names of the finished runs; a run that can not be read is named and left out."""
    found = []
    for run in root.run_directories():
        try:
            if run.read_status()["state"] == "finished":
                found.append(run.name)
        except BenchError as error:
            err.print(f"left out: {escape(str(error))}", style="red", soft_wrap=True)
    return found


def revisit(
    load: Callable[[str], Suite], root: Path, names: list[str], stages: "Stages", *, dry_run: bool, started_by: str
) -> int:
    """Score trained runs, each on its own data set; `load` gives the settings for a data set. Returns the exit code."""
    from bench import pipeline

    places = Root(root)
    chosen = names or finished_runs(places)
    if not chosen:
        raise BenchError(f"No finished runs in {places.runs}", "at least one", "Train one first: `bench run`.")
    codes = [0]
    for config in [find_config(places, name) for name in chosen]:
        suite = load(config.dataset)
        moved = suite.datasets.get(config.dataset, {}).get("folder")
        options = config.dataset_options | ({"folder": moved} if moved else {})
        suite = suite.model_copy(
            update={
                "run": suite.run.model_copy(update={"dataset": config.dataset}),
                "datasets": {config.dataset: options},
            }
        )
        err.print(f"[bold]{escape(config.name)}[/bold]", soft_wrap=True)
        if dry_run:
            out.print(f"would score {config.name}", soft_wrap=True)
            continue
        codes.append(go(config, suite, places, pipeline.load_dataset(suite), stages, started_by))
    if not dry_run:
        show_tables(root, "quality", "rich", runs=chosen, quiet=True)
    return max(codes)


def show_speed(suite: Suite, *, dry_run: bool) -> None:
    """Measure each method once and print the table."""
    import dataclasses

    import pandas as pd

    from bench import dist, speed
    from reports import tables

    configs = suite.runs()
    dist.pick_device(suite.loop.device)
    dataset = check(configs, suite, None)
    if dry_run:
        announce_dry(configs, dataset)
        return
    found = []
    for config in configs:
        err.print(f"measuring {config.method}")
        found += speed.measure_apart(config, suite, config.total_images(dataset.train_images))
    for table in tables.cost(pd.DataFrame([dataclasses.asdict(row) for row in found])):
        print_table(table)


def write_grid(root: Path, name: str, path: Path | None, *, steps: int, seed: int, rows: int, device: str) -> Path:
    """Write a grid of a run's samples; returns where."""
    from bench import checkpoint, datasets, dist
    from bench import sample as sampling

    places = Root(root)
    config = find_config(places, name)
    run = places.run(name)
    newest = run.newest_snapshot()
    assert newest is not None
    model = sampling.load_model(checkpoint.load_snapshot(newest), dist.pick_device(device))
    if reason := sampling.refusal(model, steps):
        given, _, allowed = reason.partition("; allowed: ")
        raise BenchError(given, allowed or "what the method can do", "Choose with --steps.")
    dataset = datasets.load(config.dataset, **config.dataset_options)
    target = path or run.samples / f"grid-seed{seed}-steps{steps}.png"
    sampling.save_grid(target, model, dataset, steps=steps, seed=seed, rows=rows)
    return target
