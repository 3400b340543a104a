"""Inception-v3 of 2015-12-05, the network of FID, sFID, IS, KID, precision and recall: torch-fidelity's, equal to TensorFlow's.

Weights are found and checked by bench.weights; no network is touched. `features` is the pool layer (2048), `logits` are those
without bias (1008), as torch-fidelity's and ADM's IS take them, `spatial` is ADM's sFID layer: mixed_6/conv:0, the first
seven channels after the ReLU, as H, W, C (17 * 17 * 7 = 2023).
"""

import io
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bench import weights as third_party
from bench.errors import BenchError
from bench.extractors import Outputs
from bench.extractors._images import check_shape, colour
from bench.float32 import exact_float32

RESIZE = "TF1 bilinear to 299, inside the network"
SPATIAL_CHANNELS = 7
WEIGHTS = third_party.KNOWN["inception"]


class Extractor:
    """Takes colour images of any size; grey ones are repeated to three channels, and their protocol says so."""

    name = "inception"
    dim = 2048
    spatial_dim = 17 * 17 * SPATIAL_CHANNELS
    metrics = (
        "frechet_distance",
        "frechet_distance_infinite",
        "spatial_frechet_distance",
        "inception_score",
        "inception_score_adm",
        "kernel_distance",
        "kernel_distance_subsets",
        "precision",
        "recall",
    )

    def __init__(self, shape: tuple[int, int, int], device: str = "cpu", weights: str = "", sha256: str = "") -> None:
        """`weights`: the file's path; without it, bench.weights.find looks for it. `sha256`: of a file of the user's own."""
        known = WEIGHTS.other(sha256)
        self.conditions = {"resize": RESIZE, **check_shape(self.name, shape), **known.conditions}
        self.title, self.digest, self.device = known.title(self.name), known.sha256, device
        self.net = network(third_party.find(known, weights)).to(device)

    def outputs(self, images: Tensor) -> Outputs:
        """uint8 (B, 1 or 3, H, W) -> the three layers, in one pass."""
        seen: list[Tensor] = []
        images = colour(images, self.device)
        with torch.inference_mode(), exact_float32(self.device):
            # For this call only: exact_float32 admits one thread at a time, so `seen` is this batch's.
            hook = self.net.Mixed_6d.branch1x1.register_forward_hook(lambda *call: seen.append(spatial(call[2])))
            try:
                features, logits = self.net(images)
            finally:
                hook.remove()
        return Outputs(features, logits, seen[0])

    def features(self, images: Tensor) -> Tensor:
        return self.outputs(images).features

    def logits(self, images: Tensor) -> Tensor | None:
        return self.outputs(images).logits


def spatial(x: Tensor) -> Tensor:
    """(B, 192, 17, 17) -> (B, 2023), in TensorFlow's order: height, width, channel."""
    return x[:, :SPATIAL_CHANNELS].permute(0, 2, 3, 1).flatten(1)


# The network


def network(path: Path) -> Any:
    """torch-fidelity's network with the weights of a checked file, on the CPU, in evaluation."""
    cls = network_class()
    state = tensors(path)
    # The class draws random weights first and reads a file by unpickling whatever it holds: it gets one made here, of
    # the tensors just read, and the process's random numbers go on as if nothing had been drawn.
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    try:
        with torch.random.fork_rng(devices=[]):
            net: nn.Module = cls("inception-v3-compat", ["2048", "logits_unbiased"], feature_extractor_weights_path=file)
    except RuntimeError as error:
        raise unusable(path, str(error)) from error
    return net


def tensors(path: Path) -> dict[str, Tensor]:
    """The file's tensors, by name. Nothing else in it is built: no code of its runs."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file raises anything; the digest was right, so it is the user's own file
        raise unusable(path, str(error)) from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise unusable(path, "it holds no table of tensors")
    return state


def unusable(path: Path, reason: str) -> BenchError:
    return BenchError(
        f"{path} holds no weights of this network ({' '.join(reason.split())[:200]})",
        f"a state_dict of torch-fidelity's FeatureExtractorInceptionV3, as {WEIGHTS.described}",
        f"Correct {WEIGHTS.option} and sha256 in bench.toml.",
    )


def network_class() -> Any:
    """torch-fidelity's class. Raises BenchError where it, or the torchvision that it imports, does not load."""
    try:
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    except (ImportError, RuntimeError, OSError, AttributeError) as error:
        # torchvision is compiled against one torch: beside another it raises RuntimeError ("operator torchvision::nms ...").
        raise BenchError(
            f"Extractor inception needs torch-fidelity and torchvision, which do not import ({type(error).__name__}: {error})",
            "torch-fidelity, and the torchvision made for the torch that is installed (both for CPU, or both for one CUDA)",
            "Install them from one place: pip install torch torchvision torch-fidelity. Or use --set eval.extractor=pixels.",
        ) from error
    return FeatureExtractorInceptionV3
