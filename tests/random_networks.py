"""Networks of third parties with random weights, in files as theirs: what a test uses where the real ones are a download.

path, sha256 = inception_weights()
extractors.load("inception", (3, 32, 32), weights=str(path), sha256=sha256)
"""

import atexit
import functools
import hashlib
import io
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@functools.lru_cache(maxsize=1)
def folder() -> Path:
    """For files that are made once a process; deleted at its end."""
    path = Path(tempfile.mkdtemp(prefix="bench-random-networks-"))
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


def saved(name: str, tensors: Mapping[str, Tensor]) -> tuple[Path, str]:
    """The path and the sha256 of a state_dict, written as torch.save does."""
    path = folder() / name
    torch.save(tensors, path)
    return path, hashlib.sha256(path.read_bytes()).hexdigest()


def varied_images(count: int, side: int = 32, seed: int = 0) -> Tensor:
    """uint8 (count, 3, side, side): blurred colours of all strengths; every third is uniform noise."""
    generator = torch.Generator().manual_seed(seed)
    colour, strength = torch.rand((count, 3, 1, 1), generator=generator), torch.rand((count, 1, 1, 1), generator=generator)
    coarse = F.interpolate(torch.rand((count, 3, 4, 4), generator=generator), (side, side), mode="bilinear")
    images = colour * (1 - strength) + coarse * strength
    images[2::3] = torch.rand((len(images[2::3]), 3, side, side), generator=generator)
    return (images * 255).round().byte()


@torch.no_grad()
def randomise(net: nn.Module, seed: int = 0) -> nn.Module:
    """Random weights in place."""
    generator = torch.Generator().manual_seed(seed)
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=generator)
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=module.in_features**-0.5, generator=generator)
        elif isinstance(module, nn.BatchNorm2d) and module.affine:
            nn.init.uniform_(module.weight, 0.9, 1.1, generator=generator)
            nn.init.normal_(module.bias, std=0.1, generator=generator)
    return net


@torch.no_grad()
def fit_norms(net: nn.Module, images: Tensor) -> nn.Module:
    """Batch norms as trained on `images`: else a random network gives nearly the same features for every image."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None  # the plain mean
    net.train()(images)
    return net.eval()


@functools.lru_cache(maxsize=1)
def inception_weights() -> tuple[Path, str]:
    """A file as torch-fidelity's Inception reads it, and its sha256. 96 MB, made once a process."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    class Unread(FeatureExtractorInceptionV3):
        def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
            """Nothing: the class asks for a file, and the file is what is made here."""

    empty = io.BytesIO()
    torch.save({}, empty)
    empty.seek(0)
    with torch.random.fork_rng(devices=[]):
        net = Unread("inception-v3-compat", ["2048"], feature_extractor_weights_path=empty)
    fit_norms(randomise(net), varied_images(6))
    features = net(varied_images(6))[0].mean(0, keepdim=True)
    weight = net.fc.weight  # the part of the logits that is common to all images is taken out, for an inception score over 1
    weight.copy_(2 * (weight - weight @ features.T * features / features.square().sum()))
    return saved("inception.pth", net.state_dict())
