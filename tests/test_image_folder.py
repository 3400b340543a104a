"""Image folders: what is read, how it is converted and kept, and what each mistake is told."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from bench.datasets import _photos
from bench.datasets.image_folder import Dataset
from pictures import make_tree, noise_image, own_cache


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return own_cache(tmp_path / "cache", monkeypatch)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return make_tree(tmp_path / "tree", {"dog": 2, "ant": 3})


def pixels(dataset: Dataset) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """All images as (n, H, W, 3) uint8."""
    x0, _ = dataset.images(torch.arange(dataset.train_images))
    return dataset.to_uint8(x0).permute(0, 2, 3, 1).numpy()


def one_pixel(image: Image.Image, folder: Path, file: str = "0.png", **save: Any) -> list[int]:
    """What a picture becomes: the RGB of its first pixel, after saving and reading."""
    (folder / "some").mkdir(parents=True)
    image.save(folder / "some" / file, **save)
    noise_image(0, *image.size).save(folder / "some" / "z.png")
    return [int(value) for value in pixels(Dataset(str(folder)))[0, 0, 0]]


# What is read


def test_classes_and_order(tree: Path) -> None:
    (tree / "ant" / "deeper").mkdir()
    shutil.move(tree / "ant" / "001.png", tree / "ant" / "deeper" / "001.PNG")
    (tree / "ant" / "notes.txt").write_text("no image")
    (tree / ".hidden").mkdir()
    (tree / "ant" / "._000.png").write_bytes(b"what macOS leaves")
    dataset = Dataset(str(tree))
    assert dataset.classes == ("ant", "dog")
    assert (dataset.num_classes, dataset.train_images, dataset.shape) == (2, 5, (3, 8, 8))
    assert dataset.images(torch.arange(5))[1].tolist() == [0, 0, 0, 1, 1]
    expected = np.stack([noise_image(seed) for seed in (2, 4, 3, 0, 1)])  # ant/000, 002, deeper/001; dog/000, 001
    np.testing.assert_array_equal(pixels(dataset), expected)


def test_links_are_followed_once(tree: Path, tmp_path: Path) -> None:
    elsewhere = make_tree(tmp_path / "elsewhere", {"bee": 1, "more": 1})
    (tree / "bee").symlink_to(elsewhere / "bee")
    (elsewhere / "bee" / "more").symlink_to(elsewhere / "more")
    (elsewhere / "bee" / "loop").symlink_to(elsewhere / "bee")
    assert Dataset(str(tree)).images(torch.arange(7))[1].tolist() == [0, 0, 0, 1, 1, 2, 2]


def test_home_and_relative_folders(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = Dataset(str(tree)).digest
    monkeypatch.chdir(tree.parent)
    monkeypatch.setenv("HOME", str(tree.parent))
    assert Dataset("tree").digest == Dataset("~/tree").digest == digest


def test_digest_covers_labels_classes_and_size(tree: Path) -> None:
    digests = {Dataset(str(tree)).digest, Dataset(str(tree), size=8).digest, Dataset(str(tree), size=4).digest}
    (tree / "dog").rename(tree / "zebra")  # the same pixels and labels
    digests.add(Dataset(str(tree)).digest)
    (tree / "ant" / "002.png").rename(tree / "zebra" / "00.png")  # the same pixels: it stays the third image
    digests.add(Dataset(str(tree)).digest)
    assert len(digests) == 5


# How it is converted


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (Image.new("L", (4, 4), 77), [77, 77, 77]),
        (Image.new("1", (4, 4), 1), [255, 255, 255]),
        (Image.new("RGBA", (4, 4), (200, 0, 0, 0)), [255, 255, 255]),  # transparent: white paper
        (Image.new("RGBA", (4, 4), (200, 0, 100, 51)), [244, 204, 224]),  # a fifth opaque
        (Image.new("LA", (4, 4), (0, 51)), [204, 204, 204]),
        (Image.fromarray(np.full((4, 4), 0x8040, np.uint16)), [128, 128, 128]),
        (Image.new("RGB", (4, 4), (10, 20, 30)).quantize(4), [10, 20, 30]),
    ],
    ids=["grey", "bits", "transparent", "translucent", "grey-alpha", "16-bit", "palette"],
)
def test_modes_become_rgb(image: Image.Image, expected: list[int], tmp_path: Path) -> None:
    assert one_pixel(image, tmp_path / "tree") == expected


def test_transparent_palette_colour_is_white(tmp_path: Path) -> None:
    image = Image.new("P", (4, 4), 1)
    image.putpalette([9, 9, 9, 80, 90, 100])
    assert one_pixel(image, tmp_path / "tree", transparency=1) == [255, 255, 255]


def test_cmyk_becomes_rgb(tmp_path: Path) -> None:
    red, green, blue = one_pixel(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), tmp_path / "tree", "0.jpg")
    assert red > 240
    assert max(green, blue) < 15


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    image = Image.new("RGB", (16, 16), "black")
    image.paste("white", (8, 0, 16, 8))  # upper right, stored; a quarter turn left brings it to the upper left
    exif = Image.Exif()
    exif[0x0112] = 8
    assert min(one_pixel(image, tmp_path / "tree", "0.jpg", exif=exif, quality=95)) > 240


@pytest.mark.parametrize(("width", "height"), [(40, 24), (24, 40), (24, 24), (12, 20)])
def test_centre_is_cropped(width: int, height: int, tmp_path: Path) -> None:
    """Red in the middle square, blue at both ends of the longer side: no blue is left."""
    short = min(width, height)
    image = Image.new("RGB", (width, height), "blue")
    left, top = (width - short) // 2, (height - short) // 2
    image.paste("red", (left, top, left + short, top + short))
    (tmp_path / "tree" / "some").mkdir(parents=True)
    for i in range(2):
        image.save(tmp_path / "tree" / "some" / f"{i}.png")
    found = pixels(Dataset(str(tmp_path / "tree"), size=12))
    assert found.shape == (2, 12, 12, 3)
    assert (found[:, 1:-1, 1:-1] == [255, 0, 0]).all()


def test_resize_averages_areas(tmp_path: Path) -> None:
    """From 32 to 8 by two halvings: means of 4x4 pixels, rounded four times (each halving goes by columns, then rows)."""
    found = pixels(Dataset(str(make_tree(tmp_path / "tree", {"some": 2}, 32, 32)), size=8))
    expected = np.asarray(noise_image(0, 32, 32), float).reshape(8, 4, 8, 4, 3).mean((1, 3))
    assert np.abs(found[0] - expected).max() <= 2


def test_resize_to_the_same_size_changes_nothing(tree: Path) -> None:
    np.testing.assert_array_equal(pixels(Dataset(str(tree), size=8)), pixels(Dataset(str(tree))))


# The cache


def count_decodes(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files decoded from now on."""
    decoded: list[Path] = []
    original = _photos.decode

    def counted(path: Path, size: int) -> _photos.Pixels:
        decoded.append(path)
        return original(path, size)

    monkeypatch.setattr(_photos, "decode", counted)
    return decoded


