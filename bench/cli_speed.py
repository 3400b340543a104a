"""The verb that measures cost by itself: parsing and printing only."""

from pathlib import Path
from typing import Annotated

import typer

from bench.guard import guarded
from bench.options import Config, Device, DryRun, Methods, RootDir, Set, Steps, numbers

app = typer.Typer()

HERE = Path()


@app.command(epilog="Example: bench speed soflow meanflow flow_matching --net B/4 --net XL/2 --minutes 9")
@guarded
def speed(
    methods: Methods = None,
    net: Annotated[list[str] | None, typer.Option(help="Size/patch, repeatable. Default: B/4; T/4 on a CPU.")] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Images a training step. Default: 256; 32 on a CPU.")] = None,
    precision: Annotated[
        list[str] | None, typer.Option(help="fp32, tf32, bf16, repeatable. Default: bf16 and tf32; fp32 on a CPU.")
    ] = None,
    variant: Annotated[
        list[str] | None, typer.Option(help="optimised, published, repeatable. Default: both, and the bare loop.")
    ] = None,
    shape: Annotated[str, typer.Option(help="Of an image or latent: channels x height x width.")] = "4x32x32",
    classes: Annotated[int, typer.Option(min=1, help="How many.")] = 1000,
    steps: Steps = "1,2,4",
    sample_batch: Annotated[str, typer.Option(help="Batch sizes of sampling; 1 gives the latency.")] = "1,64",
    decoder: Annotated[str, typer.Option(help="none, or sd-vae: Stable Diffusion's, with random weights.")] = "none",
    compiled: Annotated[
        bool | None, typer.Option("--compile/--no-compile", help="Of the column best. Default: on a GPU.")
    ] = None,
    seconds: Annotated[float | None, typer.Option(help="Time for each measurement. Default: speed.seconds.")] = None,
    minutes: Annotated[float | None, typer.Option(help="Time for all; what is not reached is marked.")] = None,
    max_batch: Annotated[bool, typer.Option("--max-batch", help="Find the largest batch of each method too.")] = False,
    memory: Annotated[float | None, typer.Option(help="GB for --max-batch. Default: what the device has free.")] = None,
    device: Device = None, settings: Set = None, config: Config = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the result. Default: speed/DEVICE in the root.")] = None,
    root: RootDir = HERE, dry_run: DryRun = False,
) -> None:  # fmt: skip
    """Measure what training and sampling cost here: time, memory, operations, energy. No data, nothing is trained."""
    from bench import console_speed

    request = console_speed.make_request(
        methods, config, settings, device=device, nets=net, batch=batch, precisions=precision, variants=variant, shape=shape,
        classes=classes, steps=numbers(steps), sample_batches=numbers(sample_batch, "--sample-batch"), decoder=decoder,
        compiled=compiled, seconds=seconds, minutes=minutes, max_batch=max_batch, memory=memory,
    )  # fmt: skip
    console_speed.run(request, out, root, dry_run=dry_run)
