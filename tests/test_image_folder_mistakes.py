"""What an image folder that can not be used is told: what was given, what is allowed, what to do."""

import os
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from bench import datasets
from bench.datasets import _photos
from bench.errors import BenchError
from pictures import make_tree, noise_image, own_cache


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return own_cache(tmp_path / "cache", monkeypatch)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return make_tree(tmp_path / "tree", {"dog": 2, "ant": 3})


def refused(given: str, allowed: str, remedy: str, **options: Any) -> str:
    """Assert that the data set is refused with these parts (regular expressions); returns what was given."""
    with pytest.raises(BenchError) as caught:
        datasets.load("image_folder", **{k: str(v) if isinstance(v, Path) else v for k, v in options.items()})
    error = caught.value
    for expected, found in ((given, error.given), (allowed, error.allowed), (remedy, error.remedy)):
        assert re.search(expected, found), (expected, found)
    return error.given


TREE = "one folder a class"
TOML = r"\[datasets.image_folder\] in bench.toml"


@pytest.mark.parametrize("folder", ["", "  ", 3, None])
def test_no_folder(folder: Any) -> None:
    refused(f"folder = {folder!r}", TREE, "--set datasets.image_folder.folder=", folder=folder)


@pytest.mark.parametrize("size", [-1, 32.0, "32", True, 4096])
def test_size(size: Any, tree: Path) -> None:
    refused(f"size = {size!r}", "1 to 2048, or 0", TOML, folder=tree, size=size)


def test_missing_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refused("/nowhere' does not exist$", TREE, TOML, folder=tmp_path / "nowhere")
    monkeypatch.chdir(tmp_path)
    refused(f"'nowhere' does not exist below {tmp_path}", TREE, TOML, folder="nowhere")


def test_file_for_a_folder(tmp_path: Path) -> None:
    (tmp_path / "photos.tar").touch()
    refused("photos.tar is a file", "archives have to be unpacked", TOML, folder=tmp_path / "photos.tar")


@pytest.mark.parametrize("closed", ["", "ant"])
def test_unreadable_folder(closed: str, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's answer is imitated: root, as which tests often run, may read everything."""
    listing, scan = os.listdir, os.scandir

    def refuse(path: Any) -> None:
        if os.fspath(path) == str(tree / closed):
            raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "listdir", lambda path=".": refuse(path) or listing(path))
    monkeypatch.setattr(os, "scandir", lambda path=".": refuse(path) or scan(path))
    refused(f"{tree / closed} can not be read .Permission denied", "may read", "permission", folder=tree)


def test_no_class_folders(tmp_path: Path) -> None:
    remedy = "Move the images into folders named by their class"
    refused("is empty and no class folders", TREE, remedy, folder=tmp_path)
    (tmp_path / "list.txt").touch()
    refused("holds no images and no class folders", TREE, remedy, folder=tmp_path)
    for i in range(3):
        noise_image(i).save(tmp_path / f"{i}.png")
    refused("holds 3 images and no class folders", TREE, remedy, folder=tmp_path)


def test_images_beside_the_classes(tree: Path) -> None:
    noise_image(0).save(tree / "preview.png")
    refused("1 images lie beside the class folders .* such as preview.png", TREE, "Move them", folder=tree)


def test_classes_without_images(tree: Path) -> None:
    (tree / "bee").mkdir()
    (tree / "bee" / "readme.txt").touch()
    refused("no images in 1 of 3 class folders .*: bee$", r"\.jpg", "delete these folders", folder=tree)
    for i in range(4):
        (tree / f"cow{i}").mkdir()
    refused("in 5 of 7 .*: bee, cow0, cow1 and 2 more$", r"\.png", "Put images there", folder=tree)


def test_splits_are_not_classes(tmp_path: Path) -> None:
    make_tree(tmp_path / "test", {"ant": 1, "dog": 1})
    make_tree(tmp_path / "train", {"ant": 2, "dog": 2})
    refused("named test, train: splits, not classes", TREE, f"Set folder to '{tmp_path / 'train'}'", folder=tmp_path)
    assert datasets.load("image_folder", folder=str(tmp_path / "train")).num_classes == 2


def test_a_single_image(tmp_path: Path) -> None:
    refused("a single image", "at least 2", "Add images", folder=make_tree(tmp_path / "tree", {"ant": 1}))
    assert datasets.load("image_folder", folder=str(make_tree(tmp_path / "two", {"ant": 2}))).num_classes == 1


def break_images(tree: Path) -> None:
    (tree / "ant" / "000.png").write_bytes(b"")
    data = (tree / "ant" / "001.png").read_bytes()
    (tree / "ant" / "001.png").write_bytes(data[: len(data) // 2])
    (tree / "ant" / "002.png").write_text("<html>404</html>")
    (tree / "dog" / "000.png").unlink()
    (tree / "dog" / "000.png").symlink_to("gone.png")


@pytest.mark.parametrize("size", [0, 4])
def test_broken_images_are_all_found(size: int, tree: Path, cache: Path) -> None:
    break_images(tree)
    given = refused("4 of 5 images .* can not be read", "whole image files", "Restore or delete", folder=tree, size=size)
    assert all(name in given for name in ("ant/000.png (no image)", "ant/001.png", "ant/002.png", "and 1 more"))
    assert "dog" not in given
    (tree / "dog" / "001.png").write_bytes(b"")
    refused("5 of 5 images .* can not be read", "whole image files", "Restore or delete", folder=tree, size=size)
    assert not cache.exists()


def test_pixels_of_unknown_range(tree: Path) -> None:
    Image.new("F", (8, 8), 0.5).save(tree / "ant" / "000.tiff")
    refused("1 of 6 .*000.tiff .mode F has no known range", "16-bit grey", "Restore or delete", folder=tree)


@pytest.mark.parametrize(("width", "height"), [(9, 9), (8, 10)])
def test_native_size_needs_one_square_size(width: int, height: int, tree: Path) -> None:
    for i in (0, 1):
        noise_image(i, width, height).save(tree / "dog" / f"00{i}.png")
    given = refused(
        "size = 0 .* one square size", "one size and are square", r"Set \[datasets.image_folder\] size", folder=tree, size=0
    )
    assert f"dog/000.png is {width}x{height}, dog/001.png is {width}x{height}" in given
    assert datasets.load("image_folder", folder=str(tree), size=8).shape == (3, 8, 8)


def test_native_size_refuses_oblong_images(tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "oblong", {"ant": 2}, width=8, height=6)
    refused("ant/000.png is 8x6, ant/001.png is 8x6", "square", r"Set \[datasets.image_folder\] size", folder=tree, size=0)


def test_too_many_for_the_memory(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need = 2 * 5 * 3 * 8 * 8  # bytes: the array, and the file made of it
    pages = {"SC_PAGE_SIZE": need - 1, "SC_PHYS_PAGES": 2}
    monkeypatch.setattr(_photos.os, "sysconf", pages.__getitem__)
    refused("5 images of 8x8 take", "half of this machine's memory", "smaller size", folder=tree, size=8)
    pages["SC_PAGE_SIZE"] = need
    assert datasets.load("image_folder", folder=str(tree), size=8).train_images == 5
