"""clean-fid's two protocols on NVIDIA's TorchScript Inception (arXiv 2104.11222), without clean-fid: a second opinion on FID.

`clean` resizes to 299 before the network, bicubic and antialiased, as Pillow does it; `legacy_tensorflow` leaves the resize to
the network: TensorFlow 1's bilinear one, not antialiased. The two differ by more than methods do: never mix them.
"""

import dataclasses
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench import weights as third_party
from bench.extractors._images import check_shape, colour
from bench.extractors._photos import RESIZE, clamped_bicubic, reading
from bench.float32 import exact_float32

SIDE = 299  # of Inception's input


class CleanFid:
    """dim = 2048: the pooled features. A subclass says where the resize is."""

    name: str
    resize_inside: bool
    dim = 2048

    def __init__(self, shape: tuple[int, int, int], device: str = "cpu", weights: str = "", sha256: str = "") -> None:
        """`weights`: the file's path; without it, bench.weights.find looks for it. `sha256`: of a file of the user's own."""
        grey = check_shape(self.name, shape)
        known = dataclasses.replace(third_party.KNOWN["inception_torchscript"], extractor=self.name).other(sha256)
        resize = "bilinear as in TensorFlow 1, to 299, inside the network" if self.resize_inside else f"{RESIZE}, to {SIDE}"
        self.conditions = {"resize": resize, **grey, **known.conditions}
        self.title, self.digest, self.device = known.title(self.name), known.sha256, device
        path = third_party.find(known, weights)
        with reading(known, path):
            self.net, self.layers = network(path, device)

    @torch.inference_mode()
    def features(self, images: Tensor) -> Tensor:
        images = colour(images, self.device)
        with exact_float32(self.device):
            if self.resize_inside:
                out: Tensor = self.net(images.float(), return_features=True)
            else:
                out = self.layers((clamped_bicubic(images, SIDE) - 128) / 128)
        return out.view(len(images), self.dim)

    def logits(self, images: Tensor) -> None:
        return None  # clean-fid has no inception score


def network(path: Path, device: str) -> tuple[Any, Any]:
    """The TorchScript module in a checked file, and its part behind the resize. torch interprets it: no Python is unpickled."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`torch.jit.load` is")  # deprecated, for a format that this file is not in
        net = torch.jit.load(path, map_location=device).eval()  # type: ignore[no-untyped-call]
    return net, net.layers
