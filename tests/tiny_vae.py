"""A tiny AutoencoderKL with the form of Stable Diffusion's (4 channels, 8 times smaller), and trees of images to encode."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL

from bench import latents
from bench.latents import Manifest
from bench.prepare import Ways
from pictures import make_tree

SIDE = 32  # pixels; latents are 4x4x4
CLASSES = {"n01": 5, "n02": 4, "n03": 5}
SHARD = 4  # 14 images: shards of 4, 4, 4 and 2


def save_vae(folder: Path, seed: int = 0, scale: float | None = None) -> Path:
    """Of random weights, with the scale that makes latents of uniform noise about of unit variance."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        vae = AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            block_out_channels=(8, 8, 8, 8),
            norm_num_groups=4,
            latent_channels=4,
            sample_size=SIDE,
            scaling_factor=scale or 1.0,
        ).eval()
    if scale is None:
        noise = torch.rand(8, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0)) * 2 - 1
        with torch.no_grad():
            vae.register_to_config(scaling_factor=1 / float(vae.encode(noise).latent_dist.mean.std()))
    vae.save_pretrained(folder, safe_serialization=True)
    return folder


def save_tree(folder: Path) -> Path:
    """14 images in 3 classes, larger than they are encoded and not square."""
    return make_tree(folder, CLASSES, width=SIDE + 9, height=SIDE + 2)


def tiny_ways(vae: Path, **changes: object) -> Ways:
    options = {"vae": str(vae), "size": SIDE, "batch": 3, "shard_images": SHARD, "device": "cpu"} | changes
    return Ways(**options)  # type: ignore[arg-type]


# What was written


def content(folder: Path) -> dict[str, Any]:
    """All that was written, but for times and versions."""
    found: dict[str, Any] = {path.name: path.read_bytes() for path in sorted(folder.rglob("*.npy"))}
    manifest = dataclasses.asdict(latents.read_manifest(folder))
    del manifest["made"]
    return found | {"manifest": manifest}


def moments(folder: Path, manifest: Manifest, version: int = 0) -> torch.Tensor:
    index = torch.arange(manifest.count)
    return latents.Moments(folder, manifest).read(index, torch.full_like(index, version))


# Killed


class Killed(BaseException):
    """No handler of the suite's catches it, as none catches a SIGKILL."""


def stop_at(monkeypatch: pytest.MonkeyPatch, call: int, where: Any, name: str, calls: list[int] | None = None) -> list[int]:
    """Kill in the call of this number; returns a list that grows with each call."""
    calls = [] if calls is None else calls
    work = getattr(where, name)

    def wrapper(*given: Any) -> Any:
        calls.append(1)
        if len(calls) == call:
            raise Killed
        return work(*given)

    monkeypatch.setattr(where, name, wrapper)
    return calls
