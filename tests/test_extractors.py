"""What holds for every extractor found; weights are checked; a shape that does not fit is refused."""

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from bench import datasets, extractors, metrics, rng
from bench.errors import BenchError
from bench.extractors import Extractor, digits

Shape = tuple[int, int, int]
SHAPES: dict[str, Shape] = {"digits": (1, 8, 8)}  # of images an extractor takes; other than (3, 32, 32)


def pictures(shape: Shape, count: int = 12) -> Tensor:
    """Uniform noise, uint8."""
    return torch.randint(256, (count, *shape), dtype=torch.uint8, generator=rng.generator(0, "pictures"))


@pytest.fixture(params=extractors.names())
def shape_and_extractor(request: pytest.FixtureRequest) -> tuple[Shape, Extractor]:
    shape = SHAPES.get(request.param, (3, 32, 32))
    return shape, extractors.load(request.param, shape)


# Every extractor


def test_features_are_float32_rows(shape_and_extractor: tuple[Shape, Extractor]) -> None:
    shape, extractor = shape_and_extractor
    images = pictures(shape)
    features = extractor.features(images)
    assert extractor.name in extractors.names()
    assert (features.dtype, tuple(features.shape)) == (torch.float32, (12, extractor.dim))
    assert features.isfinite().all()
    assert not features.requires_grad
    assert torch.equal(images, pictures(shape))  # left as they were
    assert len(features.unique(dim=0)) == 12


def test_features_do_not_depend_on_the_batch(shape_and_extractor: tuple[Shape, Extractor]) -> None:
    shape, extractor = shape_and_extractor
    images = pictures(shape)
    whole = extractor.features(images)
    assert torch.equal(extractor.features(images), whole)
    for size in (1, 5):
        torch.testing.assert_close(
            torch.cat([extractor.features(part) for part in images.split(size)]), whole, rtol=1e-5, atol=1e-6
        )


def test_logits_are_rows_or_none(shape_and_extractor: tuple[Shape, Extractor]) -> None:
    shape, extractor = shape_and_extractor
    logits = extractor.logits(pictures(shape))
    if logits is not None:
        assert logits.shape[0] == 12
        assert logits.shape[1] >= 2
        assert not logits.requires_grad


def test_digest_is_a_sha256_and_stays(shape_and_extractor: tuple[Shape, Extractor]) -> None:
    shape, extractor = shape_and_extractor
    assert len(bytes.fromhex(extractor.digest)) == 32
    assert extractors.load(extractor.name, shape).digest == extractor.digest


def test_digests_differ() -> None:
    found = [extractors.load(name, SHAPES.get(name, (3, 32, 32))).digest for name in extractors.names()]
    assert len(set(found)) == len(found)


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
    assert extractor.features(pictures(shape)).shape == (12, dim)


def test_pixels_are_means_of_areas() -> None:
    images = pictures((3, 32, 32))
    expected = (images.double().reshape(12, 3, 8, 4, 8, 4).mean((3, 5)) / 127.5 - 1).flatten(1)
    torch.testing.assert_close(extractors.load("pixels", (3, 32, 32)).features(images).double(), expected, rtol=0, atol=1e-6)
    small = pictures((1, 4, 4))
    torch.testing.assert_close(extractors.load("pixels", (1, 4, 4)).features(small), small.float().flatten(1) / 127.5 - 1)


def test_pixels_tell_pictures_from_noise() -> None:
    smooth = F.interpolate(pictures((3, 4, 4), 300).float(), (32, 32), mode="bilinear").byte()
    extractor = extractors.load("pixels", (3, 32, 32))
    a, b = (metrics.statistics(extractor.features(part)) for part in (smooth[:150], smooth[150:]))
    noise = metrics.statistics(extractor.features(pictures((3, 32, 32), 150)))
    assert metrics.frechet_distance(a, noise) > 3 * metrics.frechet_distance(a, b)
