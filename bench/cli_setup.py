"""The verbs before a run: import weights that others trained, plan what a run will take. Parsing and printing only."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.errors import BenchError
from bench.guard import guarded
from bench.options import (
    Batch,
    Config,
    Dataset,
    Device,
    Epochs,
    Gpus,
    Methods,
    Net,
    RootDir,
    Samples,
    Seed,
    Seeds,
    Set,
    Steps,
    files_of,
    numbers,
)

if TYPE_CHECKING:
    from bench.config import Suite

app = typer.Typer()

HERE = Path()


@app.command("import", epilog="Example: bench import 1200000.pt --layout soflow --config imagenet-xl2")
@guarded
def import_(
    file: Annotated[Path, typer.Argument(help="A torch file of plain tensors, or a .safetensors file.")],
    layout: Annotated[str, typer.Option(help="soflow, meanflow, sit, dit, or auto: by the names in the file.")] = "auto",
    method: Annotated[
        str | None, typer.Option(help="Default: the layout's.", autocompletion=lambda: files_of("methods"))
    ] = None,
    net: Annotated[str | None, typer.Option(help="Refuse another than this. Default: by the shapes in the file.")] = None,
    dataset: Dataset = None, epochs: Epochs = None,
    images: Annotated[int | None, typer.Option(min=0, help="Images seen in training. Default: from the file's steps.")] = None,
    size: Annotated[int | None, typer.Option(min=1, help="Pixels of the (latent) images, where the file has none.")] = None,
    raw: Annotated[bool, typer.Option("--raw/--ema", help="The weights themselves, or their average.")] = False,
    settings: Set = None, config: Config = None, root: RootDir = HERE,
) -> None:  # fmt: skip
    """Make a finished run of published weights; `bench eval` and `bench sample` take it. Nothing in the file is run."""
    from bench import console_setup
    from bench.importing.arrival import Request

    if epochs is None and config is None and not any(word.startswith("run.epochs") for word in settings or ()):
        allowed = "--epochs, or --config with a file that says it"
        raise BenchError("For how many epochs the file was trained is not in it", allowed, "For example: --config imagenet-xl2")
    suite = load(None, config, settings, run={"dataset": dataset, "epochs": epochs})
    console_setup.import_weights(
        Request(
            path=file, layout=layout, weights="raw" if raw else "ema", method=method or "", net=net or "", images=images,
            size=size,
        ),
        suite,
        root,
    )  # fmt: skip


@app.command(epilog="Example: bench plan --config imagenet-b2 --device cuda")
@guarded
def plan(
    methods: Methods = None, dataset: Dataset = None, net: Net = None, epochs: Epochs = None, batch: Batch = None,
    seed: Seed = None, seeds: Seeds = None, device: Device = None, samples: Samples = None, steps: Steps = None,
    settings: Set = None, config: Config = None, root: RootDir = HERE,
    gpus: Gpus = None,
    probe: Annotated[bool, typer.Option(help="Take a few real steps here to measure time and memory.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of a table.")] = False,
) -> None:  # fmt: skip
    """Say what `bench run` with these settings will take, and refuse what can not fit. Nothing is written."""
    from bench import console_setup

    suite = load(
        methods, config, settings, run={"dataset": dataset, "net": net, "epochs": epochs, "seed": seed, "seeds": seeds},
        train={"batch": batch}, loop={"device": device}, eval={"samples": samples, "steps": numbers(steps)},
    )  # fmt: skip
    console_setup.show_plan(suite, root, gpus=gpus or 1, probe=probe, as_json=as_json)


def load(methods: list[str] | None, config: Path | None, settings: list[str] | None, **tables: dict[str, Any]) -> "Suite":
    """The settings with the flags that were given."""
    from bench import config as configuration

    tables.setdefault("run", {})["methods"] = methods or None
    return configuration.load(config, tables, tuple(settings or ()))
