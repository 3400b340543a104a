"""The verbs that work, as a person sees them: what is announced, what runs, what is printed at the end."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from bench.config import RunConfig, Suite
from bench.errors import BenchError, RunFailed, unknown
from bench.progress import board, duration, err
from bench.show import out, print_table, show_tables
from bench.store import Root

if TYPE_CHECKING:
    from bench.pipeline import Stages


# Running


def run_suite(suite: Suite, root: Path, stages: "Stages", *, dry_run: bool, started_by: str) -> list[str]:
    """Do all runs and print the table; returns the names of the runs that failed."""
    configs = suite.runs()
    from bench import dist, pipeline

    device = dist.pick_device(suite.loop.device)
    dataset = check(configs, suite, stages.evaluate)
    if dry_run:
        announce_dry(configs, dataset)
        return []
    places = Root(root)
    announce(configs, suite, places, dataset, device)
    failed = []
    for number, config in enumerate(configs, 1):
        err.print(f"[bold]{number}/{len(configs)} {escape(config.name)}[/bold]", soft_wrap=True)
        with board() as progress:
            hooks = pipeline.Hooks(progress.say, progress.watch, started_by)
            try:
                pipeline.run_one(config, suite, places, dataset, stages, hooks)
            except RunFailed as error:
                failed.append(config.name)
                err.print(f"  failed: {escape(str(error))}", style="red", soft_wrap=True)
    if stages.evaluate:
        show_tables(root, "quality", "rich", runs=[c.name for c in configs])
    if stages.speed:
        show_tables(root, "cost", "rich", runs=[c.name for c in configs])
    return failed


def announce(configs: list[RunConfig], suite: Suite, root: Root, dataset: Any, device: Any) -> None:
    """Say what will happen and how long the training is expected to take, from a few steps of each method."""
    from bench import speed
    from bench.dist import device_label

    err.print(
        f"{len(configs)} run{'s' * (len(configs) > 1)} on {escape(device_label(device))}, data {dataset.name} "
        f"({dataset.train_images:,} images), net {suite.run.net}, {suite.run.epochs:g} epochs",
        soft_wrap=True,
    )
    per_method: dict[str, float] = {}
    total = 0.0
    for config in configs:
        status = root.run(config.name).read_status()
        left = 1 - status["images"] / config.total_images(dataset.train_images)
        if status["state"] == "finished" or left <= 0:
            continue
        if config.method not in per_method:
            per_method[config.method] = speed.expected_seconds(config, dataset, device)
        total += per_method[config.method] * left
    for method, seconds in per_method.items():
        err.print(f"  {method}: about {duration(seconds)} of training a run")
    if len(per_method) > 1 or len(configs) > 1:
        err.print(f"  expected in all: about {duration(total)} of training, then scores and timing")


def check(configs: list[RunConfig], suite: Suite, scored: bool) -> Any:
    """The data set, once everything that can be refused at the door was looked at."""
    from bench import pipeline
    from bench.step import check_net

    dataset = pipeline.load_dataset(suite)
    for config in configs:
        check_net(config, dataset.shape)
    if scored:
        pipeline.load_extractor(suite, dataset)
    return dataset


def announce_dry(configs: list[RunConfig], dataset: Any) -> None:
    for config in configs:
        out.print(f"would run {config.name}: {config.total_images(dataset.train_images):,} images", soft_wrap=True)


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


def revisit(suite: Suite, root: Path, names: list[str], stages: "Stages") -> None:
    """Score trained runs, each on its own data set."""
    from bench import pipeline

    places = Root(root)
    finished = [run.name for run in places.run_directories() if run.read_status()["state"] == "finished"]
    chosen = names or finished
    if not chosen:
        raise BenchError(f"No finished runs in {places.runs}", "at least one", "Train one first: `bench run`.")
    configs = [find_config(places, name) for name in chosen]
    for config in configs:
        own = suite.model_copy(
            update={
                "run": suite.run.model_copy(update={"dataset": config.dataset}),
                "datasets": {config.dataset: config.dataset_options},
            }
        )
        err.print(f"[bold]{escape(config.name)}[/bold]")
        with board() as progress:
            hooks = pipeline.Hooks(progress.say, progress.watch, "bench eval")
            pipeline.run_one(config, own, places, pipeline.load_dataset(own), stages, hooks)
    show_tables(root, "quality", "rich", runs=chosen)


def show_speed(suite: Suite, *, dry_run: bool) -> None:
    import pandas as pd

    from bench import dist, speed
    from reports import tables

    configs = suite.runs()
    dist.pick_device(suite.loop.device)
    dataset = check(configs, suite, scored=False)
    if dry_run:
        announce_dry(configs, dataset)
        return
    found = []
    for config in configs:
        err.print(f"measuring {config.method}")
        rows, _ = speed.measure_apart(
            config,
            config.dataset_options,
            suite.speed,
            suite.eval,
            suite.loop.device,
            config.total_images(dataset.train_images),
        )
        found += rows
    for table in tables.cost(pd.DataFrame([vars(row) for row in found])):
        print_table(table)


def write_grid(root: Path, name: str, path: Path | None, *, steps: int, seed: int, rows: int, device: str) -> Path:
    from bench import checkpoint, datasets, dist
    from bench import sample as sampling

    places = Root(root)
    config = find_config(places, name)
    run = places.run(name)
    newest = run.newest_snapshot()
    assert newest is not None
    model = sampling.load_model(checkpoint.load_snapshot(newest), dist.pick_device(device))
    dataset = datasets.load(config.dataset, **config.dataset_options)
    target = path or run.samples / f"grid-seed{seed}-steps{steps}.png"
    try:
        sampling.save_grid(target, model, dataset, steps=steps, seed=seed, rows=rows)
    except ValueError as error:
        given, _, allowed = str(error).partition("; allowed: ")
        raise BenchError(given, allowed or "what the method can do", "Choose with --steps.") from error
    return target
