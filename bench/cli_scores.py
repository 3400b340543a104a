"""The verbs about scores: explain, and those for images, statistics and weights that others made. Parsing and printing only."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.guard import guarded, leave
from bench.options import Config, Device, RootDir, Set, files_of, settings_file

if TYPE_CHECKING:
    from bench.config import Suite

app = typer.Typer()

HERE = Path()


def extractor_names() -> list[str]:
    return files_of("bench/extractors")


@app.command(epilog="Example: bench explain 1a2b3c4d 5e6f7a8b")
@guarded
def explain(
    first: Annotated[str, typer.Argument(metavar="ROW", help="An id of `bench list rows`, or RUN:METRIC:STEPS:SEED.")],
    second: Annotated[str, typer.Argument(metavar="ROW", help="The row to compare it with.")],
    measure: Annotated[bool, typer.Option(help="Score the first row's snapshot under the second's conditions.")] = True,
    device: Device = None, settings: Set = None, config: Config = None, root: RootDir = HERE,
) -> None:  # fmt: skip
    """Say why two values differ: what is not equal, and what of the difference each cheap condition makes."""
    from bench import console_scores

    console_scores.show_explanation(root, first, second, load(config, settings, device) if measure else None)


@app.command(epilog="Example: bench fetch inception")
@guarded
def fetch(
    names: Annotated[list[str] | None, typer.Argument(metavar="WEIGHTS", help="Which; without any, all are listed.")] = None,
    to: Annotated[Path | None, typer.Option(help="Folder. Default: the suite's, in your cache folder.")] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Never touch the network: only look.")] = False,
) -> None:
    """Download the weights that extractors need, checked by size and sha256; a download that was cut goes on."""
    from bench import console_scores

    console_scores.fetch(names or [], to, offline=offline)


@app.command(
    epilog="Example: bench score samples.npz VIRTUAL_imagenet256_labeled.npz --protocol inception --protocol clean_fid"
)
@guarded
def score(
    images: Annotated[str, typer.Argument(help="A folder of images, or an .npz with arr_0.")],
    reference: Annotated[str, typer.Argument(help="One of these, a file of statistics, or a data set's name.")],
    protocol: Annotated[
        list[str] | None,
        typer.Option(help="Extractor, repeatable. Default: the data set's, else inception.", autocompletion=extractor_names),
    ] = None,
    metric: Annotated[list[str] | None, typer.Option(help="Only this metric; repeatable.")] = None,
    samples: Annotated[int | None, typer.Option(help="How many images to score. Default: all.")] = None,
    stored_order: Annotated[bool, typer.Option(help="Keep an .npz's order, as ADM's inception score does.")] = False,
    out: Annotated[Path | None, typer.Option(help="Write a JSON file with all that traces the values.")] = None,
    device: Device = None, settings: Set = None, config: Config = None, root: RootDir = HERE,
) -> None:  # fmt: skip
    """Score images that others made, under one or several protocols side by side."""
    from bench import console_scores
    from bench.score import Ways

    suite = load(config, settings, device)
    ways = Ways(
        protocols=tuple(protocol or ("auto",)), metrics=tuple(metric or ("auto",)), n=samples, device=suite.loop.device,
        order="stored" if stored_order else "shuffled", extractor_options=suite.extractors, dataset_options=suite.datasets,
    )  # fmt: skip
    console_scores.score_images(images, reference, ways, root, out)


stats = typer.Typer(no_args_is_help=True, help="Statistics of real images: build, list, verify.")
app.add_typer(stats, name="stats")


@stats.command("build", epilog="Example: bench stats build PHOTOS --extractor efficientnet_lite0 --out photos.npz")
@guarded
def build_stats(
    images: Annotated[str, typer.Argument(help="A data set's name, a folder of images, or an .npz with arr_0.")],
    extractor: Annotated[str, typer.Option(help="auto: the data set's own.", autocompletion=extractor_names)] = "auto",
    out: Annotated[Path | None, typer.Option(help="The .npz to write. Default: in refs/, where scores find it.")] = None,
    device: Device = None, settings: Set = None, config: Config = None, root: RootDir = HERE,
) -> None:  # fmt: skip
    """Write mean, covariance and features of real images, and beside them a manifest of where they come from."""
    from bench import console_scores

    console_scores.build_statistics(images, extractor, load(config, settings, device), root, out)


@stats.command("list", epilog="Example: bench stats list DOWNLOADS")
@guarded
def list_stats(
    places: Annotated[list[Path] | None, typer.Argument(help="Folders or files. Default: refs/.")] = None,
    root: RootDir = HERE,
) -> None:
    """Show the files of statistics: of what, by which extractor, from how many images."""
    from bench import console_scores

    console_scores.list_statistics(places or [], root)


@stats.command("verify", epilog="Example: bench stats verify VIRTUAL_imagenet256_labeled.npz")
@guarded
def verify_stats(
    files: Annotated[list[Path], typer.Argument(help="Files of statistics.")],
    recompute: Annotated[int, typer.Option(min=0, help="Take the features of so many images anew and compare.")] = 0,
    device: Device = None, settings: Set = None, config: Config = None,
) -> None:  # fmt: skip
    """Check files against their manifests and themselves; exit code 1 when something is wrong with one."""
    from bench import console_scores

    leave(console_scores.verify_statistics(files, recompute, load(config, settings, device)))


@app.command(
    epilog="Example: bench check --out check\n\nExit codes: 0 held, 1 regressed, 2 your mistake, 3 improved (write a new "
    "baseline), 4 nothing measured, 5 a run failed, 130 interrupted."
)
@guarded
def check(
    config: Annotated[
        Path | None,
        typer.Option(parser=settings_file, metavar="FILE", help="The profile. Default: ci, bench/profiles/ci.toml."),
    ] = None,
    baseline: Annotated[Path | None, typer.Option(help="Default: NAME-baseline.json beside the profile.")] = None,
    update: Annotated[bool, typer.Option("--update", help="Train the baseline's seeds and write it anew.")] = False,
    out: Annotated[Path | None, typer.Option(help="Folder for summary.md, junit.xml and check.json.")] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="Training seeds, in place of the profile's.")] = None,
    speed: Annotated[bool, typer.Option("--speed", help="Also the training step's speed, as a ratio to a plain loop.")] = False,
) -> None:
    """The gate for CI: train small, compare with the committed baseline, say what is worse, better, or the same."""
    from bench import console_scores

    verb = console_scores.update_baseline if update else console_scores.check
    leave(verb(config, baseline, seeds=seeds, speed=speed, folder=out))


def load(config: Path | None, settings: list[str] | None, device: str | None) -> "Suite":
    """Where weights and data lie."""
    from bench import config as configuration

    return configuration.load(config, {"loop": {"device": device}}, tuple(settings or ()))
