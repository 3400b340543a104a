"""Preparing latents: the crop, what is stored, what is said, and what is refused. Kills are in test_prepare_resume.py."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed
import torch.multiprocessing
from filelock import FileLock
from PIL import Image

from bench import latents, prepare, vae
from bench.errors import BenchError, RunFailed
from bench.prepare import Ways
from bench.shards import read_image
from pictures import make_tree, noise_image
from tiny_vae import SHARD, SIDE, content, moments, save_tree, save_vae, stop_at, tiny_ways


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_vae(tmp_path_factory.mktemp("vae"))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return save_tree(tmp_path / "tree")


# The crop


def adm(image: Image.Image, size: int) -> np.ndarray[Any, Any]:
    """As the description says: halve with a box while twice the size fits, bicubic to the shorter side, the centre."""
    image = image.convert("RGB")
    while not (image.size[0] < 2 * size or image.size[1] < 2 * size):
        image = image.resize((image.size[0] // 2, image.size[1] // 2), resample=Image.Resampling.BOX)
    shorter = min(image.size)
    image = image.resize(tuple(round(side * (size / shorter)) for side in image.size), resample=Image.Resampling.BICUBIC)
    pixels = np.array(image)
    y, x = (pixels.shape[0] - size) // 2, (pixels.shape[1] - size) // 2
    return pixels[y : y + size, x : x + size].transpose(2, 0, 1)


@pytest.mark.parametrize("size", [(32, 32), (41, 34), (33, 80), (64, 64), (63, 130), (300, 131), (20, 27)])
def test_the_crop_is_adms(tmp_path: Path, size: tuple[int, int]) -> None:
    picture = noise_image(1, *size)
    picture.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png", 32), adm(picture, 32))


def test_halving_takes_the_mean_of_blocks(tmp_path: Path) -> None:
    blocks = noise_image(2, 32, 32)
    blocks.resize((128, 128), Image.Resampling.NEAREST).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png", 32), np.asarray(blocks).transpose(2, 0, 1))


def test_modes_and_orientation_are_adms(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side: ADM does not turn it
    noise_image(3, 40, 36).save(tmp_path / "a.png", exif=exif)
    for name, picture in (("a.png", noise_image(3, 40, 36)), ("b.jpg", noise_image(4, 40, 36).convert("CMYK"))):
        if name != "a.png":
            picture.save(tmp_path / name)
        np.testing.assert_array_equal(read_image(tmp_path / name, 32), adm(Image.open(tmp_path / name), 32))
    noise_image(5, 40, 36).convert("LA").save(tmp_path / "c.png")
    np.testing.assert_array_equal(read_image(tmp_path / "c.png", 32), adm(Image.open(tmp_path / "c.png"), 32))


# What is stored


def test_means_and_deviations_are_the_encoders(tree: Path, tmp_path: Path, network: Path) -> None:
    manifest = prepare.prepare(tree, tmp_path / "out", tiny_ways(network, flips=True))
    files = sorted(str(path.relative_to(tree)) for path in tree.rglob("*.png"))
    pixels = torch.from_numpy(np.stack([read_image(tree / file, SIDE) for file in files]))
    encoder = vae.load(str(network))
    for version, images in enumerate((pixels, pixels.flip(-1))):
        expected = torch.stack(encoder.encode(images), dim=1)
        torch.testing.assert_close(moments(tmp_path / "out", manifest, version), expected, rtol=1e-5, atol=1e-6)
    labels = latents.read_labels(tmp_path / "out", manifest)
    assert [manifest.classes[label] for label in labels.tolist()] == [file.split("/")[0] for file in files]
    assert manifest.plan.scale == encoder.scale
    assert manifest.plan.vae_sha256 == encoder.digest
    assert (manifest.count, len(manifest.shards), manifest.plan.shape) == (14, 4, (4, 4, 4))


def test_half_is_the_same_rounded(tree: Path, tmp_path: Path, network: Path) -> None:
    whole = prepare.prepare(tree, tmp_path / "whole", tiny_ways(network))
    half = prepare.prepare(tree, tmp_path / "half", tiny_ways(network, half=True))
    assert torch.equal(moments(tmp_path / "half", half), moments(tmp_path / "whole", whole).half().float())
    sizes = [latents.shard_path(tmp_path / name, "00000.npy").stat().st_size for name in ("whole", "half")]
    assert [size - 128 for size in sizes] == [SHARD * 2 * 64 * 4, SHARD * 2 * 64 * 2]


def test_a_subset_has_equally_many_a_class(tree: Path, tmp_path: Path, network: Path) -> None:
    manifest = prepare.prepare(tree, tmp_path / "out", tiny_ways(network, subset=9))
    assert latents.read_labels(tmp_path / "out", manifest).tolist() == [0] * 3 + [1] * 3 + [2] * 3
    whole = prepare.prepare(tree, tmp_path / "whole", tiny_ways(network))
    rows = torch.tensor([0, 1, 2, 5, 6, 7, 9, 10, 11])  # the first three of 5, 4 and 5
    expected = moments(tmp_path / "whole", whole)[rows]
    torch.testing.assert_close(moments(tmp_path / "out", manifest), expected, rtol=1e-5, atol=1e-6)


def test_size_and_time_are_said_before_the_work(tree: Path, tmp_path: Path, network: Path) -> None:
    said: list[str] = []
    seen: list[tuple[str, int, int]] = []
    prepare.prepare(tree, tmp_path / "out", tiny_ways(network), say=said.append, watch=lambda *at: seen.append(at))
    assert said[0].startswith("14 images in 3 classes: 4x4x4 float32 latents of 32x32 pixels, plain, 0.00717 MB")
    assert "by the first 3 images" in said[1]
    assert seen[0] == ("encoding", 3, 14)
    assert seen[-1] == ("encoding", 14, 14)
    again: list[str] = []
    prepare.prepare(tree, tmp_path / "out", tiny_ways(network), say=again.append)
    assert again == [], "nothing to do"


# What is refused


def refused(tree: Path, out: Path, ways: Ways) -> BenchError:
    with pytest.raises(BenchError) as caught:
        prepare.prepare(tree, out, ways)
    return caught.value


def test_broken_images_are_all_named_and_the_others_kept(tree: Path, tmp_path: Path, network: Path) -> None:
    whole = {name: (tree / name).read_bytes() for name in ("n01/001.png", "n03/000.png")}
    (tree / "n01" / "001.png").write_bytes(whole["n01/001.png"][:500])
    (tree / "n03" / "000.png").write_bytes(b"text")
    error = refused(tree, tmp_path / "out", tiny_ways(network))
    assert error.given.startswith("2 of 14 images")
    assert "n01/001.png (" in error.given
    assert "n03/000.png (no image)" in error.given
    assert sorted(path.name for path in (tmp_path / "out" / "shards").glob("*.npy")) == ["00001.npy", "00003.npy"]
    for name, raw in whole.items():
        (tree / name).write_bytes(raw)
    assert prepare.prepare(tree, tmp_path / "out", tiny_ways(network)).count == 14


def test_a_folder_of_other_latents_is_not_mixed(tree: Path, tmp_path: Path, network: Path) -> None:
    prepare.prepare(tree, tmp_path / "out", tiny_ways(network))
    before = content(tmp_path / "out")
    other = save_vae(tmp_path / "other", seed=1)
    for ways, named in (
        (tiny_ways(network, half=True), "dtype float32, now float16"),
        (tiny_ways(network, flips=True), "versions"),
        (tiny_ways(network, size=64), "size 32, now 64"),
        (tiny_ways(network, subset=3), "subset 0, now 3"),
        (tiny_ways(other), "vae_sha256"),
        (tiny_ways(save_vae(tmp_path / "scaled", scale=0.18215)), "scale"),
    ):
        error = refused(tree, tmp_path / "out", ways)
        assert named in error.given
        assert "--out" in error.remedy
    assert content(tmp_path / "out") == before


def test_the_disk_is_looked_at_first(tree: Path, tmp_path: Path, network: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepare.shutil, "disk_usage", lambda _: prepare.shutil._ntuple_diskusage(10**6, 10**6, 7000))
    calls = stop_at(monkeypatch, 0, vae.Vae, "encode")
    error = refused(tree, tmp_path / "out", tiny_ways(network))
    assert "14 images take 0.00739 MB" in error.given
    assert "0.007 MB that are free" in error.allowed
    assert "--half" in error.remedy
    assert not calls
    assert prepare.prepare(tree, tmp_path / "half", tiny_ways(network, half=True)).count == 14


def test_sources_and_settings_that_can_not_be_used(tree: Path, tmp_path: Path, network: Path) -> None:
    out = tmp_path / "out"
    loose = make_tree(tmp_path / "loose", {"a": 3})
    noise_image(0).save(loose / "loose.png")
    for source, changes, named in (
        (tmp_path / "nowhere", {}, "nowhere does not exist"),
        (tree / "n01" / "000.png", {}, "is a file"),
        (tree / "n01", {}, "--source: "),
        (loose, {}, "lie beside the class folders"),
        (tree, {"size": 36}, "--size 36"),
        (tree, {"subset": 10}, "--subset 10"),
        (tree, {"subset": 15}, "n02 has 4"),
        (tree, {"vae": str(tmp_path / "no-vae")}, "is no folder"),
    ):
        error = refused(source, out, dataclasses.replace(tiny_ways(network), **changes))
        assert named in error.given
        assert "bench.toml" not in error.remedy
    assert not (out / "shards").exists() or not list((out / "shards").iterdir())


def test_files_that_training_could_not_open_at_once(
    tree: Path, tmp_path: Path, network: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepare, "MOST_SHARDS", 3)
    error = refused(tree, tmp_path / "out", tiny_ways(network))
    assert "--shard 4 for 14 images: more than 3 files" in error.given
    assert error.allowed == "at least 5"
    assert len(prepare.prepare(tree, tmp_path / "out", tiny_ways(network, shard_images=5)).shards) == 3


def test_one_prepare_a_folder(tree: Path, tmp_path: Path, network: Path) -> None:
    (tmp_path / "out").mkdir()
    with FileLock(tmp_path / "out" / ".lock"):
        assert "in use by another process" in refused(tree, tmp_path / "out", tiny_ways(network)).given


def test_a_latent_that_is_not_finite_stops_the_work(tree: Path, tmp_path: Path) -> None:
    folder = save_vae(tmp_path / "vae", scale=1.0)
    network = vae.load(str(folder))
    with torch.no_grad():
        network.module.encoder.conv_out.bias.fill_(float("nan"))
    network.module.save_pretrained(folder)
    with pytest.raises(RunFailed, match="latents that are not finite"):
        prepare.prepare(tree, tmp_path / "out", tiny_ways(folder))


def test_a_manifest_changed_by_hand_is_noticed(tree: Path, tmp_path: Path, network: Path) -> None:
    prepare.prepare(tree, tmp_path / "out", tiny_ways(network))
    path = latents.manifest_path(tmp_path / "out")
    record = json.loads(path.read_text())
    record["plan"]["scale"] = 0.18125
    path.write_text(json.dumps(record))
    with pytest.raises(BenchError, match="was changed after it was written"):
        latents.read_manifest(tmp_path / "out")
