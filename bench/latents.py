"""Latents on disk: shards of posterior means and standard deviations, labels, and the manifest that goes with them.

    FOLDER/manifest.json          what they are: VAE, scale, crop, size, classes, versions, a digest of each shard
    FOLDER/labels.npy             (count,) int64
    FOLDER/shards/00000.npy       (n, versions, 2, C, h, w) float16 or float32; 2: mean, standard deviation
    FOLDER/shards/00000.json      while they are written: the shard's digest, and of which images it is

    manifest = read_manifest(folder)
    moments = Moments(folder, manifest)
    moments.read(index, version)          # (B, 2, C, h, w) float32

Reads arrays without pickle, by memory map.
"""

import hashlib
import json
import math
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bench.dist import moved
from bench.errors import BenchError
from bench.store import read_json, write_atomic

FORMAT = 1
CROP = "adm-centre"  # box halvings, bicubic to the size, the centre: bench.datasets._photos.shrink_and_crop
PLAIN, FLIPPED = "plain", "flipped"
MOMENTS = 2  # mean, standard deviation
REMEDY = "Make it with `bench data prepare imagenet`, or correct `folder`."

Array = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is made: two folders with the same plan and the same images hold the same latents."""

    vae: str  # as it was named: an id or a folder
    vae_sha256: str
    scale: float  # x0 = scale * latent
    shape: tuple[int, int, int]  # (C, h, w) of a latent
    size: int  # pixels, of the square images
    crop: str = CROP
    dtype: str = "float32"  # float16 | float32
    versions: tuple[str, ...] = (PLAIN,)
    subset: int = 0  # images, equally many a class; 0: all
    shard_images: int = 4096
    format: int = FORMAT

    def differences(self, other: "Plan") -> list[str]:
        """What is not equal, for people; how the VAE is called does not count."""
        ours, theirs = asdict(self), asdict(other)
        return [f"{key} {theirs[key]}, now {ours[key]}" for key in ours if key != "vae" and ours[key] != theirs[key]]

    @property
    def image_bytes(self) -> int:
        return len(self.versions) * MOMENTS * math.prod(self.shape) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True, kw_only=True)
class Shard:
    """One file, and the images in it."""

    file: str  # below shards/
    images: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Manifest:
    plan: Plan
    count: int
    classes: tuple[str, ...]  # by label
    labels_sha256: str
    files_sha256: str  # of the images' names, in order
    shards: tuple[Shard, ...]
    source: str  # the folder that the images came from
    made: dict[str, Any]  # versions, device, time: for people

    @property
    def digest(self) -> str:
        """sha256 of all that decides what is trained on."""
        plan = asdict(self.plan) | {"vae": ""}
        text = json.dumps([plan, self.labels_sha256, self.classes, [shard.sha256 for shard in self.shards]], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


# The manifest


def manifest_path(folder: Path) -> Path:
    return folder / "manifest.json"


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """With a digest of itself: what was changed by hand is noticed."""
    record = json.loads(json.dumps(asdict(manifest)))
    write_atomic(manifest_path(folder), json.dumps(record | {"sha256": _sealed(record)}, indent=1) + "\n")


def read_manifest(folder: Path) -> Manifest:
    """Raises BenchError where there is none, or it is not as `bench data prepare` wrote it."""
    path = manifest_path(folder)
    if not path.is_file():
        what = "does not exist" if not folder.exists() else "has no manifest.json: it holds no latents, or not all of them yet"
        raise BenchError(f"{folder} {what}", "a folder that `bench data prepare` finished", REMEDY)
    record = read_json(path)
    seal = record.pop("sha256", "")
    if seal != _sealed(record):
        given = f"{path} was changed after it was written, or is damaged"
        raise BenchError(given, "the manifest as it was written", "Restore it, or run the same `bench data prepare` again.")
    if record["plan"]["format"] != FORMAT:
        given = f"{path} is of format {record['plan']['format']!r}"
        raise BenchError(given, f"format {FORMAT}", "Use the version of the suite that wrote it, or prepare the data again.")
    shards = tuple(Shard(**shard) for shard in record.pop("shards"))
    plan, classes = plan_of(record.pop("plan")), tuple(record.pop("classes"))
    return Manifest(plan=plan, shards=shards, classes=classes, **record)


def plan_of(record: dict[str, Any]) -> Plan:
    """A plan from its JSON. Raises BenchError where entries are missing or too many."""
    if set(record) != {field.name for field in fields(Plan)}:
        raise BenchError("A plan of latents with other entries", ", ".join(field.name for field in fields(Plan)), REMEDY)
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in record.items()}
    return Plan(**values)


def describe(plan: Plan) -> str:
    """For people: "4x32x32 float16 latents of 256x256 pixels, plain and flipped"."""
    shape = "x".join(map(str, plan.shape))
    return f"{shape} {plan.dtype} latents of {plan.size}x{plan.size} pixels, {' and '.join(plan.versions)}"


def size_text(count: int) -> str:
    """Bytes for people: "10.5 GB", "0.2 MB"."""
    return f"{count / 1e9:.3g} GB" if count >= 1e9 else f"{count / 1e6:.3g} MB"


def _sealed(record: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


# Arrays


def shard_path(folder: Path, file: str) -> Path:
    return folder / "shards" / file


def labels_path(folder: Path) -> Path:
    return folder / "labels.npy"


def open_array(path: Path, shape: tuple[int, ...], dtype: str) -> Array:
    """The array, mapped from its file. Raises BenchError unless it is a whole one of this shape and type."""
    try:
        found: Any = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError as error:
        raise BenchError(f"{path} is missing", "every file that the manifest names", REMEDY) from error
    except (OSError, ValueError, EOFError) as error:
        raise BenchError(f"{path} is damaged ({error})", "an array as it was written", _AGAIN) from error
    if not isinstance(found, np.ndarray) or found.shape != shape or found.dtype != np.dtype(dtype):
        given = f"{path} holds {getattr(found, 'dtype', 'no array')} {getattr(found, 'shape', '')}"
        raise BenchError(given, f"{dtype} {shape}", _AGAIN)
    return found


_AGAIN = "Run the same `bench data prepare` again: it makes anew what is damaged."


def read_labels(folder: Path, manifest: Manifest) -> Tensor:
    """(count,) int64, checked by digest and range."""
    labels = np.array(open_array(labels_path(folder), (manifest.count,), "int64"))
    if hashlib.sha256(labels.tobytes()).hexdigest() != manifest.labels_sha256:
        raise BenchError(f"{labels_path(folder)} is not the one that the manifest names", "the labels as written", _AGAIN)
    if not ((labels >= 0) & (labels < len(manifest.classes))).all():
        raise BenchError(f"{labels_path(folder)} holds labels that are no classes", f"0 to {len(manifest.classes) - 1}", REMEDY)
    return torch.from_numpy(labels)


class Moments:
    """Means and standard deviations by position: mapped from the shards, or on a device after `bring`."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        """Opens every shard. Raises BenchError for one that is missing or truncated; bits are for `bench data verify`."""
        self.plan, self.count = manifest.plan, manifest.count
        self.whole: Tensor | None = None  # (count, versions, 2, C, h, w) on a device, as stored
        row = (len(self.plan.versions), MOMENTS, *self.plan.shape)
        self.shards = [
            open_array(shard_path(folder, shard.file), (shard.images, *row), self.plan.dtype) for shard in manifest.shards
        ]

    @property
    def bytes(self) -> int:
        return self.count * self.plan.image_bytes

    def bring(self, device: torch.device) -> None:
        """Copy all of it to the device, shard by shard."""
        row = (len(self.plan.versions), MOMENTS, *self.plan.shape)
        whole = torch.empty(self.count, *row, dtype=getattr(torch, self.plan.dtype), device=device)
        for number, shard in enumerate(self.shards):
            start = number * self.plan.shard_images
            whole[start : start + len(shard)] = torch.from_numpy(np.array(shard)).to(device)
        self.whole = whole

    def read(self, index: Tensor, version: Tensor) -> Tensor:
        """(B, 2, C, h, w) float32 of the images `index` (B,) in their versions (B,), both int64 on the CPU."""
        if self.whole is not None:
            return self.whole[moved(index, self.whole.device), moved(version, self.whole.device)].float()
        found = np.empty((len(index), MOMENTS, *self.plan.shape), np.float32)
        shard, row = (index // self.plan.shard_images).numpy(), (index % self.plan.shard_images).numpy()
        for number in np.unique(shard):
            there = shard == number
            found[there] = self.shards[number][row[there], version.numpy()[there]]
        return torch.from_numpy(found)
