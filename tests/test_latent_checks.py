"""verify finds every damaged byte; check finds a wrong VAE and a wrong scale, and finds nothing where there is nothing."""

import dataclasses
import hashlib
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from bench import latents
from bench.errors import BenchError
from bench.latent_checks import DRIFT, Looking, Reconstruction, check, psnr, verify
from bench.prepare import prepare
from pictures import noise_image
from tiny_vae import save_tree, save_vae, tiny_ways

LOOKING = Looking(device="cpu")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with vae/, other/ (another VAE), tree/, out/ and half/ (float16, flips). Read only."""
    root = tmp_path_factory.mktemp("made")
    save_vae(root / "other", seed=1)
    tree, vae = save_tree(root / "tree"), save_vae(root / "vae")
    prepare(tree, root / "out", tiny_ways(vae))
    prepare(tree, root / "half", tiny_ways(vae, half=True, flips=True))
    return root


@pytest.fixture
def out(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made / "half", tmp_path / "out"))


# Verify


@pytest.mark.parametrize("name", ["out", "half"])
def test_what_was_written_is_right(made: Path, name: str) -> None:
    found = verify(made / name)
    assert found.faults == ()
    assert "14 images, 4x4x4" in found.checked[0]
    assert "3 classes of 4 to 5 images" in found.checked[1]
    assert "4 of 4 shards" in found.checked[2]


def flip(path: Path, byte: int, bit: int) -> None:
    raw = bytearray(path.read_bytes())
    raw[byte] ^= 1 << bit
    path.write_bytes(raw)


def test_every_flipped_bit_is_found(out: Path) -> None:
    files = [latents.labels_path(out), *sorted((out / "shards").glob("*.npy"))]
    numbers = np.random.default_rng(0)
    for turn in range(60):
        path = files[turn % len(files)]
        byte, bit = int(numbers.integers(path.stat().st_size)), int(numbers.integers(8))
        flip(path, byte, bit)
        faults = verify(out).faults
        # A bit of the padding in a header changes no number: of the labels, which are compared by their numbers, that is right.
        assert (len(faults) == 1 and str(path) in faults[0]) or (path == files[0] and byte < 128), (path, byte, bit, faults)
        flip(path, byte, bit)
    assert verify(out).faults == ()


def test_a_label_that_is_another_class_is_found(out: Path) -> None:
    labels = np.load(latents.labels_path(out))
    labels[3] = 1
    np.save(latents.labels_path(out), labels)
    (fault,) = verify(out).faults
    assert "labels.npy is not the one that the manifest names" in fault


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated": (lambda path: path.write_bytes(path.read_bytes()[:-1]), "is damaged"),
    "empty": (lambda path: path.write_bytes(b""), "is damaged"),
    "missing": (lambda path: path.unlink(), "is missing"),
    "swapped": (lambda path: shutil.copy(path.with_name("00001.npy"), path), "sha256"),
    "other shape": (lambda path: np.save(path, np.zeros((4, 1, 2, 4, 4, 4), np.float16)), "holds float16"),
    "objects": (lambda path: np.save(path, np.array([{}], dtype=object), allow_pickle=True), "is damaged"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_shard_that_is_not_whole_is_named(out: Path, damage: str) -> None:
    act, named = DAMAGE[damage]
    path = latents.shard_path(out, "00000.npy")
    act(path)
    (fault,) = verify(out).faults
    assert named in fault
    assert "00000.npy" in fault


def test_numbers_that_can_not_be_are_found_under_a_right_digest(out: Path) -> None:
    manifest = latents.read_manifest(out)
    path = latents.shard_path(out, "00002.npy")
    for value, moment in ((math.inf, 0), (math.nan, 1), (-1.0, 1)):
        values = np.load(path)
        values[0, 0, moment, 0, 0, 0] = value
        np.save(path, values)
        shards = list(manifest.shards)
        shards[2] = dataclasses.replace(shards[2], sha256=hashlib.sha256(path.read_bytes()).hexdigest())
        latents.write_manifest(out, dataclasses.replace(manifest, shards=tuple(shards)))
        assert "no means and standard deviations" in verify(out).faults[0]


def test_without_a_manifest_there_is_nothing_to_verify(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="does not exist"):
        verify(tmp_path / "nowhere")


# Check


@pytest.mark.parametrize("name", ["out", "half"])
def test_right_latents_pass(made: Path, name: str) -> None:
    found = check(made / name, LOOKING)
    assert found.faults == ()
    assert found.images == 14
    assert found.drift < (1e-5 if name == "out" else DRIFT / 4), "what float16 does is far below what is allowed"
    assert found.psnr_stored == pytest.approx(found.psnr, abs=0.01)
    assert found.distance_stored == pytest.approx(found.distance, rel=0.01)
    assert 0.5 < found.spread < 2


def test_another_vae_is_found(made: Path) -> None:
    faults = check(made / "half", dataclasses.replace(LOOKING, vae=str(made / "other"))).faults
    assert any("its weights have sha256" in fault for fault in faults)
    assert any("moves the pictures by" in fault for fault in faults)


def rescale(out: Path, factor: float) -> None:
    manifest = latents.read_manifest(out)
    plan = dataclasses.replace(manifest.plan, scale=manifest.plan.scale * factor)
    latents.write_manifest(out, dataclasses.replace(manifest, plan=plan))


@pytest.mark.parametrize("factor", [0.5, 0.18125 / 0.18215, 1.005, 1 / 0.18215])
def test_a_wrong_scale_is_found_in_the_numbers_and_in_the_pictures(out: Path, factor: float) -> None:
    rescale(out, factor)
    found = check(out, LOOKING)
    assert any("its scale is" in fault for fault in found.faults)
    assert any("moves the pictures by" in fault for fault in found.faults)


def test_a_scale_that_all_agree_on_and_that_scales_nothing_is_found(made: Path, tmp_path: Path) -> None:
    prepare(made / "tree", tmp_path / "out", tiny_ways(save_vae(tmp_path / "vae", scale=0.18215)))
    (fault,) = check(tmp_path / "out", LOOKING).faults
    assert "standard deviation of 0.0" in fault


def test_latents_of_other_pictures_in_the_same_place_are_found(made: Path, out: Path) -> None:
    """Shards in another order: each is whole, but the images are not theirs."""
    a, b = (latents.shard_path(out, name) for name in ("00000.npy", "00001.npy"))
    first, second = a.read_bytes(), b.read_bytes()
    a.write_bytes(second)
    b.write_bytes(first)
    assert any("moves the pictures by" in fault for fault in check(out, LOOKING).faults)
    assert made != out


def test_the_images_have_to_be_the_manifests(made: Path, tmp_path: Path) -> None:
    tree = shutil.copytree(made / "tree", tmp_path / "tree")
    assert check(made / "out", dataclasses.replace(LOOKING, source=str(tree))).faults == ()
    noise_image(9, 60, 60).save(Path(tree) / "n01" / "000.png")
    with pytest.raises(BenchError, match="holds other images"):
        check(made / "out", dataclasses.replace(LOOKING, source=str(tree)))


def test_psnr_of_known_errors() -> None:
    a = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
    assert psnr(a + 1, a) == pytest.approx(48.1308, abs=1e-4)
    assert psnr(a + 255, a) == 0
    assert psnr(a, a) == math.inf


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"drift": math.nan}, "moves the pictures"),
        ({"drift": 0.003}, "moves the pictures by 0.30%"),
        ({"psnr_stored": 24.8}, "PSNR falls from 25.00 to 24.80 dB"),
        ({"distance_stored": 2.3}, "feature distance rises from 2 to 2.3"),
        ({"spread": 0.18}, "standard deviation of 0.18"),
        ({"spread": 5.5}, "standard deviation of 5.5"),
        ({"mismatch": "another VAE"}, "another VAE"),
    ],
    ids=str,
)
def test_each_fault_is_told_apart(change: dict[str, float | str], named: str) -> None:
    right = Reconstruction(
        images=256, vae="x", psnr=25.0, psnr_stored=24.95, distance=2.0, distance_stored=2.1, drift=0.001, spread=0.9,
        variance=3.0, extractor="pixels", mismatch="",
    )  # fmt: skip
    assert right.faults == ()
    (fault,) = dataclasses.replace(right, **change).faults  # type: ignore[arg-type]
    assert named in fault
