"""The options that several verbs share, and what the shell completes them with. Imports no torch."""

from pathlib import Path
from typing import Annotated

import typer

from bench.errors import BenchError


def files_of(package: str) -> list[str]:
    """The plug-ins of a package by their files, without importing any: for the shell's completion."""
    folder = Path(__file__).resolve().parent.parent / package
    return sorted(path.stem for path in folder.glob("*.py") if not path.name.startswith("_"))


def run_names() -> list[str]:
    return sorted(path.parent.name for path in Path("runs").glob("*/status.json"))


def settings_file(text: str) -> Path:
    """The file of this path, else the profile of this name that comes with the suite: imagenet-b4."""
    shipped = Path(__file__).resolve().parent / "profiles" / f"{text}.toml"
    return shipped if shipped.is_file() and not Path(text).exists() else Path(text)


Methods = Annotated[
    list[str] | None,
    typer.Argument(
        help="Files in methods/. Default: bench.toml's.", metavar="METHODS", autocompletion=lambda: files_of("methods")
    ),
]
Runs = Annotated[
    list[str] | None,
    typer.Argument(help="Run names, as `bench list runs` prints them.", metavar="RUNS", autocompletion=run_names),
]
Dataset = Annotated[
    str | None, typer.Option(help="A file in bench/datasets/.", autocompletion=lambda: files_of("bench/datasets"))
]
Net = Annotated[str | None, typer.Option(help="Size/patch of the DiT, as T/2 or B/4.")]
Epochs = Annotated[float | None, typer.Option(help="Passes over the data.")]
Batch = Annotated[int | None, typer.Option(help="Images a training step.")]
Seed = Annotated[int | None, typer.Option(help="First training seed.")]
Seeds = Annotated[int | None, typer.Option(help="How many training seeds.")]
Device = Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1.")]
Samples = Annotated[int | None, typer.Option(help="Images generated for a score.")]
Steps = Annotated[str | None, typer.Option(help="Network evaluations an image, as 1,2,4.")]
Set = Annotated[list[str] | None, typer.Option("--set", help="Any key of bench.toml: TABLE.KEY=VALUE. Repeatable.")]
Config = Annotated[
    Path | None,
    typer.Option(
        parser=settings_file, metavar="FILE", help="Read this file, or the shipped profile of this name, not bench.toml."
    ),
]
RootDir = Annotated[Path, typer.Option("--root", help="Folder for runs/, results/ and site/.")]
Gpus = Annotated[int | None, typer.Option(min=1, help="Processes on this machine, a GPU each (or all on --device cpu).")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print what would be done, and stop.")]
Again = Annotated[bool, typer.Option("--again", help="Measure again what is measured already.")]


def numbers(text: str | None, option: str = "--steps") -> list[int] | None:
    """ "1,2,4" -> [1, 2, 4]."""
    if text is None:
        return None
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise BenchError(f"{option} {text}", "whole numbers with commas", f"For example: {option} 1,2,4") from None
