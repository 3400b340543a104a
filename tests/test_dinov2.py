"""DINOv2: a checkpoint in the official layout gives the official network's class token; files that are not it are refused."""

import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from bench import extractors, rng
from bench.errors import BenchError
from bench.extractors import conditions_of, dinov2, title_of
from bench.extractors.dinov2 import Size
from bench.weights import sha256_of
from photo_networks import GRID, dinov2_state

pytest.importorskip("timm")
TINY = Size("l", dim=48, depth=2, heads=3)
SHAPE = (3, 32, 32)


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(dinov2.NETS, "large", TINY)
    monkeypatch.delenv(dinov2.WEIGHTS.environment, raising=False)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    torch.save(dinov2_state(TINY), tmp_path / "dinov2_vitl14_pretrain.pth")
    return tmp_path / "dinov2_vitl14_pretrain.pth"


def load(path: Path, shape: tuple[int, int, int] = SHAPE, **options: str) -> dinov2.Extractor:
    found = extractors.load("dinov2", shape, weights=str(path), **options)
    assert isinstance(found, dinov2.Extractor)
    return found


def noise(shape: tuple[int, int, int] = SHAPE, count: int = 3) -> Tensor:
    return torch.randint(256, (count, *shape), dtype=torch.uint8, generator=rng.generator(0, "noise"))


# The network, written out in float64 from the paper and Meta's names


def cubic(distance: Any) -> Any:
    """The convolution kernel with a = -0.75 that torch takes without antialiasing."""
    d, a = np.abs(distance), -0.75
    near = (a + 2) * d**3 - (a + 3) * d**2 + 1
    far = a * (d**3 - 5 * d**2 + 8 * d - 4)
    return np.where(d <= 1, near, np.where(d < 2, far, 0))


def positions(embedding: Tensor, old: int = GRID, new: int = 16) -> Tensor:
    """torch.hub's rule: output cell i is read at (i + 1/2) old / (new + 0.1) - 1/2, beyond the border its last cell."""
    at = (np.arange(new) + 0.5) * old / (new + 0.1) - 0.5
    matrix = np.zeros((new, old))
    for i, x in enumerate(at):
        for tap in range(math.floor(x) - 1, math.floor(x) + 3):
            matrix[i, min(max(tap, 0), old - 1)] += cubic(x - tap)
    grid = embedding[0, 1:].reshape(old, old, -1).numpy()
    out = torch.from_numpy(np.einsum("ai,bj,ijd->abd", matrix, matrix, grid)).flatten(0, 1)
    return torch.cat([embedding[0, :1], out])