def test_second_load_decodes_nothing(tree: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = Dataset(str(tree), size=4)
    assert [path.suffix for path in cache.iterdir()] == [".npy"]
    decoded = count_decodes(monkeypatch)
    Dataset(str(tree), size=8)
    assert len(decoded) == 5
    second = Dataset(str(tree), size=4)
    assert len(decoded) == 5
    assert second.digest == first.digest
    np.testing.assert_array_equal(pixels(second), pixels(first))


def test_changed_file_is_seen_though_length_and_mtime_stay(tmp_path: Path) -> None:
    (tmp_path / "tree" / "some").mkdir(parents=True)
    for i in range(2):
        Image.new("RGB", (4, 4), "red").save(tmp_path / "tree" / "some" / f"{i}.bmp")
    assert (pixels(Dataset(str(tmp_path / "tree")))[1] == [255, 0, 0]).all()
    file = tmp_path / "tree" / "some" / "1.bmp"
    before = file.stat()
    Image.new("RGB", (4, 4), "blue").save(file)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file.stat().st_size == before.st_size
    assert (pixels(Dataset(str(tmp_path / "tree")))[1] == [0, 0, 255]).all()


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "truncated": lambda data: data[:-40],
    "longer": lambda data: data + b"more",
    "header": lambda data: b"\x00" + data[1:],
    "pixel": lambda data: data[:-50] + bytes([data[-50] ^ 1]) + data[-49:],
    "shape": lambda data: data.replace(b"(5, 3, 4, 4)", b"(5, 3, 8, 2)"),
    "text": lambda _: b"<html>Not found</html>",
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_cache_is_made_anew(damage: str, tree: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = pixels(Dataset(str(tree), size=4))
    file = next(cache.iterdir())
    whole = file.read_bytes()
    file.write_bytes(DAMAGE[damage](whole))
    decoded = count_decodes(monkeypatch)
    np.testing.assert_array_equal(pixels(Dataset(str(tree), size=4)), expected)
    assert len(decoded) == 5
    assert file.read_bytes() == whole


def test_no_place_for_the_cache_is_said_and_survived(tree: Path, cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache.parent.write_text("a file where the folder should be")
    assert Dataset(str(tree)).train_images == 5
    assert "not kept" in caplog.text
