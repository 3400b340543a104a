"""Inception with random weights: equal to torch-fidelity's own class, in whole float32, from checked files only."""

import dataclasses
import hashlib
import importlib.util
import socket
import sys
import threading
import types
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import small_weights
from bench import extractors
from bench.errors import BenchError
from bench.extractors import Outputs, inception
from random_networks import inception_weights, varied_images

SHAPE = (3, 32, 32)


@pytest.fixture(autouse=True)
def torch_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """torch's cache folder, empty; no weights of the user's, and no network."""
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("the network was asked"))
    return small_weights.own_places(tmp_path, monkeypatch)


@pytest.fixture(scope="module")
def extractor() -> Any:
    path, sha256 = inception_weights()
    return extractors.load("inception", SHAPE, weights=str(path), sha256=sha256)


@pytest.fixture(scope="module")
def images() -> Tensor:
    return varied_images(4, seed=1)


@pytest.fixture(scope="module")
def found(extractor: Any, images: Tensor) -> Outputs:
    return extractor.outputs(images)


@pytest.fixture(scope="module")
def direct() -> Any:
    """torch-fidelity's extractor as its own command makes it, of the same file."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    path, _ = inception_weights()
    return FeatureExtractorInceptionV3(
        "inception-v3-compat", ["2048", "logits_unbiased"], feature_extractor_weights_path=str(path)
    )


# What it computes


def test_equal_to_torch_fidelity(direct: Any, images: Tensor, found: Outputs) -> None:
    with torch.inference_mode():
        features, logits = direct(images)
    assert torch.equal(found.features, features)
    assert torch.equal(found.logits, logits)
    # Images differ, else equality would show nothing.
    for layer in (found.features, found.logits, found.spatial):
        assert layer.std(0).mean() > 0.2 * layer.std()


def test_spatial_features_walked_by_hand(direct: Any, images: Tensor, found: Outputs) -> None:
    """mixed_6/conv is the 1x1 branch of Mixed_6d: ADM's layer. Mixed_6e and all 768 channels are known mistakes."""
    from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x

    with torch.inference_mode():
        x = (interpolate_bilinear_2d_like_tensorflow1x(images.float(), size=(299, 299), align_corners=False) - 128) / 128
        for name, module in direct.named_children():
            if name == "Mixed_6d":
                break
            x = module(x)
        branch = direct.Mixed_6d.branch1x1
        x = branch.bn(branch.conv(x)).clamp(min=0)
    assert x.shape == (4, 192, 17, 17)
    assert found.spatial is not None
    assert found.spatial.shape == (4, 2023)
    assert found.spatial.min() == 0
    for y, x_position, channel in ((0, 0, 0), (0, 0, 6), (0, 1, 0), (1, 0, 2), (16, 16, 6)):
        column = (y * 17 + x_position) * 7 + channel
        torch.testing.assert_close(found.spatial[:, column], x[:, channel, y, x_position], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found.spatial.reshape(4, 17, 17, 7), x[:, :7].movedim(1, -1), rtol=1e-5, atol=1e-6)