def class_token(state: dict[str, Tensor], x: Tensor, size: Size) -> Tensor:
    """Pixels (B, 3, 224, 224), normalised -> (B, dim)."""
    p = {name: value.double() for name, value in state.items()}

    def linear(name: str, y: Tensor) -> Tensor:
        return y @ p[f"{name}.weight"].T + p[f"{name}.bias"]

    def norm(name: str, y: Tensor) -> Tensor:
        centred = y - y.mean(-1, keepdim=True)
        return centred / (centred.square().mean(-1, keepdim=True) + 1e-6).sqrt() * p[f"{name}.weight"] + p[f"{name}.bias"]

    patches = F.unfold(x.double(), 14, stride=14).transpose(1, 2)  # (B, 256, 3 * 14 * 14), by rows
    patches = patches @ p["patch_embed.proj.weight"].flatten(1).T + p["patch_embed.proj.bias"]
    x = torch.cat([p["cls_token"].expand(len(x), -1, -1), patches], 1) + positions(p["pos_embed"])
    for i in range(size.depth):
        qkv = linear(f"blocks.{i}.attn.qkv", norm(f"blocks.{i}.norm1", x))
        q, k, v = (part.unflatten(-1, (size.heads, -1)).transpose(1, 2) for part in qkv.chunk(3, -1))
        attention = (q @ k.transpose(-1, -2) * (size.dim // size.heads) ** -0.5).softmax(-1)
        mixed = linear(f"blocks.{i}.attn.proj", (attention @ v).transpose(1, 2).flatten(2))
        x = x + p[f"blocks.{i}.ls1.gamma"] * mixed
        hidden = linear(f"blocks.{i}.mlp.fc1", norm(f"blocks.{i}.norm2", x))
        hidden = hidden * (1 + torch.erf(hidden / math.sqrt(2))) / 2
        x = x + p[f"blocks.{i}.ls2.gamma"] * linear(f"blocks.{i}.mlp.fc2", hidden)
    return norm("norm", x[:, 0])


@pytest.mark.parametrize("shape", [SHAPE, (3, 300, 250), (1, 28, 28)])
def test_features_are_the_official_networks_class_token(path: Path, shape: tuple[int, int, int]) -> None:
    images = noise(shape)
    x = F.interpolate(images.expand(-1, 3, -1, -1).double(), (224, 224), mode="bicubic", antialias=True) / 255
    x = (x - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)) / torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    expected = class_token(dinov2_state(TINY), x, TINY)
    torch.testing.assert_close(load(path, shape).features(images).double(), expected, rtol=0, atol=1e-4)
    assert float(expected.std(0).mean()) > 0.1  # the images differ by more than that


def test_positions_are_resampled_as_torch_hub_does() -> None:
    embedding = dinov2_state(TINY)["pos_embed"]
    found = dinov2.resampled(embedding)
    torch.testing.assert_close(found[0].double(), positions(embedding.double()), rtol=0, atol=2e-5)
    assert found.shape == (1, 257, TINY.dim)
    assert torch.equal(dinov2.resampled(found), found)  # a grid of 16 stays


@pytest.mark.parametrize(("net", "name"), [("small", "vit_small"), ("base", "vit_base"), ("large", "vit_large")])
def test_the_networks_are_timms(net: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import timm

    monkeypatch.undo()  # the true sizes
    size = dinov2.NETS[net]
    with torch.device("meta"):
        theirs = timm.create_model(f"{name}_patch14_dinov2", img_size=224, num_classes=0)
    ours = dinov2.skeleton(size)
    assert {k: v.shape for k, v in ours.state_dict().items()} == {k: v.shape for k, v in theirs.state_dict().items()}
    assert str(ours) == str(theirs)  # layers and their eps
    assert ours.blocks[0].attn.num_heads == theirs.blocks[0].attn.num_heads == size.heads  # type: ignore[index, union-attr]


def test_neither_autocast_nor_the_size_of_a_batch_moves_a_feature(path: Path) -> None:
    found, images = load(path), noise(count=5)
    whole = found.features(images)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(found.features(images), whole)
    torch.testing.assert_close(torch.cat([found.features(part) for part in images.split(2)]), whole, rtol=1e-4, atol=1e-5)


# The file


def test_the_files_own_digest_is_recorded(path: Path) -> None:
    before = torch.get_rng_state()
    found = load(path)
    assert torch.equal(torch.get_rng_state(), before)
    assert found.digest == sha256_of(path) == load(path, sha256=sha256_of(path)).digest
    assert (title_of(found), found.dim) == ("dinov2_vitl14", TINY.dim)
    assert "not FID" in conditions_of(found)["comparable"]
    assert found.logits(noise()) is None


def test_the_path_may_come_from_the_environment(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BenchError) as caught:
        extractors.load("dinov2", SHAPE)
    assert "dinov2_vitl14_pretrain.pth" in caught.value.given
    assert "BENCH_DINOV2_WEIGHTS" in caught.value.remedy
    monkeypatch.setenv("BENCH_DINOV2_WEIGHTS", str(path))
    assert extractors.load("dinov2", SHAPE).digest == sha256_of(path)
    assert extractors.load("dinov2", SHAPE, sha256=sha256_of(path)).digest == sha256_of(path)
    with pytest.raises(BenchError, match="no file that can be read"):
        load(path.parent)


def test_another_file_than_the_one_named_is_not_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("read before it was checked"))
    with pytest.raises(BenchError, match="sha256"):
        load(path, sha256="0" * 64)
    with pytest.raises(BenchError, match="64 hexadecimal digits"):
        load(path, sha256="abc")


class Stranger:
    """What a pickle may hold: a call, made while it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[Path]]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("kind", ["registers", "another size", "no table", "an object", "no torch file", "empty", "missing"])
def test_files_that_are_not_the_checkpoint(kind: str, path: Path) -> None:
    state = dinov2_state(TINY)
    contents: dict[str, Any] = {
        "registers": state | {"register_tokens": torch.zeros(1, 4, TINY.dim)},
        "another size": dinov2_state(Size("s", 24, 2, 3)),
        "no table": torch.zeros(3),
        "an object": state | {"mask_token": Stranger(path.with_name("ran"))},
        "empty": {},
        "missing": {name: value for name, value in state.items() if name != "norm.bias"},
    }
    if kind == "no torch file":
        path.write_bytes(b"<!DOCTYPE html>")
    else:
        torch.save(contents[kind], path)
    with pytest.raises(BenchError, match="holds no weights of this network"):
        load(path)
    assert not path.with_name("ran").exists()


def test_unknown_net_and_images(path: Path) -> None:
    with pytest.raises(BenchError, match="did you mean 'large'"):
        load(path, net="larg")
    with pytest.raises(BenchError, match="2x32x32"):
        load(path, (2, 32, 32))


def test_without_timm_the_package_is_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(BenchError, match="natural"):
        load(path)
