"""Both protocols against clean-fid itself, on the same PNG folders, with a small TorchScript network in Inception's place."""

import dataclasses
import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

import photo_networks
from bench import extractors, metrics, rng
from bench import weights as third_party
from bench.errors import BenchError
from bench.extractors import clean_fid, clean_fid_legacy, conditions_of, metrics_of, title_of

pytestmark = [
    pytest.mark.filterwarnings("ignore:`torch.jit.load:FutureWarning"),  # clean-fid's; ours is quiet by itself
    pytest.mark.filterwarnings("ignore:`torch.jit.load:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The `disp` argument is deprecated:DeprecationWarning"),  # clean-fid's sqrtm
    pytest.mark.filterwarnings("ignore:'mode' parameter is deprecated:DeprecationWarning"),  # clean-fid's Image.fromarray
]
Extractor = clean_fid.Extractor | clean_fid_legacy.Extractor
MODES = {"clean_fid": "clean", "clean_fid_legacy": "legacy_tensorflow"}
SHAPE = (3, 40, 32)


@pytest.fixture(autouse=True)
def no_path_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(third_party.KNOWN["inception_torchscript"].environment, raising=False)


@pytest.fixture(scope="module")
def path() -> Path:
    return photo_networks.torchscript_weights()[0]


@pytest.fixture(params=sorted(MODES))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def load(name: str, path: Path, shape: tuple[int, int, int] = SHAPE) -> Extractor:
    found = extractors.load(name, shape, weights=str(path), sha256=third_party.sha256_of(path))
    assert isinstance(found, Extractor)
    return found


def noise(shape: tuple[int, int, int] = SHAPE, count: int = 6, seed: int = 0) -> Tensor:
    """Hard edges: bicubic interpolation overshoots [0, 255]."""
    return torch.randint(256, (count, *shape), dtype=torch.uint8, generator=rng.generator(seed, "noise"))


# Against clean-fid


def their_network(name: str, path: Path) -> Callable[[Tensor], Tensor]:
    torchscript = pytest.importorskip("cleanfid.inception_torchscript")
    found: Callable[[Tensor], Tensor] = torchscript.InceptionV3W(
        str(path.parent), download=False, resize_inside=name == "clean_fid_legacy"
    )
    return found


def written(images: Tensor, folder: Path) -> str:
    """The images as PNG files; clean-fid takes them in the order of their names."""
    folder.mkdir()
    for i, image in enumerate(images.permute(0, 2, 3, 1).numpy()):
        Image.fromarray(image.squeeze()).save(folder / f"{i:04d}.png")
    return str(folder)


@pytest.mark.parametrize("shape", [SHAPE, (3, 350, 320), (1, 28, 28)])
def test_features_are_clean_fids(name: str, path: Path, shape: tuple[int, int, int], tmp_path: Path) -> None:
    fid = pytest.importorskip("cleanfid.fid")
    images = noise(shape)
    theirs = fid.get_folder_features(
        written(images, tmp_path / "png"),
        their_network(name, path),
        num_workers=0,
        device=torch.device("cpu"),
        mode=MODES[name],
        verbose=False,
    )
    ours = load(name, path, shape).features(images).numpy()
    assert ours.shape == (6, 2048)
    assert ours.std(0).mean() > 0.01
    assert abs(ours - theirs).max() < 5e-6  # of features about 0.7: Pillow's and torch's bicubic differ by 0.003 of 255


