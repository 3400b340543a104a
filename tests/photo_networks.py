"""Random networks in the layouts of NVIDIA's TorchScript Inception and of Meta's DINOv2 checkpoints, in files as theirs.

path, sha256 = torchscript_weights()     # for clean_fid and clean_fid_legacy
path, sha256 = dinov2_weights("small")   # for dinov2, net="small"
"""

import functools
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench import rng
from bench.extractors.dinov2 import NETS, Size
from bench.weights import sha256_of
from random_networks import folder, saved

GRID = 37  # of positions in the official checkpoints, trained at 518 px


class Layers(nn.Module):
    """(B, 3, 299, 299) in about [-1, 1] -> (B, 2048, 1, 1), sensitive to fine structure."""

    def __init__(self) -> None:
        super().__init__()
        generator = rng.generator(0, "layers")
        self.register_buffer("kernel", torch.randn(16, 3, 7, 7, generator=generator) / 12)
        self.register_buffer("matrix", torch.randn(16 * 49, 2048, generator=generator) / 28)

    def forward(self, x: Tensor) -> Tensor:
        x = F.avg_pool2d(F.relu(F.conv2d(x, self.kernel, stride=6)), 7)  # (B, 16, 7, 7)
        return F.softplus(x.flatten(1) @ self.matrix)[:, :, None, None]


class Inception(nn.Module):
    """The interface of NVIDIA's."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = Layers()

    def forward(self, img: Tensor, return_features: bool = False) -> Tensor:
        """TensorFlow 1's bilinear resize: output i is read at i H / 299. Only features are asked of it."""
        assert return_features
        for dim in (2, 3):
            size = img.shape[dim]
            at = torch.arange(299, device=img.device) * (size / 299)
            low = at.floor().long()
            high = (low + 1).clamp(max=size - 1)
            share = (at - low).view(-1, 1) if dim == 2 else at - low
            img = img.index_select(dim, low) * (1 - share) + img.index_select(dim, high) * share
        return self.layers((img - 128) / 128)


def write_torchscript(net: nn.Module, path: Path) -> Path:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`torch.jit")  # deprecated; the file that it stands for is TorchScript
        torch.jit.save(torch.jit.script(net.eval()), path)  # type: ignore[no-untyped-call]
    return path


@functools.lru_cache(maxsize=1)
def torchscript_weights() -> tuple[Path, str]:
    """The path and the sha256 of a file as clean-fid reads it, under its name. Made once a process."""
    path = write_torchscript(Inception(), folder() / "inception-2015-12-05.pt")
    return path, sha256_of(path)


def dinov2_state(size: Size, grid: int = GRID) -> dict[str, Tensor]:
    """Tensors under the names, and in the shapes, of Meta's checkpoint."""
    generator, dim = rng.generator(0, "dinov2"), size.dim

    def tensor(*shape: int, mean: float = 0.0, std: float = 0.0) -> Tensor:
        return mean + (std or shape[-1] ** -0.5) * torch.randn(shape, generator=generator)

    state = {
        "cls_token": tensor(1, 1, dim, std=1),
        "pos_embed": tensor(1, 1 + grid**2, dim, std=1),
        "mask_token": tensor(1, dim),
        "patch_embed.proj.weight": tensor(dim, 3, 14, 14, std=0.05),
        "patch_embed.proj.bias": tensor(dim),
        "norm.weight": tensor(dim, mean=1, std=0.2),
        "norm.bias": tensor(dim),
    }
    for block in range(size.depth):
        layers = {"attn.qkv": (3 * dim, dim), "attn.proj": (dim, dim), "mlp.fc1": (4 * dim, dim), "mlp.fc2": (dim, 4 * dim)}
        for name, shape in layers.items():
            state[f"blocks.{block}.{name}.weight"] = tensor(*shape, std=2 * shape[1] ** -0.5)
            state[f"blocks.{block}.{name}.bias"] = tensor(shape[0])
        for name in ("norm1", "norm2"):
            state[f"blocks.{block}.{name}.weight"] = tensor(dim, mean=1, std=0.2)
            state[f"blocks.{block}.{name}.bias"] = tensor(dim)
        for name in ("ls1", "ls2"):
            state[f"blocks.{block}.{name}.gamma"] = tensor(dim, mean=1, std=0.3)
    return state


@functools.lru_cache(maxsize=1)
def dinov2_weights(net: str) -> tuple[Path, str]:
    """The path and the sha256 of a whole checkpoint: 88 MB for "small". Made once a process."""
    return saved(f"dinov2_{net}.pth", dinov2_state(NETS[net]))
