"""Prepared latents as a data set: what training sees, what is decoded, and latents and VAE that do not belong together."""

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from bench import config, datasets, latents, vae
from bench.datasets import imagenet_latents
from bench.datasets.imagenet_latents import Dataset
from bench.errors import BenchError
from bench.prepare import prepare
from tiny_vae import SIDE, save_tree, save_vae, tiny_ways


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with vae/, other/ (another VAE), tree/ and out/ (plain and flipped latents). Read only."""
    root = tmp_path_factory.mktemp("made")
    save_vae(root / "other", seed=1)
    prepare(save_tree(root / "tree"), root / "out", tiny_ways(save_vae(root / "vae"), flips=True))
    return root


@pytest.fixture
def dataset(made: Path) -> Dataset:
    return Dataset(str(made / "out"))


def stored(dataset: Dataset, index: torch.Tensor, version: int) -> tuple[torch.Tensor, torch.Tensor]:
    found = dataset._moments.read(index, torch.full_like(index, version))
    return found[:, 0], found[:, 1]


# What training sees


def test_images_are_scaled_means_of_the_plain_version(dataset: Dataset) -> None:
    index = torch.tensor([13, 0, 5, 5])
    x0, label = dataset.images(index)
    assert torch.equal(x0, stored(dataset, index, 0)[0] * dataset._manifest.plan.scale)
    assert label.tolist() == [2, 0, 1, 1]
    assert 0.5 < float(dataset.images(torch.arange(14))[0].std()) < 2


def test_varied_follows_from_seed_and_position_alone(dataset: Dataset) -> None:
    index, positions = torch.tensor([3, 1, 9, 3]), torch.tensor([70, 10**9, 5, 71])
    x0, label = dataset.varied(index, positions, seed=4)
    assert label.tolist() == dataset.images(index)[1].tolist()
    for rows in ([2, 0], [1], [3, 3, 1]):
        assert torch.equal(dataset.varied(index[rows], positions[rows], seed=4)[0], x0[rows])
    assert not torch.equal(x0[0], x0[3]), "the same image at another position"
    other_seed = dataset.varied(index, positions, seed=5)[0]
    assert not any(torch.equal(a, b) for a, b in zip(x0, other_seed, strict=True))
    state = torch.get_rng_state()
    dataset.varied(index, positions, seed=4)
    assert torch.equal(state, torch.get_rng_state())


def test_varied_samples_the_posterior_of_one_version(dataset: Dataset) -> None:
    """Over positions: the mean and deviation of each version, and either of them half of the time."""
    n = 4000
    x0, _ = dataset.varied(torch.full((n,), 6), torch.arange(n), seed=0)
    x0 = x0 / dataset._manifest.plan.scale
    (plain, deviation), (flipped, _) = stored(dataset, torch.tensor([6]), 0), stored(dataset, torch.tensor([6]), 1)
    # Along the line between the two means, the halves lie apart: project and split.
    axis = (flipped - plain) / deviation.square()
    side = ((x0 - plain) * axis).sum((1, 2, 3)) / ((flipped - plain) * axis).sum()
    is_flipped = side > 0.5
    assert abs(float(is_flipped.float().mean()) - 0.5) < 0.04  # 5 standard errors
    expected = torch.where(is_flipped[:, None, None, None], flipped, plain)
    z = (x0 - expected) / deviation
    assert abs(float(z.mean())) < 0.02
    assert abs(float(z.std()) - 1) < 0.02


def test_batches_of_training_vary_and_can_be_repeated(dataset: Dataset) -> None:
    x0, label = datasets.batch(dataset, 0, 0, 14)
    again, _ = datasets.batch(dataset, 0, 0, 14)
    assert torch.equal(x0, again)
    epoch2, label2 = datasets.batch(dataset, 0, 14, 14)
    assert sorted(label.tolist()) == sorted(label2.tolist())
    assert not any(torch.equal(a, b) for a in x0 for b in epoch2), "drawn anew in each epoch"
    parts = [datasets.batch(dataset, 0, 0, 14, torch.arange(14)[rank::3])[0] for rank in range(3)]
    assert torch.equal(torch.cat(parts), x0[torch.cat([torch.arange(14)[rank::3] for rank in range(3)])])


def test_without_flips_only_the_posterior_varies(made: Path, tmp_path: Path) -> None:
    prepare(made / "tree", tmp_path / "out", tiny_ways(made / "vae", half=True))
    dataset = Dataset(str(tmp_path / "out"))
    n = 500
    x0, _ = dataset.varied(torch.full((n,), 6), torch.arange(n), seed=0)
    mean, deviation = stored(dataset, torch.tensor([6]), 0)
    z = (x0 / dataset._manifest.plan.scale - mean) / deviation
    assert abs(float(z.mean())) < 0.05
    assert abs(float(z.std()) - 1) < 0.05


# Where they lie


def test_on_the_cpu_they_stay_on_disk(dataset: Dataset) -> None:
    assert datasets.place(dataset, torch.device("cpu")) == "latents read from disk by memory map (0.0143 MB)"
    assert datasets.place(datasets.load("digits"), torch.device("cpu")) == ""


def test_brought_to_a_device_they_are_the_same(dataset: Dataset, made: Path) -> None:
    """On the CPU here: what `bring` copies, and that reading it gives the same bits."""
    brought = Dataset(str(made / "out"))
    brought._moments.bring(torch.device("cpu"))
    assert brought.place(torch.device("cpu")).startswith("latents on the GPU")
    for a, b in zip(datasets.batch(dataset, 0, 5, 40), datasets.batch(brought, 0, 5, 40), strict=True):
        assert torch.equal(a, b)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_on_a_gpu_they_are_the_same(dataset: Dataset, made: Path) -> None:
    placed = Dataset(str(made / "out"))
    assert datasets.place(placed, torch.device("cuda")) == "latents on the GPU (0.0143 MB)"
    for a, b in zip(datasets.batch(dataset, 0, 5, 40), datasets.batch(placed, 0, 5, 40), strict=True):
        assert b.device.type == "cuda"
        assert torch.allclose(a, b.cpu(), rtol=1e-6, atol=1e-6)
    x0 = placed.images(torch.arange(4))[0]
    assert (placed.to_uint8(x0).cpu().int() - dataset.to_uint8(x0.cpu()).int()).abs().max() <= 1


# Decoding


def test_pixels_are_the_decoders(dataset: Dataset, made: Path) -> None:
    network = vae.load(str(made / "vae"))
    x0, _ = dataset.images(torch.arange(7))
    expected = datasets.quantise(network.module.decode(x0 / network.scale).sample.detach())
    found = dataset.to_uint8(x0)
    assert found.shape == (7, 3, SIDE, SIDE)
    assert (found.int() - expected.int()).abs().max() <= 1
    chunked = Dataset(str(made / "out"), decoder_batch=2).to_uint8(x0)
    assert (found.int() - chunked.int()).abs().max() <= 1
    with datasets.quantising("127.5x+127.5"):
        assert not torch.equal(dataset.to_uint8(x0), found), "the rule of evaluation holds for decoders too"


def test_conditions_tell_decoders_apart(dataset: Dataset, made: Path) -> None:
    assert datasets.conditions_of(dataset) == {"decoder_vae": vae.load(str(made / "vae")).digest, "decoder_precision": "fp32"}
    low = Dataset(str(made / "out"), decoder_precision="bf16")
    assert low.digest == dataset.digest, "training is the same"
    assert datasets.pixels_digest(low) != datasets.pixels_digest(dataset), "but not the real images' statistics"
    digits = datasets.load("digits")
    assert datasets.conditions_of(digits) == {}
    assert datasets.pixels_digest(digits) == digits.digest


def test_a_run_is_named_by_what_decides_its_weights() -> None:
    def name(**options: Any) -> str:
        suite = config.load(config.SHIPPED, {"run": {"dataset": "imagenet_latents"}, "datasets": {"imagenet_latents": options}})
        return suite.runs()[0].name

    aside = {"folder": "elsewhere", "vae": "an/id", "decoder_precision": "bf16", "decoder_batch": 7}
    assert name(**aside) == name()


def test_a_vae_folder_is_made_absolute_and_an_id_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    found = config.with_whole_paths({"folder": "data", "vae": "here"})
    assert found == {"folder": str(tmp_path / "data"), "vae": str(tmp_path / "here")}
    assert config.with_whole_paths({"vae": "stabilityai/sd-vae-ft-mse"}) == {"vae": "stabilityai/sd-vae-ft-mse"}


# What does not belong together


def test_another_vae_is_refused(made: Path) -> None:
    dataset = Dataset(str(made / "out"), vae=str(made / "other"))
    with pytest.raises(BenchError) as caught:
        dataset.to_uint8(dataset.images(torch.arange(2))[0])
    assert "its weights have sha256" in caught.value.given
    assert str(made / "vae") in caught.value.allowed
    assert "[datasets.imagenet_latents] vae" in caught.value.remedy


def test_another_scale_is_refused(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made / "vae", tmp_path / "vae")
    path = tmp_path / "vae" / "config.json"
    scale = vae.load(str(made / "vae")).scale
    path.write_text(path.read_text().replace(str(scale), str(scale * 1.005)))
    dataset = Dataset(str(made / "out"), vae=str(tmp_path / "vae"))
    with pytest.raises(BenchError, match="its scale is"):
        dataset.to_uint8(dataset.images(torch.arange(2))[0])


def test_what_is_not_whole_is_refused(made: Path, tmp_path: Path) -> None:
    for name, named in (("shards/00001.npy", "00001.npy is damaged"), ("labels.npy", "labels.npy")):
        shutil.copytree(made / "out", tmp_path / "out", dirs_exist_ok=True)
        path = tmp_path / "out" / name
        path.write_bytes(path.read_bytes()[:-5])
        with pytest.raises(BenchError, match=named):
            Dataset(str(tmp_path / "out"))
        path.unlink()
        with pytest.raises(BenchError, match="is missing"):
            Dataset(str(tmp_path / "out"))
    (tmp_path / "out" / "manifest.json").unlink()
    with pytest.raises(BenchError, match="not all of them yet"):
        Dataset(str(tmp_path / "out"))


@pytest.mark.parametrize(
    "options",
    [{"folder": ""}, {"folder": 3}, {"vae": 3}, {"decoder_precision": "fp8"}, {"decoder_batch": 0}, {"decoder_batch": True}],
    ids=str,
)
def test_options_out_of_range(made: Path, options: dict[str, Any]) -> None:
    with pytest.raises(BenchError) as caught:
        Dataset(**{"folder": str(made / "out")} | options)
    assert next(iter(options)) in caught.value.given
    assert "[datasets.imagenet_latents]" in caught.value.remedy


def test_the_digest_is_of_what_training_sees(made: Path) -> None:
    manifest = latents.read_manifest(made / "out")
    assert dataclasses.replace(manifest, source="elsewhere", made={}).digest == manifest.digest
    renamed = dataclasses.replace(manifest, plan=dataclasses.replace(manifest.plan, vae="an/id"))
    assert renamed.digest == manifest.digest
    scaled = dataclasses.replace(manifest, plan=dataclasses.replace(manifest.plan, scale=1.0))
    assert scaled.digest != manifest.digest
    assert imagenet_latents.mismatch(vae.load(str(made / "vae")), manifest.plan) == ""
