"""Snapshots of one run: when training writes one, what it had cost by then, and which there are to be scored.

    if due(images, batch, total, loop.snapshots): write(config, dataset, run, step, meter, images)
    for snapshot in final_first(run, final): score(snapshot)

Beside the weights lies a small JSON file with the training time up to there: the weights' file stays the same, bit for bit,
when a resumed training comes by a second time.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench import accord, checkpoint, datasets, dist
from bench.config import RunConfig
from bench.meter import Meter
from bench.step import Step
from bench.store import RunDirectory, read_json, write_atomic


def due(images: int, batch: int, total: int, count: int) -> bool:
    """Whether `images`, a batch further than before, is the first at or after some k total / count, 1 <= k < count.

    The last one of `count` is the end of training itself. With more snapshots than batches there is one a batch.
    """
    return images < total and images * count // total > (images - batch) * count // total


def write(
    config: RunConfig, dataset: datasets.Dataset, run: RunDirectory, step: Step, meter: Meter, images: int
) -> checkpoint.Snapshot:
    """Store the averaged weights, and what training took so far. Every process calls it; the first one writes.

    Raises NotFinite, on every process, when a loss or a gradient since the last line of the log was not finite.
    """
    meter.check(run, images)  # and waits for the device: the time below is that of work done
    snapshot = checkpoint.Snapshot(
        images=images,
        config=config.model_dump(mode="json"),
        shape=dataset.shape,
        num_classes=dataset.num_classes,
        data_digest=dataset.digest,
        weights=step.ema.state_dict(),
    )

    def store() -> None:
        spent = {"seconds": meter.total(), "device": dist.timing_label(meter.sums.device), "world_size": dist.world_size()}
        checkpoint.save_snapshot(run.snapshot(images), snapshot)
        write_atomic(cost_file(run, images), json.dumps(spent, indent=1) + "\n")

    accord.first(store)
    return snapshot


def cost_file(run: RunDirectory, images: int) -> Path:
    return run.snapshot(images).with_suffix(".json")


def read_cost(run: RunDirectory, images: int) -> dict[str, Any]:
    """Seconds of training up to a snapshot, device, world_size; empty where it was not noted. Raises BenchError for damage."""
    return read_json(cost_file(run, images))


def images_seen(run: RunDirectory) -> list[int]:
    """Of each snapshot that is there, fewest first."""
    return sorted(int(path.stem) for path in run.snapshots.glob("*.safetensors") if re.fullmatch(r"\d{12}", path.stem))


def costs(run: RunDirectory) -> dict[int, dict[str, Any]]:
    """By images seen, `read_cost` of each snapshot that has one; the final one's from status.json where no file has it."""
    found = {images: read_cost(run, images) for images in images_seen(run)}
    status = run.read_status()
    if status["state"] == "finished":
        found[status["images"]] = {key: status[key] for key in ("seconds", "device", "world_size") if key in status}
    return {images: spent for images, spent in found.items() if "seconds" in spent}


def final_first(run: RunDirectory, final: checkpoint.Snapshot) -> Iterator[checkpoint.Snapshot]:
    """The run's snapshots, on every process: the final one, then the earlier ones from the first on.

    In this order, an evaluation that is interrupted has scored the one that the tables show. Raises BenchError for one that is
    damaged.
    """
    yield final
    for images in accord.first(lambda: [seen for seen in images_seen(run) if seen < final.images]):
        with accord.agreement():
            found = checkpoint.load_snapshot(run.snapshot(images)) if dist.rank() == 0 else None
        snapshot = accord.shared_snapshot(found)
        assert snapshot is not None
        yield snapshot
