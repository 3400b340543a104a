"""Are prepared latents whole, and do they decode to the images that they were made of?

print(verify(folder).faults)                                  # () where every byte is as it was written
print(check(folder, Looking(vae="other-vae")).faults)         # says that the VAE is another, and what that does
"""

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bench import dist, extractors, latents, metrics, vae
from bench.datasets import quantise
from bench.datasets.imagenet_latents import mismatch
from bench.errors import BenchError
from bench.extractors import Extractor
from bench.latents import FLIPPED, Manifest
from bench.shards import read_image
from bench.sources import list_source

# What the stored latents' reconstruction may differ from a fresh one's. float16 moves it by less than 0.0005 of its spread
# (tests/test_latent_checks.py measures 0.0003); the mistyped scale that is in circulation, 0.18125 for 0.18215, by about 0.004.
DRIFT = 0.002
PSNR_LOSS = 0.1  # dB
FEATURES = (1.1, 0.001)  # the fresh reconstruction's distance times this, and this share of the real features' variance
SPREAD = (0.5, 2.0)  # of scale * latent: that it is about 1 is what the scale is for


# Verify


@dataclass(frozen=True)
class Verified:
    checked: tuple[str, ...]
    faults: tuple[str, ...]


def verify(folder: Path) -> Verified:
    """Read everything and hold it against the manifest. Raises BenchError where there is no manifest to hold it against."""
    manifest = latents.read_manifest(folder)
    checked, faults = [f"manifest: {manifest.count:,} images, {latents.describe(manifest.plan)}"], []
    try:
        counts = torch.bincount(latents.read_labels(folder, manifest), minlength=len(manifest.classes))
        checked.append(f"labels: {len(manifest.classes):,} classes of {int(counts.min()):,} to {int(counts.max()):,} images")
    except BenchError as error:
        faults.append(error.given)
    if sum(shard.images for shard in manifest.shards) != manifest.count:
        faults.append(f"the shards hold {sum(shard.images for shard in manifest.shards):,} images, not {manifest.count:,}")
    wrong = list(_wrong_shards(folder, manifest))
    whole = len(manifest.shards) - len(wrong)
    checked.append(f"{whole:,} of {len(manifest.shards):,} shards: digests, shapes, finite numbers")
    return Verified(tuple(checked), (*faults, *wrong))


def _wrong_shards(folder: Path, manifest: Manifest) -> Iterator[str]:
    plan = manifest.plan
    for shard in manifest.shards:
        path = latents.shard_path(folder, shard.file)
        shape = (shard.images, len(plan.versions), latents.MOMENTS, *plan.shape)
        try:
            values = latents.open_array(path, shape, plan.dtype)
        except BenchError as error:
            yield error.given
            continue
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != shard.sha256:
            yield f"{path} has sha256 {found[:12]}..., the manifest says {shard.sha256[:12]}..."
        elif not (np.isfinite(values).all() and (values[:, :, 1] >= 0).all()):
            yield f"{path} holds numbers that are no means and standard deviations"


# Check


@dataclass(frozen=True, kw_only=True)
class Looking:
    """How to check."""

    vae: str = ""  # "": as the manifest names it
    source: str = ""  # "": as the manifest names it
    extractor: str = "pixels"
    images: int = 256  # spread evenly over the data
    device: str = "auto"


@dataclass(frozen=True, kw_only=True)
class Reconstruction:
    """Of decode(encode(image)), now, and of what is stored: as similar to the images as the VAE can make it?"""

    images: int
    vae: str
    psnr: float  # dB, of the fresh one, over all pixels
    psnr_stored: float
    distance: float  # Frechet, between the features of the images and of the fresh ones
    distance_stored: float
    drift: float  # root mean square between the two, relative to the fresh one's spread
    spread: float  # standard deviation of x0 = scale * latent
    variance: float  # of the images' features, summed
    extractor: str
    mismatch: str  # between VAE and manifest; "" for none

    @property
    def faults(self) -> tuple[str, ...]:
        """Why this is no reconstruction by the VAE and scale that the latents were made with; () where it is one."""
        factor, share = FEATURES
        allowed = factor * self.distance + share * self.variance
        found = {
            self.mismatch: bool(self.mismatch),
            f"decoding what is stored moves the pictures by {self.drift:.2%} of their spread (allowed: {DRIFT:.2%})": not (
                self.drift <= DRIFT
            ),
            f"PSNR falls from {self.psnr:.2f} to {self.psnr_stored:.2f} dB (allowed: {PSNR_LOSS} dB)": not (
                self.psnr_stored >= self.psnr - PSNR_LOSS
            ),
            f"the feature distance rises from {self.distance:.4g} to {self.distance_stored:.4g} (allowed: {allowed:.4g})": not (
                self.distance_stored <= allowed
            ),
            f"scaled latents have a standard deviation of {self.spread:.3g} (allowed: {SPREAD[0]} to {SPREAD[1]})": not (
                SPREAD[0] <= self.spread <= SPREAD[1]
            ),
        }
        return tuple(text for text, wrong in found.items() if wrong)


