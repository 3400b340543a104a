"""What holds for every data set found, batches by position, and the quantiser."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sklearn.datasets
import torch
from torch import Tensor

from bench import datasets, extractors
from bench.datasets import Dataset, batch, quantise
from bench.errors import BenchError
from bench.prepare import prepare
from data_folders import numbers, save_cifar10, save_fashion_mnist
from pictures import make_tree, noise_image, own_cache
from tiny_vae import save_tree, save_vae, tiny_ways

# Every data set


MAKE: dict[str, Callable[[Path, pytest.MonkeyPatch], object]] = {
    "cifar10": save_cifar10,
    "fashion_mnist": save_fashion_mnist,
    "image_folder": lambda folder, _: make_tree(folder, {"cat": 5, "ant": 4, "dog": 8}),
    "imagenet_latents": lambda folder, _: make_latents(folder),
}


def make_latents(folder: Path) -> None:
    vae = save_vae(folder.parent / "vae")
    prepare(save_tree(folder.parent / "pictures"), folder, tiny_ways(vae, flips=True))


def build(name: str, folder: Path) -> Dataset:
    """The data set; one that needs options gets them here."""
    options: dict[str, Any] = {"folder": str(folder / "data")} if name in MAKE else {}
    return datasets.load(name, **options | ({"size": 8} if name == "image_folder" else {}))


def change_digits(_: Path, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    pixels, labels = sklearn.datasets.load_digits(return_X_y=True)
    pixels[1000, 20] += 1
    monkeypatch.setattr(sklearn.datasets, "load_digits", lambda **_: (pixels, labels))
    return datasets.load("digits")


def change_image_folder(folder: Path, _: pytest.MonkeyPatch) -> Dataset:
    picture = noise_image(0)
    pixel = picture.getpixel((3, 3))
    assert isinstance(pixel, tuple)
    picture.putpixel((3, 3), (int(pixel[0]) ^ 1, int(pixel[1]), int(pixel[2])))
    picture.save(folder / "data" / "cat" / "000.png")
    return build("image_folder", folder)


def change_cifar10(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    pixels = numbers(20, 3072)
    pixels[7, 100] ^= 1
    save_cifar10(folder / "data", monkeypatch, pixels=pixels)
    return build("cifar10", folder)


def change_fashion_mnist(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    pixels = numbers(20, 28, 28)
    pixels[7, 10, 10] ^= 1
    save_fashion_mnist(folder / "data", monkeypatch, pixels=pixels)
    return build("fashion_mnist", folder)


def change_latents(folder: Path, _: pytest.MonkeyPatch) -> Dataset:
    noise_image(99, 41, 34).save(folder / "pictures" / "n01" / "000.png")
    prepare(folder / "pictures", folder / "other", tiny_ways(folder / "vae", flips=True))
    return datasets.load("imagenet_latents", folder=str(folder / "other"))


# By data set: the same again with one pixel changed. A new data set needs a line here.
CHANGE: dict[str, Callable[[Path, pytest.MonkeyPatch], Dataset]] = {
    "cifar10": change_cifar10,
    "digits": change_digits,
    "fashion_mnist": change_fashion_mnist,
    "gaussian": lambda _, __: datasets.load("gaussian", mean=0.25 + 1e-6),
    "image_folder": change_image_folder,
    "imagenet_latents": change_latents,
}


@pytest.fixture(params=datasets.names())
def name(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    own_cache(tmp_path / "cache", monkeypatch)
    if request.param in MAKE:
        MAKE[request.param](tmp_path / "data", monkeypatch)
    return str(request.param)


def test_discovery_finds_the_files() -> None:
    assert {"digits", "gaussian", "image_folder"} <= set(datasets.names())
    assert not [name for name in datasets.names() if name.startswith("_")]


def test_images_and_labels(name: str, tmp_path: Path) -> None:
    dataset = build(name, tmp_path)
    assert dataset.name == name
    index = torch.arange(dataset.train_images)
    x0, label = dataset.images(index)
    assert x0.shape == (dataset.train_images, *dataset.shape)
    assert (x0.dtype, label.dtype, label.shape) == (torch.float32, torch.int64, (dataset.train_images,))
    if not datasets.decodes(dataset):
        assert float((x0.abs() > 1).float().mean()) < 0.005  # pixels; a Gaussian has tails
    assert x0.isfinite().all()
    assert x0.std() > 0.1
    assert set(label.tolist()) == set(range(dataset.num_classes))
    some = torch.tensor([5, 0, 5])
    again, its_label = dataset.images(some)
    assert torch.equal(again, x0[some])
    assert torch.equal(its_label, label[some])


def test_images_may_be_written_to_without_harm(name: str, tmp_path: Path) -> None:
    dataset = build(name, tmp_path)
    x0, label = dataset.images(torch.arange(4))
    kept, kept_label = x0.clone(), label.clone()
    x0.zero_()
    label.fill_(-1)
    again, again_label = dataset.images(torch.arange(4))
    assert torch.equal(again, kept)
    assert torch.equal(again_label, kept_label)


def test_uint8_is_what_the_extractor_takes(name: str, tmp_path: Path) -> None:
    dataset = build(name, tmp_path)
    images = dataset.to_uint8(dataset.images(torch.arange(6))[0])
    assert images.dtype == torch.uint8
    assert images.shape[0] == 6
    assert images.shape[1] in (1, 3)
    channels, height, width = images.shape[1:]
    assert extractors.load(dataset.extractor, (channels, height, width)).features(images).shape[0] == 6


def test_digest_is_of_the_content(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = build(name, tmp_path).digest
    assert len(first) == 64
    assert build(name, tmp_path).digest == first
    assert CHANGE[name](tmp_path, monkeypatch).digest != first


def test_unknown_option(name: str) -> None:
    with pytest.raises(BenchError) as caught:
        datasets.load(name, sise=3)
    assert "Unknown option 'sise'" in caught.value.given
    assert f"[datasets.{name}]" in caught.value.remedy


def test_unknown_data_set() -> None:
    with pytest.raises(BenchError) as caught:
        datasets.load("digit")
    assert "did you mean 'digits'?" in caught.value.given
    assert "gaussian" in caught.value.allowed
    assert "bench/datasets/" in caught.value.remedy


# Batches


def test_one_process_of_many_loads_its_rows_alone(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = build(name, tmp_path)
    seen, size = dataset.train_images - 5, 13  # over the end of an epoch
    whole = batch(dataset, 3, seen, size)
    read: list[int] = []
    images = type(dataset).images
    if not hasattr(dataset, "varied"):
        monkeypatch.setattr(type(dataset), "images", lambda self, index: (read.append(len(index)), images(self, index))[1])
    for rows in ([12, 0, 5, 6], [4], list(range(13)), []):
        part = batch(dataset, 3, seen, size, torch.tensor(rows, dtype=torch.int64))
        for found, of_whole in zip(part, whole, strict=True):
            assert torch.equal(found, of_whole[rows])
            assert found.dtype == of_whole.dtype
    assert read in ([4, 1, 13, 0], [])


class Numbers:
    """A data set whose image i is the number i."""

    name, shape, num_classes, extractor, digest = "numbers", (1, 1, 1), 1, "pixels", ""

    def __init__(self, train_images: int) -> None:
        self.train_images = train_images

    def images(self, index: Tensor) -> tuple[Tensor, Tensor]:
        return index.float()[:, None, None, None], index

    def to_uint8(self, x0: Tensor) -> Tensor:
        return x0.byte()


def stream(seed: int, images_seen: int, size: int, count: int = 100) -> list[int]:
    x0, label = batch(Numbers(count), seed, images_seen, size)
    assert x0.flatten().tolist() == label.tolist()
    return [int(i) for i in label]


def test_batches_are_addressed_by_position() -> None:
    whole = stream(0, 0, 640)
    for size in (1, 32, 64, 250):  # 250: larger than the data set
        parts = [stream(0, seen, min(size, 640 - seen)) for seen in range(0, 640, size)]
        assert list(itertools.chain(*parts)) == whole
    assert stream(0, 90, 20) == whole[90:110]  # straddles two epochs
    assert stream(0, 10**12 + 7, 5) == stream(0, 10**12, 12)[7:]
    assert stream(1, 0, 640) != whole


def test_an_epoch_visits_each_image_once_in_its_own_order() -> None:
    epochs = [stream(3, epoch * 100, 100) for epoch in range(4)]
    assert all(sorted(epoch) == list(range(100)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 4
    assert tuple(range(100)) not in {tuple(epoch) for epoch in epochs}


# The quantiser


def test_quantise_returns_every_pixel_value() -> None:
    values = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(quantise(values.float() / 127.5 - 1), values)


def test_quantise_rounds_and_clamps() -> None:
    x = torch.tensor([-7.0, -1.0, 0.0, 1.0, 7.0])
    assert quantise(x).tolist() == [0, 0, 128, 255, 255]
    between = (torch.arange(255) + torch.tensor([[0.25], [0.75]])) / 127.5 - 1
    assert torch.equal(quantise(between).long(), torch.arange(255) + torch.tensor([[0], [1]]))
