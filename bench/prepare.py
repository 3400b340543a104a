"""Class folders of images -> latents on disk. Whole shards are kept, so that the same call goes on after a kill.

    manifest = prepare(Path("imagenet/train"), Path("latents"), Ways(vae="stabilityai/sd-vae-ft-mse"))

Reads the images; writes the files of bench.latents. Under torch.distributed each process takes every world_size-th shard;
the folder has to be one that all of them see.
"""

import contextlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from filelock import FileLock, Timeout

from bench import dist, latents, vae
from bench.errors import BenchError
from bench.latents import FLIPPED, PLAIN, Manifest, Plan
from bench.shards import Say, Shards, Watch
from bench.sources import Source, list_source
from bench.store import explain_os_errors, read_json, write_atomic

MOST_SHARDS = 512  # all are mapped at once while training, and a process may often open 1,024 files


@dataclass(frozen=True, kw_only=True)
class Ways:
    """How to make them."""

    vae: str  # a folder, or an id in the hub's cache
    size: int = 256  # pixels
    half: bool = False  # float16
    flips: bool = False  # a second version, mirrored left to right before it is encoded
    subset: int = 0  # images, equally many a class; 0: all
    batch: int = 32  # images at a time
    shard_images: int = 4096
    device: str = "auto"
    online: bool = False  # the VAE may be downloaded


def prepare(
    source: Path, out: Path, ways: Ways, *, say: Say = lambda _: None, watch: Watch = lambda *_: None, command: str = ""
) -> Manifest:
    """Make what is not there yet, and the manifest when all is. A collective operation.

    Raises BenchError for images, VAE or folder that can not be used, naming broken images once all others are encoded.
    """
    listed = list_source(source, ways.subset)
    device = dist.pick_device(ways.device)
    if len(listed.files) > MOST_SHARDS * ways.shard_images:
        given = f"--shard {ways.shard_images} for {len(listed.files):,} images: more than {MOST_SHARDS} files"
        raise BenchError(given, f"at least {-(-len(listed.files) // MOST_SHARDS)}", "Raise it, or leave it out.")
    network = vae.load(ways.vae, device=str(device), images=ways.batch, online=ways.online)
    plan = make_plan(network, ways)
    with claimed(out, plan):
        work = Shards(listed, out, plan, network)
        todo = work.missing(dist.rank(), dist.world_size())
        left = torch.tensor(sum(len(work.files(number)) for number in todo))
        dist.add_up(left)
        if int(left):
            check_space(out, plan, int(left))
            say(announcement(listed, plan, int(left)))
            _forget_manifest(out)
            work.encode(todo, say, watch)
        dist.barrier()
        work.refuse_broken()
        if dist.rank() == 0 and not work.finished():
            work.finish(command)
        dist.barrier()
    return latents.read_manifest(out)


def make_plan(network: vae.Vae, ways: Ways) -> Plan:
    """Raises BenchError for a size that the VAE can not take."""
    if ways.size < 1 or ways.size % network.factor:
        given = f"--size {ways.size} with the VAE {ways.vae}"
        raise BenchError(given, f"multiples of {network.factor}, as 256", "Correct --size.")
    side = ways.size // network.factor
    folder = Path(ways.vae).expanduser()
    return Plan(
        vae=str(folder.resolve()) if folder.is_dir() else ways.vae,  # found again from anywhere
        vae_sha256=network.digest,
        scale=network.scale,
        shape=(network.channels, side, side),
        size=ways.size,
        dtype="float16" if ways.half else "float32",
        versions=(PLAIN, FLIPPED) if ways.flips else (PLAIN,),
        subset=ways.subset,
        shard_images=ways.shard_images,
    )


def announcement(listed: Source, plan: Plan, left: int) -> str:
    """What is made and how large it is."""
    whole = latents.size_text(len(listed.files) * plan.image_bytes)
    kept = f"; {len(listed.files) - left:,} of them are there already" if left < len(listed.files) else ""
    return f"{len(listed.files):,} images in {len(listed.classes):,} classes: {latents.describe(plan)}, {whole}{kept}"


# The folder


@contextlib.contextmanager
def claimed(out: Path, plan: Plan) -> Iterator[None]:
    """Hold the folder for this plan. Raises BenchError where another process has it, or it holds other latents."""
    lock = FileLock(out / ".lock")
    if dist.rank() == 0:
        with explain_os_errors(out):
            (out / "shards").mkdir(parents=True, exist_ok=True)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                remedy = "Wait for it, or stop it."
                raise BenchError(f"{out} is in use by another process", "one `bench data prepare` a folder", remedy) from None
    try:
        if dist.rank() == 0:
            _claim(out, plan)
        dist.barrier()
        _check_plan(out, plan)
        yield
    finally:
        lock.release()


def _claim(out: Path, plan: Plan) -> None:
    if not (out / "plan.json").exists():
        write_atomic(out / "plan.json", json.dumps(asdict(plan), indent=1) + "\n")
    for left_over in out.rglob(".*.tmp"):  # of a process that was killed while it wrote
        left_over.unlink(missing_ok=True)


def _check_plan(out: Path, plan: Plan) -> None:
    different = plan.differences(latents.plan_of(read_json(out / "plan.json")))
    if different:
        given = f"{out} holds latents that were made otherwise: {'; '.join(different)}"
        raise BenchError(given, "the same settings as before, or another folder", "Choose another --out, or delete it.")


def _forget_manifest(out: Path) -> None:
    """Shards are made anew: until all are there again, there is nothing to train on."""
    if dist.rank() == 0:
        latents.manifest_path(out).unlink(missing_ok=True)


def check_space(out: Path, plan: Plan, images: int) -> None:
    """Raises BenchError where they do not fit on the disk. The first process's answer, on every process."""
    free = int(dist.from_first(torch.tensor(shutil.disk_usage(out).free)))
    need = images * plan.image_bytes + images * 16  # labels and headers
    if need > free:
        allowed = f"at most the {latents.size_text(free)} that are free in {out}"
        smaller = [way for way, off in (("--half", plan.dtype != "float16"), ("no --flips", FLIPPED in plan.versions)) if off]
        remedy = f"Free some, choose another --out, or make them smaller: {', '.join([*smaller, '--subset N'])}."
        raise BenchError(f"{images:,} images take {latents.size_text(need)} as {latents.describe(plan)}", allowed, remedy)
