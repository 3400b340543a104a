"""The command `bench`: parsing and printing only. Heavy imports are inside the verbs, so that `bench --help` is instant."""

import io
import json
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench import cli_budget, cli_cluster, cli_data, cli_report, cli_scores, cli_setup, cli_speed
from bench.guard import guarded, leave, typed
from bench.options import (
    Again,
    Batch,
    Config,
    Dataset,
    Device,
    DryRun,
    Epochs,
    Gpus,
    Methods,
    Net,
    RootDir,
    Runs,
    Samples,
    Seed,
    Seeds,
    Set,
    Steps,
    numbers,
    run_names,
)

if TYPE_CHECKING:
    from bench.config import Suite
    from bench.pipeline import Stages

app = typer.Typer(
    rich_markup_mode=None,  # its formatter alone takes longer to import than all the rest of `bench --help`
    name="bench",
    help="Train one-step image generators on one network and compare quality and cost.\n\nFirst: bench run, then: bench report",
    epilog="Exit codes: 0 done, 1 a run failed, 2 your mistake (nothing was started), 130 interrupted (state saved).",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

HERE = Path()


def flags(**tables: dict[str, Any]) -> dict[str, Any]:
    """The tables of bench.toml with the flags that were given."""
    return {name: {k: v for k, v in keys.items() if v is not None} for name, keys in tables.items()}


def load_suite(methods: list[str] | None, config: Path | None, settings: list[str] | None, **tables: dict[str, Any]) -> "Suite":
    from bench import config as configuration

    tables.setdefault("run", {})["methods"] = methods or None
    return configuration.load(config, flags(**tables), tuple(settings or ()))


def print_version(wanted: bool) -> None:
    if wanted:
        from bench import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def version(
    show: Annotated[bool, typer.Option("--version", help="Print the version.", callback=print_version, is_eager=True)] = False,
) -> None:
    """Options of `bench` itself."""
    del show  # its callback did the work


# Training and measuring


@app.command(epilog="Example: bench run soflow meanflow --epochs 240")
@guarded
def run(
    methods: Methods = None, dataset: Dataset = None, net: Net = None, epochs: Epochs = None, batch: Batch = None,
    seed: Seed = None, seeds: Seeds = None, device: Device = None, samples: Samples = None, steps: Steps = None,
    settings: Set = None, config: Config = None, root: RootDir = HERE, dry_run: DryRun = False, again: Again = False,
    gpus: Gpus = None, launcher: cli_cluster.Launcher = None,
    expect: Annotated[str | None, typer.Option(help="Refuse unless this is the one run that results.")] = None,
) -> None:  # fmt: skip
    """Train, evaluate and time each method; print one table. The same command again resumes, and repeats nothing."""
    from bench.pipeline import Stages

    suite = load_suite(
        methods, config, settings, run={"dataset": dataset, "net": net, "epochs": epochs, "seed": seed, "seeds": seeds},
        train={"batch": batch}, loop={"device": device}, eval={"samples": samples, "steps": numbers(steps)},
    )  # fmt: skip
    if launcher:
        cli_cluster.submit(suite, root, launcher, gpus=gpus, dry_run=dry_run, again=again, expect=expect)
        return
    spread(gpus, suite)
    execute(suite, root, Stages(again=again), dry_run, expect)


@app.command(epilog="Example: bench train soflow --epochs 10")
@guarded
def train(
    methods: Methods = None, dataset: Dataset = None, net: Net = None, epochs: Epochs = None, batch: Batch = None,
    seed: Seed = None, seeds: Seeds = None, device: Device = None, settings: Set = None, config: Config = None,
    root: RootDir = HERE, dry_run: DryRun = False, gpus: Gpus = None,
) -> None:  # fmt: skip
    """Train only."""
    from bench.pipeline import Stages

    suite = load_suite(
        methods, config, settings, run={"dataset": dataset, "net": net, "epochs": epochs, "seed": seed, "seeds": seeds},
        train={"batch": batch}, loop={"device": device},
    )  # fmt: skip
    spread(gpus, suite)
    execute(suite, root, Stages(evaluate=False, speed=False), dry_run)


def spread(gpus: int | None, suite: "Suite") -> None:
    """Run this command line in several processes, and leave with their exit code."""
    if gpus is not None and gpus > 1:
        from bench import launch

        raise typer.Exit(launch.launch(launch.without_gpus(sys.argv[1:]), gpus, suite.loop.device))


def execute(suite: "Suite", root: Path, stages: "Stages", dry_run: bool, expect: str | None = None) -> None:
    from bench import console

    leave(console.run_suite(suite, root, stages, dry_run=dry_run, started_by=typed(), expect=expect))


@app.command("eval", epilog="Example: bench eval --samples 5000 --steps 1,2,4,8")
@guarded
def evaluate(
    runs: Runs = None, samples: Samples = None, steps: Steps = None, device: Device = None, settings: Set = None,
    config: Config = None, root: RootDir = HERE, again: Again = False, dry_run: DryRun = False, gpus: Gpus = None,
) -> None:  # fmt: skip
    """Score trained runs (default: all finished ones); print the table."""
    from bench import console
    from bench.pipeline import Stages

    def load(dataset: str | None) -> "Suite":
        evaluation = {"samples": samples, "steps": numbers(steps)}
        return load_suite(None, config, settings, run={"dataset": dataset}, eval=evaluation, loop={"device": device})

    spread(gpus, load(None))
    stages = Stages(train=False, speed=False, again=again)
    leave(console.revisit(load, root, runs or [], stages, dry_run=dry_run, started_by=typed()))


@app.command(epilog="Example: bench sample digits-soflow-T-2-s0-1a2b3c4d --steps 1 --out digits.png")
@guarded
def sample(
    run: Annotated[str, typer.Argument(help="A finished run, as `bench list runs` prints it.", autocompletion=run_names)],
    out: Annotated[Path | None, typer.Option(help="The PNG to write. Default: in the run's samples/.")] = None,
    steps: Annotated[int, typer.Option(min=1, help="Network evaluations an image.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="Sampling seed: the same noises in every run.")] = 0,
    rows: Annotated[int, typer.Option(min=1, max=100, help="Rows of the grid; a class a column.")] = 6,
    device: Device = None, settings: Set = None, config: Config = None, root: RootDir = HERE,
) -> None:  # fmt: skip
    """Write a grid of samples as a PNG."""
    from bench import console

    suite = load_suite(None, config, settings, loop={"device": device})
    typer.echo(console.write_grid(root, run, out, suite, steps=steps, seed=seed, rows=rows))


# Reading


@app.command(epilog="Example: bench table --format latex > table.tex")
@guarded
def table(
    kind: Annotated[str, typer.Argument(help="quality, cost, or published: what papers report, beside ours.")] = "quality",
    form: Annotated[str, typer.Option("--format", help="rich, markdown, csv, latex or json.")] = "rich",
    root: RootDir = HERE,
) -> None:
    """Print the result tables: mean and spread over training seeds, an arrow for which way is better."""
    from bench import show

    show.show_tables(root, kind, form)


@app.command("list", epilog="Example: bench list methods")
@guarded
def list_(
    what: Annotated[str, typer.Argument(help="methods, datasets, nets, extractors, runs, rows, or all.")] = "all",
    root: RootDir = HERE,
) -> None:
    """Show what there is: methods, data sets, nets, extractors, runs, rows."""
    from bench import show

    show.show_list(root, what)


@app.command("config", epilog="Example: bench config soflow --set methods.soflow.guidance=2.0")
@guarded
def show_config(
    methods: Methods = None, dataset: Dataset = None, net: Net = None, epochs: Epochs = None, batch: Batch = None,
    seed: Seed = None, seeds: Seeds = None, settings: Set = None, config: Config = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of TOML.")] = False,
) -> None:  # fmt: skip
    """Print the resolved settings of each run: bench.toml, its preset and the flags, defaults filled in."""
    suite = load_suite(
        methods, config, settings, run={"dataset": dataset, "net": net, "epochs": epochs, "seed": seed, "seeds": seeds},
        train={"batch": batch},
    )  # fmt: skip
    for run_config in suite.runs():
        if as_json:
            typer.echo(json.dumps({"run": run_config.name, **run_config.as_suite()}))
        else:
            typer.echo(f"# {run_config.name}\n{run_config.as_toml(suite)}")


app.add_typer(cli_report.app)
app.add_typer(cli_speed.app)
app.add_typer(cli_setup.app)
app.add_typer(cli_cluster.app)
app.add_typer(cli_scores.app)
app.add_typer(cli_budget.app)
app.add_typer(cli_data.app)


def main() -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # like Ctrl-C, from the first moment on
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without ↓ and ± still gets the numbers
    app()


if __name__ == "__main__":
    main()
