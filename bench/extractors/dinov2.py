"""FD-DINOv2: features of Meta's DINOv2 ViT-L/14, from the official checkpoint dinov2_vitl14_pretrain.pth. Not FID.

    [extractors.dinov2]
    weights = "PATH"           # brought by hand: needed
    sha256 = "..."             # optional: checked before the file is read

As in EDM2's calculate_metrics.py (arXiv 2312.02696), after dgm-eval (arXiv 2306.04675): the whole image at 224 x 224,
ImageNet's mean and standard deviation, the class token after the last norm. The position embedding of 37 x 37 is resampled to
16 x 16 by torch.hub's rule. No digest of the checkpoint could be verified here, so the suite knows none: without `sha256` any
file with its tensors is taken, read without running code, and its own sha256 is the extractor's digest: compare it with a
colleague's.
"""

import dataclasses
import math
import os
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench import weights as third_party
from bench.errors import BenchError, unknown
from bench.extractors import _photos
from bench.extractors._images import check_shape, colour
from bench.extractors._photos import bicubic, reading
from bench.float32 import exact_float32

SIDE, PATCH = 224, 14
GRID = SIDE // PATCH
OFFSET = 0.1  # of torch.hub's resampling
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

WEIGHTS = third_party.Weights(
    name="dinov2",
    file_names=("dinov2_vitl14_pretrain.pth",),
    size=0,
    sha256="",
    needed_for="FD-DINOv2",
    environment="BENCH_DINOV2_WEIGHTS",
    published=False,
)


class Size(NamedTuple):
    """Of a vision transformer."""

    letter: str  # in the checkpoint's name
    dim: int
    depth: int
    heads: int


NETS = {"small": Size("s", 384, 12, 6), "base": Size("b", 768, 12, 12), "large": Size("l", 1024, 24, 16)}


class Extractor:
    """`net` names the size of the network that `weights` is of; the scores of papers are of "large"."""

    name = "dinov2"

    def __init__(
        self, shape: tuple[int, int, int], device: str = "cpu", net: str = "large", weights: str = "", sha256: str = ""
    ) -> None:
        grey = check_shape(self.name, shape)
        if net not in NETS:
            raise unknown("net of extractor dinov2", net, NETS, "Correct [extractors.dinov2] in bench.toml.")
        size = NETS[net]
        known, path = checkpoint(size, weights, sha256)
        self.dim, self.digest, self.device = size.dim, known.sha256, device
        self.mean, self.std = (torch.tensor(values, device=device).view(1, 3, 1, 1) for values in (MEAN, STD))
        self.title = f"dinov2_vit{size.letter}{PATCH}"
        self.conditions = {
            "comparable": "FD-DINOv2, not FID" if net == "large" else "not FID, and not the FD-DINOv2 of papers",
            "input": SIDE,
            "resize": "bicubic, antialiased, in float32, neither clamped nor rounded",
            "normalise": "ImageNet mean and standard deviation",
            "positions": f"bicubic at ({GRID} + {OFFSET}) / grid, not antialiased: torch.hub's",
            **grey,
        }
        empty = skeleton(size)
        with reading(known, path):
            self.net = filled(empty, path).to(device)

    @torch.inference_mode()
    def features(self, images: Tensor) -> Tensor:
        with exact_float32(self.device):
            # not clamped: EDM2 does not either. dgm-eval resizes in uint8, so a little differently
            x = (bicubic(colour(images, self.device), SIDE) / 255 - self.mean) / self.std
            out: Tensor = self.net(x)
        return out

    def logits(self, images: Tensor) -> None:
        return None  # DINOv2 has no classes


def checkpoint(size: Size, weights: str, sha256: str) -> tuple[third_party.Weights, Path]:
    """What is known of the file, its digest above all, and where it is. Raises BenchError when it is not there, or not it."""
    known = dataclasses.replace(WEIGHTS, file_names=(f"dinov2_vit{size.letter}{PATCH}_pretrain.pth",))
    given = weights or os.environ.get(known.environment, "")
    path = Path(given).expanduser()
    if not given or not os.access(path, os.R_OK) or not path.is_file():
        wrong = f"{path} is no file that can be read" if given else "no path is set"
        raise BenchError(
            f"{known.needed_for} needs {known.file_names[0]}; {wrong}",
            "the path of the official checkpoint, brought by hand (facebookresearch/dinov2 says where it is)",
            f"Set {known.option} = PATH in bench.toml, or the environment variable {known.environment}.",
        )
    if sha256:
        known = known.other(sha256)
        return known, third_party.find(known, given)
    return known.other(third_party.sha256_of(path)), path


def skeleton(size: Size) -> nn.Module:
    """The network without weights: nothing is drawn. Raises BenchError without timm."""
    vit = _photos.timm(Extractor.name).models.vision_transformer
    with torch.device("meta"):
        net: nn.Module = vit.VisionTransformer(
            img_size=SIDE,
            patch_size=PATCH,
            embed_dim=size.dim,
            depth=size.depth,
            num_heads=size.heads,
            init_values=1.0,  # there are layer scales; their values come from the file
            num_classes=0,
        )
    return net


def filled(net: nn.Module, path: Path) -> nn.Module:
    """The network with the file's weights, in eval mode on the CPU."""
    net.load_state_dict(timm_state(torch.load(path, map_location="cpu", weights_only=True)), strict=True, assign=True)
    return net.eval().requires_grad_(False)


def timm_state(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The official checkpoint's tensors as timm names them: the same names, without the token that masks in training."""
    state = {name: value.float() for name, value in state.items() if name != "mask_token"}
    return state | {"pos_embed": resampled(state["pos_embed"])}


def resampled(positions: Tensor) -> Tensor:
    """Position embedding (1, 1 + M M, dim) of a square grid -> (1, 1 + GRID GRID, dim), the class token's first and untouched.

    torch.hub's network interpolates with the scale (GRID + 0.1) / M, not GRID / M, and without antialiasing: every position
    is read a little to the left, by up to 0.2 of a cell. timm's own loader (antialiased, exact scale) gives other features.
    """
    side = math.isqrt(positions.shape[1] - 1)
    if side == GRID:
        return positions
    grid = positions[:, 1:].reshape(1, side, side, -1).permute(0, 3, 1, 2)
    scale = (GRID + OFFSET) / side
    grid = F.interpolate(grid, scale_factor=(scale, scale), mode="bicubic")
    return torch.cat([positions[:, :1], grid.flatten(2).transpose(1, 2)], 1)
