"""The verbs about data on disk: bench data prepare, verify, check, fetch. Parsing and printing only."""

from pathlib import Path
from typing import Annotated

import typer

from bench.cli_scores import extractor_names
from bench.guard import guarded, leave
from bench.options import Device

app = typer.Typer()
data = typer.Typer(no_args_is_help=True, help="Data on disk: encode images to latents, verify them, download.")
app.add_typer(data, name="data")

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="What `bench data prepare` wrote.")]


@data.command(
    epilog="Example: bench data prepare imagenet --source imagenet/train --vae stabilityai/sd-vae-ft-mse --out latents --half"
)
@guarded
def prepare(
    what: Annotated[str, typer.Argument(help="imagenet: any tree with one folder a class, as ImageNet's train/.")],
    source: Annotated[Path, typer.Option(help="The tree of images.")],
    vae: Annotated[str, typer.Option(help="diffusers' AutoencoderKL: its folder, or a hub id that is in the cache.")],
    out: Annotated[Path, typer.Option(help="The folder to write. The same command again goes on, keeping whole shards.")],
    size: Annotated[int, typer.Option(min=1, help="Pixels: box halvings, bicubic to this, the centre, as ADM does it.")] = 256,
    half: Annotated[bool, typer.Option("--half", help="Store float16, half the size.")] = False,
    flips: Annotated[bool, typer.Option("--flips", help="Encode mirror images too, twice the size.")] = False,
    subset: Annotated[int, typer.Option(min=0, help="So many images, equally many a class; 0: all.")] = 0,
    batch: Annotated[int, typer.Option(min=1, help="Images encoded at a time.")] = 32,
    shard: Annotated[int, typer.Option(min=1, help="Images a file.")] = 4096,
    online: Annotated[bool, typer.Option("--online", help="The VAE may be downloaded.")] = False,
    device: Device = None,
) -> None:
    """Encode a tree of images: posterior mean and standard deviation of each, and a manifest that decoding is held to."""
    from bench import console_data
    from bench.prepare import Ways

    ways = Ways(
        vae=vae, size=size, half=half, flips=flips, subset=subset, batch=batch, shard_images=shard, device=device or "auto",
        online=online,
    )  # fmt: skip
    console_data.prepare(what, source, out, ways)


@data.command(epilog="Example: bench data verify latents")
@guarded
def verify(folder: Folder) -> None:
    """Read every byte and hold it against the manifest; exit code 1 when something is wrong."""
    from bench import console_data

    leave(console_data.verify(folder))


@data.command(epilog="Example: bench data check latents --images 500")
@guarded
def check(
    folder: Folder,
    vae: Annotated[str, typer.Option(help="Decode with this VAE. Default: the manifest's.")] = "",
    source: Annotated[str, typer.Option(help="Where the images lie now. Default: the manifest's.")] = "",
    extractor: Annotated[str, typer.Option(help="Of the feature distance.", autocompletion=extractor_names)] = "pixels",
    images: Annotated[int, typer.Option(min=2, help="How many, spread evenly over the data.")] = 256,
    device: Device = None,
) -> None:
    """Compare decoded latents with the images they were made of; exit code 1 for a wrong VAE or scale."""
    from bench import console_data
    from bench.latent_checks import Looking

    looking = Looking(vae=vae, source=source, extractor=extractor, images=images, device=device or "auto")
    leave(console_data.check(folder, looking))


@data.command(epilog="Example: bench data fetch cifar10")
@guarded
def fetch(
    what: Annotated[str, typer.Argument(help="cifar10.")],
    out: Annotated[Path | None, typer.Option(help="Folder. Default: the suite's, in your cache folder.")] = None,
) -> None:
    """Download a data set that has a public address, checked by size and sha256; a download that was cut goes on."""
    from bench import console_data

    console_data.fetch(what, out)
