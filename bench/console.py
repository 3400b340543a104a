"""The verbs that work, as a person sees them: what is announced, what runs, what is printed at the end."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from bench.config import ASIDE, RunConfig, Suite
from bench.errors import EXIT_FAILED, EXIT_USAGE, BenchError, NotFinite, RunFailed, unknown
from bench.progress import board, duration, err
from bench.show import out, show_tables
from bench.store import Root

if TYPE_CHECKING:
    from bench.pipeline import Stages


def run_suite(suite: Suite, root: Path, stages: "Stages", *, dry_run: bool, started_by: str, expect: str | None = None) -> int:
    """Do all runs and print the tables; returns the exit code. A run that can not go on does not stop the others."""
    from bench import accord, memory, try_compile

    configs, places = suite.runs(), Root(root)
    if expect and [config.name for config in configs] != [expect]:
        names = ", ".join(config.name for config in configs)
        raise BenchError(f"These settings make {names}", expect, "Use the commit and the bench.toml that the row names.")
    with together(suite.loop.device) as device:
        with accord.agreement():
            dataset = check(configs, suite, root if stages.evaluate else None)
        if dry_run:
            announce_dry(try_compile.decided(suite, True).runs() if suite.train.compile == "try" else configs, dataset)
            return 0
        suite = try_compile.settled(suite, dataset, device, places, loudly)
        configs = suite.runs()

        def begin() -> None:
            places.check_writable()
            with memory.out_of_memory():
                announce(configs, suite, places, dataset, device)

        accord.first(begin)
        codes = [0]
        for number, config in enumerate(configs, 1):
            err.print(f"[bold]{number}/{len(configs)} {escape(config.name)}[/bold]", soft_wrap=True)
            codes.append(go(config, suite, places, dataset, stages, started_by))
        accord.first(lambda: show_what_is_there(root, stages, [config.name for config in configs]))
    return max(codes)


def loudly(message: str) -> None:
    err.print(escape(message), style="bold red", soft_wrap=True)


@contextmanager
def together(device: str) -> Iterator[Any]:
    """Join the run's other processes, give this one's device, and leave the talking to the first one."""
    from bench import accord, dist

    found = dist.start(device)
    try:
        err.quiet = out.quiet = dist.rank() > 0
        with accord.company():
            yield found
        dist.stop()  # not after an error: the others may wait for this process, and its end is what tells them
    finally:
        err.quiet = out.quiet = False


def go(config: RunConfig, suite: Suite, root: Root, dataset: Any, stages: "Stages", started_by: str) -> int:
    """One run with its progress; says why it can not go on. Returns the exit code."""
    from bench import dist, pipeline

    with board() as progress:
        hooks = pipeline.Hooks(progress.say, progress.watch, started_by)
        try:
            pipeline.run_one(pipeline.Job(config=config, suite=suite, root=root, dataset=dataset, hooks=hooks), stages)
        except NotFinite as error:  # on every process alike: the next run can go on
            err.print(f"  failed: {escape(str(error))}", style="red", soft_wrap=True)
            return EXIT_FAILED
        except (RunFailed, BenchError) as error:
            if dist.world_size() > 1:
                raise  # this process may be alone with it: it ends, and so do the others
            if isinstance(error, RunFailed):
                err.print(f"  failed: {escape(str(error))}", style="red", soft_wrap=True)
                return EXIT_FAILED
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
    from bench import dist, pipeline, precision, references, scores
    from bench.shares import share_of
    from bench.step import check_net, load_method

    dataset = pipeline.load_dataset(suite)
    for config in configs:
        check_net(config, dataset.shape)
        precision.check(config.train, dist.start(suite.loop.device))
        rows = load_method(config, dataset.num_classes).velocity_rows
        share_of(config.train.batch, rows, dist.rank(), dist.world_size(), suite.loop.settled_micro_batch)
    if root is not None:
        for extractor in pipeline.load_extractors(suite, dataset):
            references.check(suite.eval.reference, dataset, extractor, Root(root).references)
            scores.check(suite.eval.metrics, extractor, suite.eval.samples)
    return dataset


def announce(configs: list[RunConfig], suite: Suite, root: Root, dataset: Any, device: Any) -> None:
    """Say what will happen and how long it is expected to take, from a few steps of each method."""
    from bench.dist import device_label, world_size
    from bench.speed import run_rows

    err.print(
        f"{len(configs)} run{'s' * (len(configs) > 1)} on {escape(device_label(device))}, data {dataset.name} "
        f"({dataset.train_images:,} images), net {suite.run.net}, {suite.run.epochs:g} epochs",
        soft_wrap=True,
    )
    per_kind: dict[str, tuple[float, float]] = {}  # by method, and by net where there are several
    several = len({config.net for config in configs}) > 1
    total = 0.0
    for config in configs:
        status = root.run(config.name).read_status()
        left = 1 - status["images"] / config.total_images(dataset.train_images)
        if status["state"] == "finished" or left <= 0:
            continue
        kind = f"{config.method} {config.net}" if several else config.method
        if kind not in per_kind:
            training, scoring = run_rows.expected_seconds(config, dataset, suite, device)  # of this process alone
            per_kind[kind] = training / world_size(), scoring / world_size()
        training, scoring = per_kind[kind]
        total += training * left + scoring
    for kind, (training, scoring) in per_kind.items():
        err.print(f"  {kind}: about {duration(training)} of training a run, {duration(scoring)} of sampling for its scores")
    if len(configs) > 1 and per_kind:
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
    run = root.run(name)
    snapshot = run.newest_snapshot()
    if snapshot is None or run.read_status()["state"] != "finished":  # one on the way is not what was asked for
        raise BenchError(f"{name} has no final snapshot yet", "a finished run", "Train it first: the same `bench run` goes on.")
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
    load: Callable[[str | None], Suite], root: Path, names: list[str], stages: "Stages", *, dry_run: bool, started_by: str
) -> int:
    """Score trained runs, each on its own data set; `load` gives the settings for a data set. Returns the exit code."""
    from bench import accord

    places = Root(root)

    def choose() -> list[dict[str, Any]]:
        chosen = names or finished_runs(places)
        if not chosen:
            raise BenchError(f"No finished runs in {places.runs}", "at least one", "Train one first: `bench run`.")
        return [find_config(places, name).model_dump(mode="json") for name in chosen]

    with together(load(None).loop.device):
        configs = [RunConfig.model_validate(found) for found in accord.first(choose)]
        jobs, chosen = [(config, load(config.dataset)) for config in configs], [config.name for config in configs]
        codes = [rescore(config, suite, places, stages, dry_run, started_by) for config, suite in jobs]
        if not dry_run:
            accord.first(lambda: show_tables(root, "quality", "rich", runs=chosen, quiet=True))
    return max(codes)


def rescore(config: RunConfig, suite: Suite, root: Root, stages: "Stages", dry_run: bool, started_by: str) -> int:
    """One run of `revisit`, on the data that it was trained on. Returns the exit code."""
    from bench import accord, pipeline

    options = found_again(config, suite)
    suite = suite.model_copy(
        update={
            "run": suite.run.model_copy(update={"dataset": config.dataset}),
            "datasets": {config.dataset: options},
        }
    )
    err.print(f"[bold]{escape(config.name)}[/bold]", soft_wrap=True)
    if dry_run:
        out.print(f"would score {config.name}", soft_wrap=True)
        return 0
    with accord.agreement():
        dataset = pipeline.load_dataset(suite)
    return go(config, suite, root, dataset, stages, started_by)


def found_again(config: RunConfig, suite: Suite) -> dict[str, Any]:
    """The options of a run's data set, and where the settings of today say that it lies and how it is decoded."""
    given = suite.datasets.get(config.dataset, {})
    return config.dataset_options | {option: given[option] for option in ASIDE if given.get(option)}


def write_grid(root: Path, name: str, path: Path | None, suite: Suite, *, steps: int, seed: int, rows: int) -> Path:
    """Write a grid of a run's samples; returns where. Of `suite` count the device, and where data and decoder lie."""
    from bench import checkpoint, datasets, dist
    from bench import sample as sampling

    places = Root(root)
    config = find_config(places, name)
    run = places.run(name)
    newest = run.newest_snapshot()
    assert newest is not None
    model = sampling.load_model(checkpoint.load_snapshot(newest), dist.pick_device(suite.loop.device))
    if reason := sampling.refusal(model, steps):
        given, _, allowed = reason.partition("; allowed: ")
        raise BenchError(given, allowed or "what the method can do", "Choose with --steps.")
    dataset = datasets.load(config.dataset, **found_again(config, suite))
    target = path or run.samples / f"grid-seed{seed}-steps{steps}.png"
    sampling.save_grid(target, model, dataset, steps=steps, seed=seed, rows=rows)
    return target