def test_one_pass_gives_all_and_leaves_nothing_behind(
    extractor: Any, images: Tensor, found: Outputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes: list[int] = []
    counted = extractor.net.Mixed_7c.register_forward_hook(lambda *call: passes.append(len(call[2])))
    again = extractor.outputs(images[:2])
    counted.remove()
    assert passes == [2]
    torch.testing.assert_close(again.spatial, found.spatial[:2], rtol=1e-5, atol=1e-5)  # not those of another call
    assert not extractor.net.Mixed_6d.branch1x1._forward_hooks
    monkeypatch.setattr(extractor.net.Mixed_7a, "forward", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        extractor.outputs(images[:1])
    assert not extractor.net.Mixed_6d.branch1x1._forward_hooks


def test_threads_get_their_own_images(extractor: Any, images: Tensor, found: Outputs) -> None:
    results: dict[int, Outputs] = {}
    threads = [threading.Thread(target=lambda i=i: results.update({i: extractor.outputs(images[i : i + 1])})) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i in range(3):
        torch.testing.assert_close(results[i].spatial, found.spatial[i : i + 1], rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(results[i].features, found.features[i : i + 1], rtol=1e-5, atol=1e-5)


def test_float32_under_autocast(extractor: Any, images: Tensor, found: Outputs) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        again = extractor.outputs(images)
        assert torch.is_autocast_enabled("cpu")
    assert torch.equal(again.features, found.features)
    assert torch.equal(again.logits, found.logits)
    assert torch.equal(again.spatial, found.spatial)


def test_grey_is_repeated_and_named(extractor: Any, images: Tensor) -> None:
    path, sha256 = inception_weights()
    grey = extractors.load("inception", (1, 32, 32), weights=str(path), sha256=sha256)
    one = images[:1, :1]
    assert torch.equal(grey.features(one), extractor.features(one.repeat(1, 3, 1, 1)))
    assert "grey" in extractors.conditions_of(grey)
    assert "grey" not in extractors.conditions_of(extractor)


@pytest.mark.parametrize("shape", [(4, 32, 32), (2, 8, 8)])
def test_other_channels_are_refused(shape: tuple[int, int, int]) -> None:
    with pytest.raises(BenchError) as caught:
        extractors.load("inception", shape)
    assert "x".join(map(str, shape)) in caught.value.given
    assert "3" in caught.value.allowed
    assert "pixels" in caught.value.remedy


def test_floats_are_refused(extractor: Any, images: Tensor) -> None:
    with pytest.raises(TypeError, match="uint8"):
        extractor.outputs(images.float() / 255)


# The file


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def refused(**options: str) -> BenchError:
    with pytest.raises(BenchError) as caught:
        extractors.load("inception", SHAPE, **options)
    return caught.value


def test_published_weights_are_taken_from_torchs_cache(
    torch_cache: Path, monkeypatch: pytest.MonkeyPatch, images: Tensor, found: Outputs
) -> None:
    path, sha256 = inception_weights()
    monkeypatch.setattr(inception, "WEIGHTS", dataclasses.replace(inception.WEIGHTS, sha256=sha256, size=path.stat().st_size))
    (torch_cache / inception.WEIGHTS.file_names[1]).symlink_to(path)
    before = torch.get_rng_state()
    extractor = extractors.load("inception", SHAPE)
    assert torch.equal(torch.get_rng_state(), before)  # the class draws weights before it reads them
    assert (extractor.digest, extractors.title_of(extractor)) == (sha256, "inception")
    assert "comparable" not in extractors.conditions_of(extractor)
    assert torch.equal(extractors.outputs(extractor, images).features, found.features)


def test_other_weights_are_named_so(extractor: Any) -> None:
    assert extractors.title_of(extractor) == "inception-othernet"
    assert extractors.conditions_of(extractor)["comparable"].startswith("no")
    assert extractor.digest == inception_weights()[1]
    assert "inception_score_adm" in extractors.metrics_of(extractor)


def test_missing_weights_stop_and_never_become_random(torch_cache: Path) -> None:
    error = refused()
    for part in ("FID, sFID, IS, KID, precision and recall", "BENCH_INCEPTION_WEIGHTS", str(torch_cache), "pt_inception-2015"):
        assert part in error.given
    for part in ("95,628,359 bytes", inception.WEIGHTS.sha256, "https://github.com/toshas/torch-fidelity"):
        assert part in error.allowed
    for part in ("[extractors.inception] weights = PATH", "bench fetch inception"):
        assert part in error.remedy


def test_other_bytes_are_refused_before_they_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, sha256 = inception_weights()
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("read"))
    assert f"has {path.stat().st_size:,} bytes, not 95,628,359" in refused(weights=str(path)).given
    truncated = tmp_path / "truncated.pth"
    truncated.write_bytes(path.read_bytes()[:1000])
    assert "sha256" in refused(weights=str(truncated), sha256=sha256).given
    monkeypatch.setenv(inception.WEIGHTS.environment, str(truncated))
    assert "BENCH_INCEPTION_WEIGHTS" in refused().given


class Evil:
    """Makes a file where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return Path.touch, (self.mark,)


def test_code_in_a_file_never_runs(tmp_path: Path) -> None:
    path, mark = tmp_path / "evil.pth", tmp_path / "mark"
    torch.save({"fc.bias": Evil(mark)}, path)
    refused(weights=str(path))  # by its size
    refused(weights=str(path), sha256="0" * 64)  # by its digest
    assert "holds no weights" in refused(weights=str(path), sha256=digest(path)).given  # by how it is read
    assert not mark.exists()
    torch.load(path, weights_only=False)
    assert mark.exists()  # so it would have run


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"fc.bias": torch.zeros(1008)}, "Missing key"),
        ([1, 2], "no table of tensors"),
        ({"a": 1}, "no table of tensors"),
        (None, ""),
    ],
    ids=["another network", "a list", "numbers", "no file of torch's"],
)
def test_a_file_that_is_no_such_network(content: Any, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.pth"
    if content is None:
        path.write_bytes(b"not a zip")
    else:
        torch.save(content, path)
    error = refused(weights=str(path), sha256=digest(path))
    assert "holds no weights of this network" in error.given
    assert reason in error.given
    assert "FeatureExtractorInceptionV3" in error.allowed


# The packages


@pytest.mark.parametrize(
    ("error", "text"), [(ImportError, "libcudart.so.13"), (RuntimeError, "operator torchvision::nms does not exist")]
)
def test_a_torchvision_that_does_not_import_is_said(error: type[Exception], text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(types.ModuleType):
        def __getattr__(self, name: str) -> Any:
            raise error(text)

    name = "torch_fidelity.feature_extractor_inceptionv3"
    monkeypatch.setitem(sys.modules, name, Broken(name))
    path, sha256 = inception_weights()
    caught = refused(weights=str(path), sha256=sha256)
    assert text in caught.given
    assert "torchvision" in caught.allowed
    assert "pip install" in caught.remedy


def test_the_packages_are_imported_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """`bench list` imports every extractor's file."""
    for package in ("torch_fidelity", "torchvision"):
        monkeypatch.setitem(sys.modules, package, None)  # importing it now raises
    spec = importlib.util.spec_from_file_location("inception_again", str(inception.__file__))
    assert spec is not None
    assert spec.loader is not None
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
