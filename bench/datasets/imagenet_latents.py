"""Latents of images, as `bench data prepare imagenet` wrote them: ImageNet's, or those of any tree of class folders.

    bench data prepare imagenet --source imagenet/train --vae stabilityai/sd-vae-ft-mse --out latents
    bench run soflow --dataset imagenet_latents --set datasets.imagenet_latents.folder=latents

Reads the folder by memory map, and the VAE of its manifest when images are decoded.
"""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench import latents, rng
from bench.dist import moved
from bench.errors import BenchError
from bench.vae import PRECISIONS, Vae, cached

TABLE = "[datasets.imagenet_latents]"


@dataclass
class Dataset:
    """x0 = scale * latent, about of unit variance; scale, shape, classes and VAE are the manifest's.

    Training sees a sample of the posterior, and the image or its mirror image where both were prepared. Raises BenchError for
    a folder that is not whole, and for a VAE that is not the one that made it. Digests of shards: `bench data verify`.
    """

    folder: str = ""  # what `bench data prepare` wrote, absolute or below the current folder; ~ is the home folder
    vae: str = ""  # where the VAE lies, a folder or a hub id in the cache; "": as the manifest names it
    decoder_precision: str = "fp32"  # fp32, bf16 or fp16; part of the protocol
    decoder_batch: int = 32  # latents that are decoded at a time, >= 1
    name: str = field(default="imagenet_latents", init=False)
    classes: tuple[str, ...] = field(init=False)  # by label
    shape: tuple[int, int, int] = field(init=False)
    num_classes: int = field(init=False)
    train_images: int = field(init=False)
    digest: str = field(init=False)  # over the manifest: digests of all shards, VAE, scale
    extractor: str = field(default="pixels", init=False)
    decodes: bool = field(default=True, init=False)

    def __post_init__(self) -> None:
        check_options(self)
        root = Path(self.folder).expanduser()
        self._manifest = latents.read_manifest(root)
        self._moments = latents.Moments(root, self._manifest)
        self._labels = latents.read_labels(root, self._manifest)
        self.classes, self.shape = self._manifest.classes, self._manifest.plan.shape
        self.num_classes, self.train_images = len(self.classes), self._manifest.count
        self.digest = self._manifest.digest
        self._device = torch.device("cpu")  # where images decode that are on no GPU

    # Latents

    def images(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """The posterior's mean of the image as it is."""
        moments = self._moments.read(index, torch.zeros_like(index))
        return moments[:, 0] * self._manifest.plan.scale, self._label(index, moments)

    def varied(self, index: Tensor, positions: Tensor, seed: int) -> tuple[Tensor, Tensor]:
        """A sample of the posterior, of the image or its mirror image: by (seed, position in the stream) alone."""
        if not len(index):
            return self.images(index)
        versions = len(self._manifest.plan.versions)
        version = torch.tensor([rng.derive(seed, "flip", i) % versions for i in positions.tolist()], dtype=torch.int64)
        moments = self._moments.read(index, version)
        noise = moved(rng.image_noise(seed, "posterior", positions.tolist(), self.shape), moments.device)
        return (moments[:, 0] + moments[:, 1] * noise) * self._manifest.plan.scale, self._label(index, moments)

    def _label(self, index: Tensor, moments: Tensor) -> Tensor:
        return moved(self._labels[index], moments.device)

    def place(self, device: torch.device) -> str:
        """On the GPU where they take at most half of its free memory; images come on that device from then on."""
        held, self._device = self._moments, device
        size = latents.size_text(held.bytes)
        if held.whole is None and device.type == "cuda" and held.bytes <= torch.cuda.mem_get_info(device)[0] // 2:
            held.bring(device)
        if held.whole is not None:
            return f"latents on the GPU ({size})"
        return f"latents read from disk by memory map ({size})"

    # Pixels

    @cached_property
    def conditions(self) -> dict[str, Any]:
        """Of the decoder: what moves a score."""
        return {"decoder_vae": self._manifest.plan.vae_sha256, "decoder_precision": self.decoder_precision}

    def to_uint8(self, x0: Tensor) -> Tensor:
        """On x0's device, or on that of `place` where x0 is on the CPU; the images come on the decoder's."""
        device = self._device if x0.device.type == "cpu" else x0.device
        return self._decoder(device).to_uint8(x0 / self._manifest.plan.scale)

    def _decoder(self, device: torch.device) -> Vae:
        """Raises BenchError unless it is the VAE that made the latents."""
        plan = self._manifest.plan
        found = cached(self.vae or plan.vae, str(device), self.decoder_precision, self.decoder_batch)
        if wrong := mismatch(found, plan):
            remedy = f"Set {TABLE} vae to the VAE that `bench data prepare` was given ({plan.vae})."
            given = f"The latents in {self.folder} do not belong to the VAE {found.name}: {wrong}"
            raise BenchError(given, described(plan), remedy)
        return found


def mismatch(network: Vae, plan: latents.Plan) -> str:
    """Why latents of this plan are none of the VAE; "" where they are."""
    if network.digest != plan.vae_sha256:
        return f"its weights have sha256 {network.digest[:12]}..., those of the manifest {plan.vae_sha256[:12]}..."
    if network.scale != plan.scale:
        return f"its scale is {network.scale:g}, that of the manifest {plan.scale:g}"
    return ""


def described(plan: latents.Plan) -> str:
    return f"{plan.vae} with weights of sha256 {plan.vae_sha256[:12]}... and scale {plan.scale:g}"


def check_options(dataset: Dataset) -> None:
    """Raises BenchError for what no folder could mend."""
    precision, batch = dataset.decoder_precision, dataset.decoder_batch
    given: dict[str, tuple[Any, bool, str]] = {
        "folder": (dataset.folder, isinstance(dataset.folder, str) and bool(dataset.folder.strip()), "a prepared folder"),
        "vae": (dataset.vae, isinstance(dataset.vae, str), "a folder or a hub id"),
        "decoder_precision": (precision, precision in PRECISIONS, ", ".join(PRECISIONS)),
        "decoder_batch": (batch, type(batch) is int and batch > 0, "a whole number >= 1"),
    }
    for option, (value, holds, allowed) in given.items():
        if not holds:
            remedy = f"Correct {TABLE} in bench.toml, or use --set datasets.imagenet_latents.{option}=..."
            raise BenchError(f"imagenet_latents: {option} = {value!r}", allowed, remedy)
