"""Shards of latents: which are there and whole, and making those that are not. What bench.prepare does its work with.

shards = Shards(source, Path("latents"), plan, network)
shards.encode(shards.missing(rank, world_size), say=print, watch=lambda *_: None)
shards.finish(command)
"""

import hashlib
import io
import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from bench import dist, latents, provenance, vae
from bench.datasets._photos import Pixels, shrink_and_crop
from bench.errors import BenchError
from bench.latents import FLIPPED, PLAIN, Manifest, Plan, Shard
from bench.progress import duration
from bench.sources import Source
from bench.store import read_json, write_atomic

Say = Callable[[str], None]
Watch = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Shards:
    """The shards of one folder, as its plan and the images ask for."""

    source: Source
    out: Path
    plan: Plan
    network: vae.Vae

    @property
    def total(self) -> int:
        return math.ceil(len(self.source.files) / self.plan.shard_images)

    def files(self, number: int) -> Sequence[str]:
        start = number * self.plan.shard_images
        return self.source.files[start : start + self.plan.shard_images]

    def array_path(self, number: int) -> Path:
        return latents.shard_path(self.out, f"{number:05}.npy")

    def note_path(self, number: int) -> Path:
        return latents.shard_path(self.out, f"{number:05}.json")

    def missing(self, rank: int, world_size: int) -> list[int]:
        """The numbers of this process's shards that are not there, whole and of the same images."""
        return [number for number in range(rank, self.total, world_size) if not self.kept(number)]

    def kept(self, number: int) -> bool:
        try:
            note = read_json(self.note_path(number))
            path = self.array_path(number)
            if note.get("files_sha256") != self.source.digest_of(self.files(number)) or not path.is_file():
                return False
        except BenchError:  # a note that is damaged
            return False
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == note.get("sha256")

    def encode(self, todo: Sequence[int], say: Say, watch: Watch) -> None:
        """Make these shards; of one with broken images only a note of them."""
        total, done, started = sum(len(self.files(number)) for number in todo), 0, 0.0
        self.network.encode(torch.zeros(1, 3, self.plan.size, self.plan.size, dtype=torch.uint8))  # its start-up is not timed
        with ThreadPoolExecutor() as pool:
            for number in todo:
                files, parts, broken = self.files(number), [], []
                started = started or time.monotonic()
                for pixels, faults in self._decoded(files, pool):
                    broken += faults
                    if not broken:
                        parts.append(self._moments(pixels))
                    if not done:
                        seconds = (time.monotonic() - started) / len(pixels) * total
                        say(f"about {duration(seconds)} in all, by the first {len(pixels)} images")
                    done += len(pixels)
                    watch("encoding", done * dist.world_size(), total * dist.world_size())
                self._write(number, parts, broken)

    def _decoded(self, files: Sequence[str], pool: ThreadPoolExecutor) -> Iterator[tuple[Tensor, list[list[str]]]]:
        """uint8 (b, 3, size, size) in order with what is broken among them; the next batch is decoded meanwhile."""

        def submit(names: Sequence[str]) -> list[Future[Pixels | str]]:
            return [pool.submit(read_image, self.source.root / name, self.plan.size) for name in names]

        batches = [files[i : i + self.network.images] for i in range(0, len(files), self.network.images)]
        waiting = submit(batches[0])
        for number, names in enumerate(batches):
            found = [future.result() for future in waiting]
            waiting = submit(batches[number + 1]) if number + 1 < len(batches) else []
            faults = [[name, what] for name, what in zip(names, found, strict=True) if isinstance(what, str)]
            blank = np.zeros((3, self.plan.size, self.plan.size), np.uint8)
            yield torch.from_numpy(np.stack([blank if isinstance(what, str) else what for what in found])), faults

    def _moments(self, pixels: Tensor) -> Tensor:
        """(b, versions, 2, C, h, w) as they are stored."""
        versions = {PLAIN: pixels, FLIPPED: pixels.flip(-1)}
        found = [torch.stack(self.network.encode(versions[version]), dim=1) for version in self.plan.versions]
        return torch.stack(found, dim=1).to("cpu", getattr(torch, self.plan.dtype))

    def _write(self, number: int, parts: list[Tensor], broken: list[list[str]]) -> None:
        """The array, then the note that vouches for it."""
        if broken:
            write_atomic(self.note_path(number), json.dumps({"broken": broken}) + "\n")
            return
        file = io.BytesIO()
        np.save(file, torch.cat(parts).numpy(), allow_pickle=False)
        write_atomic(self.array_path(number), file.getvalue())
        of = self.source.digest_of(self.files(number))
        note = {"sha256": hashlib.sha256(file.getbuffer()).hexdigest(), "files_sha256": of}
        write_atomic(self.note_path(number), json.dumps(note) + "\n")

    def refuse_broken(self) -> None:
        """Raises BenchError naming the images that no process could read: on every process the same."""
        broken = [fault for number in range(self.total) for fault in read_json(self.note_path(number)).get("broken", ())]
        if broken:
            named = "; ".join(f"{name} ({why})" for name, why in broken[:5])
            more = f" and {len(broken) - 5} more" if len(broken) > 5 else ""
            given = f"{len(broken)} of {len(self.source.files):,} images in {self.source.root} can not be read: {named}{more}"
            remedy = "Restore these files and run the same command: whole shards are kept. Deleting one moves all behind it."
            raise BenchError(given, "whole image files", remedy)

    def finished(self) -> bool:
        """Whether there are a whole manifest and labels of these images."""
        try:
            manifest = latents.read_manifest(self.out)
            latents.read_labels(self.out, manifest)
            return manifest.files_sha256 == self.source.digest_of(self.source.files)
        except BenchError:
            return False

    def finish(self, command: str) -> None:
        """Write labels and manifest."""
        labels = np.array(self.source.labels, np.int64)
        file = io.BytesIO()
        np.save(file, labels, allow_pickle=False)
        write_atomic(latents.labels_path(self.out), file.getvalue())
        shards = [
            Shard(file=self.array_path(n).name, images=len(self.files(n)), sha256=read_json(self.note_path(n))["sha256"])
            for n in range(self.total)
        ]
        made: dict[str, Any] = {"versions": provenance.versions(), "command": command, "created_at": provenance.now()}
        made |= {"device": dist.device_label(self.network.device), "processes": dist.world_size()}
        manifest = Manifest(
            plan=self.plan, count=len(self.source.files), classes=self.source.classes, shards=tuple(shards),
            labels_sha256=hashlib.sha256(labels.tobytes()).hexdigest(), files_sha256=self.source.digest_of(self.source.files),
            source=str(self.source.root.resolve()), made=made,
        )  # fmt: skip
        latents.write_manifest(self.out, manifest)


def read_image(path: Path, size: int) -> Pixels | str:
    """(3, size, size) as ADM crops it (the file's own orientation, transparency dropped), or what is wrong with the file."""
    try:
        with Image.open(path) as image:
            return np.asarray(shrink_and_crop(image.convert("RGB"), size)).transpose(2, 0, 1)
    except Exception as error:  # decoders raise anything from OSError to struct.error
        return "no image" if isinstance(error, UnidentifiedImageError) else str(error) or type(error).__name__