def test_the_distance_is_clean_fids(name: str, path: Path, tmp_path: Path) -> None:
    """End to end on folders, over the first 24 features: its square root of 2048 x 2048 takes a minute."""
    fid = pytest.importorskip("cleanfid.fid")
    network, ours = their_network(name, path), load(name, path)
    real, generated = noise(count=48), noise(count=48, seed=1).float().mul(0.8).to(torch.uint8)
    theirs = fid.compute_fid(
        written(real, tmp_path / "real"),
        written(generated, tmp_path / "generated"),
        mode=MODES[name],
        custom_feat_extractor=lambda x: network(x)[:, :24],
        num_workers=0,
        device=torch.device("cpu"),
        verbose=False,
    )
    a, b = (ours.features(images)[:, :24] for images in (real, generated))
    distance = metrics.frechet_distance(metrics.statistics(a), metrics.statistics(b))
    assert distance == pytest.approx(theirs, rel=5e-6)  # the resize
    assert distance == pytest.approx(fid.fid_from_feats(a.double().numpy(), b.double().numpy()), rel=1e-9)  # the distance


def test_the_two_protocols_never_mix(path: Path) -> None:
    clean, legacy = load("clean_fid", path), load("clean_fid_legacy", path)
    assert float((clean.features(noise()) - legacy.features(noise())).abs().max()) > 0.01
    assert conditions_of(clean)["resize"] != conditions_of(legacy)["resize"]
    assert title_of(clean) != title_of(legacy)
    assert clean.digest == legacy.digest  # one file


# By itself


def test_neither_autocast_nor_the_size_of_a_batch_moves_a_feature(name: str, path: Path) -> None:
    found, images = load(name, path), noise()
    whole = found.features(images)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(found.features(images), whole)
    for _ in range(3):  # torch compiles TorchScript anew after some calls
        assert torch.equal(found.features(images), whole)
    torch.testing.assert_close(torch.cat([found.features(part) for part in images.split(4)]), whole, rtol=1e-5, atol=1e-6)
    assert not whole.requires_grad


def test_grey_images_are_repeated_and_said_so(name: str, path: Path) -> None:
    grey = noise((1, 28, 28))
    found = load(name, path, (1, 28, 28))
    assert torch.equal(found.features(grey), load(name, path, (3, 28, 28)).features(grey.expand(-1, 3, -1, -1)))
    assert conditions_of(found)["grey"]
    with pytest.raises(BenchError, match="2x32x32"):
        load(name, path, (2, 32, 32))
    with pytest.raises(TypeError, match="uint8"):
        found.features(grey.float())


# The file


def test_published_weights_are_found_and_another_file_is_marked(
    name: str, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = load(name, path)
    assert title_of(own) != name
    assert conditions_of(own)["comparable"].startswith("no")
    known = third_party.KNOWN["inception_torchscript"]
    known = dataclasses.replace(known, size=path.stat().st_size, sha256=third_party.sha256_of(path))
    monkeypatch.setitem(third_party.KNOWN, "inception_torchscript", known)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    (third_party.torch_folder()).mkdir(parents=True)
    (third_party.torch_folder() / path.name).write_bytes(path.read_bytes())
    found = extractors.load(name, SHAPE)
    assert title_of(found) == name
    assert "comparable" not in conditions_of(found)
    assert found.digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert metrics_of(found) == ("frechet_distance", "frechet_distance_infinite", "kernel_distance")
    assert found.logits(noise()) is None


def test_a_wrong_file_is_not_read(name: str, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.jit, "load", lambda *_, **__: pytest.fail("read before it was checked"))
    for variable in ("TORCH_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(variable, str(tmp_path))
    with pytest.raises(BenchError, match="bytes, not 95,607,719"):
        extractors.load(name, SHAPE, weights=str(path))
    with pytest.raises(BenchError, match="sha256"):
        extractors.load(name, SHAPE, weights=str(path), sha256="0" * 64)
    with pytest.raises(BenchError, match=rf"extractors.{name}\] weights = PATH"):
        extractors.load(name, SHAPE)


def test_a_file_that_is_no_such_network(name: str, tmp_path: Path) -> None:
    path = tmp_path / "inception.pt"
    path.write_bytes(b"<!DOCTYPE html>")
    with pytest.raises(BenchError, match="holds no weights of this network"):
        load(name, path)
    photo_networks.write_torchscript(photo_networks.Layers(), path)
    with pytest.raises(BenchError, match="layers"):
        load(name, path)