def check(folder: Path, looking: Looking) -> Reconstruction:
    """Encode and decode some images anew and compare with what is stored, in float32.

    What the VAE itself loses is no fault: stored latents are held against a fresh reconstruction. Raises BenchError where
    VAE, extractor or images are not to be had, or the images are others than the manifest's.
    """
    manifest = latents.read_manifest(folder)
    network = vae.load(looking.vae or manifest.plan.vae, device=str(dist.pick_device(looking.device)))
    if network.channels != manifest.plan.shape[0] or network.factor * manifest.plan.shape[1] != manifest.plan.size:
        given = f"The VAE {network.name} makes {network.channels} channels at 1/{network.factor} of the size"
        raise BenchError(given, f"one for {latents.describe(manifest.plan)}", "Choose another --vae.")
    judge = extractors.load(looking.extractor, (3, manifest.plan.size, manifest.plan.size))
    index = torch.linspace(0, manifest.count - 1, min(looking.images, manifest.count)).round().long()
    versions = len(manifest.plan.versions)
    version = torch.arange(len(index)) % versions
    real = read_pixels(manifest, looking.source, index)
    flipped = torch.tensor([manifest.plan.versions[v] == FLIPPED for v in version.tolist()])
    real[flipped] = real[flipped].flip(-1)
    x0 = manifest.plan.scale * latents.Moments(folder, manifest).read(index, version)[:, 0]
    fresh = network.decode(network.encode(real)[0]).cpu()
    stored = network.decode(x0 / network.scale).cpu()
    return compare(real, fresh, stored, x0, judge, network, manifest)


def read_pixels(manifest: Manifest, source: str, index: Tensor) -> Tensor:
    """uint8 (B, 3, size, size) of the images at these positions. Raises BenchError unless they are the manifest's."""
    root = Path(source or manifest.source).expanduser()
    listed = list_source(root, manifest.plan.subset)
    if listed.digest_of(listed.files) != manifest.files_sha256:
        given = f"{root} holds other images than the latents were made of"
        raise BenchError(given, "the same files, by name and length", "Name their folder with --source.")
    pixels = [read_image(root / listed.files[i], manifest.plan.size) for i in index.tolist()]
    broken = [listed.files[i] for i, found in zip(index.tolist(), pixels, strict=True) if isinstance(found, str)]
    if broken:
        raise BenchError(f"{len(broken)} images can not be read: {', '.join(broken[:3])}", "whole images", "Restore them.")
    return torch.from_numpy(np.stack(pixels))


def compare(
    real: Tensor, fresh: Tensor, stored: Tensor, x0: Tensor, judge: Extractor, network: vae.Vae, manifest: Manifest
) -> Reconstruction:
    """`real` is uint8, the others float32; all (B, ...)."""
    pictures = (real, quantise(fresh), quantise(stored))
    of_real, of_fresh, of_stored = (metrics.statistics(judge.features(images).cpu()) for images in pictures)
    return Reconstruction(
        images=len(real),
        vae=network.name,
        psnr=psnr(pictures[1], real),
        psnr_stored=psnr(pictures[2], real),
        distance=metrics.frechet_distance(of_real, of_fresh),
        distance_stored=metrics.frechet_distance(of_real, of_stored),
        drift=float((stored - fresh).double().square().mean().sqrt() / fresh.double().std()),
        spread=float(x0.double().std()),
        variance=float(of_real.covariance.diagonal().sum()),
        extractor=judge.name,
        mismatch=mismatch(network, manifest.plan),
    )


def psnr(a: Tensor, b: Tensor) -> float:
    """Peak signal to noise ratio of uint8 images, dB, over all their pixels; infinite where they are equal."""
    error = float((a.double() - b.double()).square().mean())
    return 10 * math.log10(255**2 / error) if error else math.inf
